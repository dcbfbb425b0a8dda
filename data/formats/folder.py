"""A folder per class: PATH/train/NAME/* and PATH/test/NAME/*, or PATH/NAME/* alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.errors import one_line
from data.formats.idx import DataError
from data.formats.labelled import Labelled, Part
from data.formats.pictures import SUFFIXES, Pictures, Places


def read_class_folders(path: Path, report: Callable[[str], None] = lambda line: None) -> Labelled:
    """List the pictures of each class's folder.

    Files whose names are numbers, each one of its own, are ordered by these; else the classes take turns evenly, each
    in the order of its files' names, so that every stretch of the images has each class's share.

    Args:
        path: the folder.
        report: takes a line for files that are left out.

    Raises:
        DataError: no classes, no pictures, or a class without a folder of training pictures.
        OSError: a folder cannot be read.
    """
    root = path / "train" if (path / "train").is_dir() else path
    names, files, train = _list(root, report)
    test = None
    if root != path and (path / "test").is_dir():
        test_names, _, test = _list(path / "test", report)
        if extra := sorted(set(test_names) - set(names)):
            raise DataError(
                f"{one_line(path / 'test')}: expected the classes of train/, got {one_line(', '.join(extra), 100)} too"
            )
    return Labelled(train, test, "folder per class", {}, files)


class _Files(Sequence[str]):
    """Names of the files of a part, "class/file", in the order of the images.

    Each takes some ten bytes beyond those of its name: there may be millions.

    Attributes:
        classes: name of each file's class, [N].
    """

    def __init__(self, listed: Mapping[str, list[str]]) -> None:
        order = _order(listed)
        sizes = [len(files) for files in listed.values()]
        self._names = np.concatenate([np.array([os.fsencode(file) for file in files]) for files in listed.values()])
        self._names = self._names[order]
        self.classes = np.repeat(np.array(list(listed)), sizes)[order]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        return f"{self.classes[place]}/{os.fsdecode(self._names[place])}"


def _list(root: Path, report: Callable[[str], None]) -> tuple[list[str], Sequence[str], Part]:
    """Names of the classes in a part's folder; of its files; and the part."""
    listed, others = dict[str, list[str]](), list[str]()
    for folder in sorted(filter(_is_class, root.iterdir())):
        names = _names(folder)
        listed[folder.name] = [name for name in names if _is_picture(name)]
        others += [f"{folder.name}/{name}" for name in names if not _is_picture(name)]
    if empty := [name for name, files in listed.items() if not files]:
        raise DataError(
            f"{one_line(root / empty[0])}: expected pictures ({', '.join(SUFFIXES)}) in a class's folder, got none; "
            "fill or remove it"
        )
    if others:
        report(
            f"{one_line(root)}: {len(others)} left out, no pictures by their names, such as {one_line(others[0], 80)}"
        )
    files = _Files(listed)

    def read(places: Places) -> Iterator[str]:
        return (f"{root}/{files[place]}" for place in places)

    pictures = Pictures(one_line(root), np.arange(len(files)), read, lambda place: one_line(f"{root}/{files[place]}"))
    return list(listed), files, Part(pictures, files.classes)


def _is_class(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith((".", "__"))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def _order(listed: Mapping[str, list[str]]) -> Places:
    """The order of the images, as places in the list of all files, class by class."""
    stems = [file[: file.rindex(".")] for files in listed.values() for file in files]
    if all(stem.isdecimal() and stem.isascii() and len(stem) < 20 for stem in stems):
        numbers = np.array([int(stem) for stem in stems], np.uint64)
        order = numbers.argsort(kind="stable")
        if (numbers[order][1:] > numbers[order][:-1]).all():
            return order
    turns = [(np.arange(len(files)) + 0.5) / len(files) for files in listed.values()]
    return np.lexsort([np.repeat(np.arange(len(turns)), [*map(len, turns)]), np.concatenate(turns)])
