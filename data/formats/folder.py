"""A folder per class: PATH/train/NAME/* and PATH/test/NAME/*, or PATH/NAME/* alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.errors import one_line
from data.formats.idx import DataError
from data.formats.labelled import Labelled, Part, checked
from data.formats.pictures import SUFFIXES, AsTheyAre, Prepare, prepare_all


def read_class_folders(
    path: Path,
    prepare: Prepare | None = None,
    strict: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Labelled:
    """Read the pictures of each class's folder.

    Files whose names are numbers, each one of its own, are ordered by these; else the classes take turns evenly, each
    in the order of its files' names, so that every stretch of the images has each class's share.

    Args:
        path: the folder.
        prepare: makes images of the pictures; None takes them as they are.
        strict: a broken file is an error; else it is reported and left out.
        report: takes a line for each file that is left out.

    Raises:
        DataError: no classes, no pictures, a class without a folder of training pictures, or too many pictures.
        OSError: a folder cannot be read.
    """
    root = path / "train" if (path / "train").is_dir() else path
    prepare = prepare or AsTheyAre()
    names, files, train = _read(root, prepare, strict, report)
    test = None
    if root != path and (path / "test").is_dir():
        test_names, _, test = _read(path / "test", prepare, strict, report)
        if extra := sorted(set(test_names) - set(names)):
            raise DataError(
                f"{one_line(path / 'test')}: expected the classes of train/, got {one_line(', '.join(extra), 100)} too"
            )
    return Labelled(train, test, "folder per class", {}, files, prepare.way)


def _read(
    root: Path, prepare: Prepare, strict: bool, report: Callable[[str], None]
) -> tuple[list[str], tuple[str, ...], Part]:
    listed = {folder.name: _files(folder) for folder in sorted(root.iterdir()) if _is_class(folder)}
    if empty := [name for name, files in listed.items() if not files]:
        raise DataError(
            f"{one_line(root / empty[0])}: expected pictures ({', '.join(SUFFIXES)}) in a class's folder, got none; "
            "fill or remove it"
        )
    others = [f"{name}/{file}" for name in listed for file in _names(root / name) if not _is_picture(file)]
    if others:
        report(
            f"{one_line(root)}: {len(others)} left out, no pictures by their names, such as {one_line(others[0], 80)}"
        )
    order = _ordered(listed)
    images, places = prepare_all(
        one_line(root),
        (root / name / file for name, file in order),
        lambda place: one_line(root.joinpath(*order[place])),
        len(order),
        prepare,
        strict,
        report,
    )
    kept = [order[place] for place in places]
    labels = np.array([name for name, _ in kept])
    return (
        list(listed),
        tuple(f"{name}/{file}" for name, file in kept),
        checked(one_line(root), images, labels),
    )


def _is_class(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith((".", "__"))


def _files(folder: Path) -> list[str]:
    return [name for name in _names(folder) if _is_picture(name)]


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def _ordered(listed: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Classes and files in the order of the images."""
    pairs = [(name, file) for name, files in listed.items() for file in files]
    stems = [Path(file).stem for _, file in pairs]
    if all(stem.isdecimal() and stem.isascii() and len(stem) < 20 for stem in stems) and len(
        set(map(int, stems))
    ) == len(pairs):
        return sorted(pairs, key=lambda pair: int(Path(pair[1]).stem))
    places = [
        ((place + 0.5) / len(files), name, file) for name, files in listed.items() for place, file in enumerate(files)
    ]
    return [(name, file) for _, name, file in sorted(places)]
