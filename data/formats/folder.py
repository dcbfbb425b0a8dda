"""A folder per class: PATH/train/NAME/*, PATH/val/NAME/* and PATH/test/NAME/*, or PATH/NAME/* alone."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.errors import one_line
from data.formats.idx import DataError
from data.formats.labelled import MOST_CLASSES, Labelled, Part, read_names
from data.formats.pictures import SUFFIXES, Pictures, Places
from data.mixing import is_mixed

# Names of the parts' folders, in capitals or not: train, Training, test_set, val_images.
PARTS = {
    part: re.compile(rf"{name}([-_ ]?(set|data|images))?", re.IGNORECASE)
    for part, name in (("train", "train(ing)?"), ("validation", "val(id(ation)?)?"), ("test", "test(ing)?"))
}
NO_CLASS = re.compile(rf"({'|'.join(part.pattern for part in PARTS.values())}|images|pictures|data)\d*", re.IGNORECASE)
NO_PICTURES = ("thumbs.db", "desktop.ini")  # of Windows, in any folder
SEED = 0  # of the order of the pictures, the same for every run

Listed = Mapping[Path, list[str]]  # folder of a class -> names of its pictures, sorted


def has_classes(path: Path) -> bool:
    """True if a folder has folders with pictures, or a part's folder that has such."""
    return any(map(_has_pictures, _folders(path))) or bool(_parts(path))


def read_class_folders(path: Path, report: Callable[[str], None] = lambda line: None) -> Labelled:
    """List the pictures of each class's folder.

    The classes take turns evenly, so that every stretch of the images is a fair sample; a fixed seed orders the
    pictures of each. Files that are numbered across the classes, and not class by class, keep that order.

    Args:
        path: the folder.
        report: takes a line for files that are left out.

    Raises:
        DataError: no classes, no pictures, or a class without a folder of training pictures.
        OSError: a folder cannot be read.
    """
    roots, notes = _roots(path)
    listed = {part: _list(root, report) for part, root in roots.items()}
    known = set(map(_class, listed["train"]))
    for part, folders in listed.items():
        if extra := sorted(set(map(_class, folders)) - known):
            raise DataError(
                f"{one_line(roots[part])}: expected the classes of {one_line(roots['train'].name)}/, got "
                f"{one_line(', '.join(extra), 100)} too"
            )
    held = listed.get("validation", {})
    files, names = _Files(listed["train"], held), read_names(path)
    train = files.part(roots["train"])
    test = _Files(listed["test"]).part(roots["test"]) if "test" in roots else None
    return Labelled(
        train.numbered() if names else train,
        test.numbered() if names and test else test,
        "folder per class",
        names,
        files,
        validation=sum(map(len, held.values())),
        file=roots["train"],
        notes=notes,
    )


class _Files(Sequence[str]):
    """Names of the files of a part, "class/file", in the order of the images.

    Each takes some ten bytes beyond those of its name: there may be millions.

    Args:
        sets: files of the classes; those of the first one come first.
    """

    def __init__(self, *sets: Listed) -> None:
        lists = [(folder, files) for listed in sets for folder, files in listed.items()]
        firsts = np.cumsum([0, *(sum(map(len, listed.values())) for listed in sets)])
        order = np.concatenate([first + _order(listed) for first, listed in zip(firsts, sets, strict=False) if listed])
        self._names = np.concatenate([np.array([os.fsencode(file) for file in files]) for _, files in lists])[order]
        self._folders = [folder for folder, _ in lists]
        self._which = np.repeat(np.arange(len(lists), dtype=np.int32), [len(files) for _, files in lists])[order]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        return f"{_class(self._folders[self._which[place]])}/{os.fsdecode(self._names[place])}"

    def part(self, root: Path) -> Part:
        """The pictures, and their classes' names."""

        def path(place: int) -> str:
            return f"{self._folders[self._which[place]]}/{os.fsdecode(self._names[place])}"

        def read(places: Places) -> Iterator[str]:
            return map(path, places)

        pictures = Pictures(one_line(root), np.arange(len(self)), read, lambda place: one_line(path(place)))
        return Part(pictures, np.array([*map(_class, self._folders)])[self._which])


def _roots(path: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Folder of each part that there is, and lines for the user; without parts, the folder itself is to train on."""
    parts = _parts(path)
    others = [folder.name for folder in _folders(path) if folder not in parts.values()]
    if not parts:
        if all(map(NO_CLASS.fullmatch, others)):
            raise DataError(
                f"{one_line(path)}: expected a folder per class, got pictures without classes in "
                f"{one_line(', '.join(others), 100)}; put each class's pictures into a folder of its name in there"
            )
        beside = _parts(path.absolute().parent).get("test") if PARTS["train"].fullmatch(path.absolute().name) else None
        note = f"left alone: {one_line(beside)}; name the folder of both to test on it" if beside else ""
        return {"train": path}, (note,) if note else ()
    notes = (f"left alone: {one_line(', '.join(others), 100)}",) if others else ()
    if "train" in parts:
        return parts, notes
    if len(parts) > 1:
        names = " and ".join(one_line(folder.name) for folder in parts.values())
        raise DataError(f"{one_line(path)}: expected a folder train beside {names}, got none; name one of them")
    (only,) = parts.values()
    return {"train": only}, (f"no training part: the images of {one_line(only.name)}/ are all images", *notes)


def _parts(path: Path) -> dict[str, Path]:
    """Folders of the parts, which have folders with pictures."""
    found: dict[str, Path] = {}
    for folder in _folders(path):
        part = next((part for part, name in PARTS.items() if name.fullmatch(folder.name)), None)
        if part and any(map(_has_pictures, _folders(folder))):
            if part in found:
                raise DataError(
                    f"{one_line(path)}: expected one folder of the {part} part, got {one_line(found[part].name)} and "
                    f"{one_line(folder.name)}; rename or move one"
                )
            found[part] = folder
    return {part: found[part] for part in PARTS if part in found}


def _list(root: Path, report: Callable[[str], None]) -> Listed:
    """Pictures of each class; reports files that are none."""
    listed, others = dict[Path, list[str]](), list[str]()
    for folder in _folders(root):
        names = _names(folder)
        listed[folder] = [name for name in names if _is_picture(name)]
        others += [f"{folder.name}/{name}" for name in names if not _is_picture(name)]
    if empty := [folder for folder, files in listed.items() if not files]:
        below = any(map(_has_pictures, _folders(empty[0])))
        raise DataError(
            f"{one_line(empty[0])}: expected pictures ({', '.join(SUFFIXES)}) in a class's folder, got "
            + ("folders of pictures; move the pictures up" if below else "none; fill or remove it")
        )
    if len(listed) > MOST_CLASSES:
        raise DataError(f"{one_line(root)}: expected at most {MOST_CLASSES:,} classes, got {len(listed)}")
    if others:
        report(
            f"{one_line(root)}: {len(others)} left out, no pictures by their names, such as {one_line(others[0], 80)}"
        )
    return listed


def _class(folder: Path) -> str:
    """Name of a class, one for the two ways to write é that systems have."""
    return unicodedata.normalize("NFC", folder.name)


def _folders(path: Path) -> list[Path]:
    """Folders in a folder, but for hidden ones and what macOS packs beside pictures (__MACOSX)."""
    return sorted(folder for folder in path.iterdir() if not folder.name.startswith((".", "__")) and folder.is_dir())


def _has_pictures(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(_is_picture(entry.name) and not entry.name.startswith(".") for entry in entries)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in NO_PICTURES
        )


def _order(listed: Listed) -> Places:
    """The order of the images, as places in the list of all files, class by class."""
    which = np.repeat(np.arange(len(listed)), [*map(len, listed.values())])
    stems = [file[: file.rindex(".")] for files in listed.values() for file in files]
    if all(stem.isdecimal() and stem.isascii() and len(stem) < 20 for stem in stems):
        numbers = np.array([int(stem) for stem in stems], np.uint64)
        order = numbers.argsort(kind="stable")
        if (numbers[order][1:] > numbers[order][:-1]).all() and is_mixed(which[order]):
            return order
    turns = [(_lots(folder, files) + 0.5) / len(files) for folder, files in listed.items()]
    return np.lexsort([which, np.concatenate(turns)])


def _lots(folder: Path, files: list[str]) -> Places:
    """Place of each picture among those of its class, as if by lot; the same in any folder that holds the set."""
    names = (f"{SEED}/{_class(folder)}/{file}".encode(errors="surrogateescape") for file in files)
    lots = [int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") for name in names]
    return np.array(lots, np.uint64).argsort(kind="stable").argsort()
