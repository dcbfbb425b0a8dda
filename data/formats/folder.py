"""A folder per class: PATH/train/NAME/* and PATH/test/NAME/*, or PATH/NAME/* alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.errors import one_line
from common.files import read_file
from data.formats.idx import LARGEST_SET, Bytes, DataError
from data.formats.labelled import SIDE, Labelled, Part, checked
from data.formats.pictures import LARGEST_FILE, SUFFIXES, decode_as_it_is

Decode = Callable[[str, bytes], Bytes]


def read_class_folders(
    path: Path,
    decode: Decode = decode_as_it_is,
    strict: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Labelled:
    """Read the pictures of each class's folder.

    Files whose names are numbers, each one of its own, are ordered by these; else the classes take turns evenly, each
    in the order of its files' names, so that every stretch of the images has each class's share.

    Args:
        path: the folder.
        decode: makes uint8 [28, 28] of a file's name and bytes; raises DataError.
        strict: a broken file is an error; else it is reported and left out.
        report: takes a line for each file that is left out.

    Raises:
        DataError: no classes, no pictures, a class without a folder of training pictures, or too many pictures.
        OSError: a folder cannot be read.
    """
    root = path / "train" if (path / "train").is_dir() else path
    names, files, train = _read(root, decode, strict, report)
    test = None
    if root != path and (path / "test").is_dir():
        test_names, _, test = _read(path / "test", decode, strict, report)
        if extra := sorted(set(test_names) - set(names)):
            raise DataError(
                f"{one_line(path / 'test')}: expected the classes of train/, got {one_line(', '.join(extra), 100)} too"
            )
    return Labelled(train, test, "folder per class", {}, files)


def _read(
    root: Path, decode: Decode, strict: bool, report: Callable[[str], None]
) -> tuple[list[str], tuple[str, ...], Part]:
    listed = {folder.name: _files(folder) for folder in sorted(root.iterdir()) if _is_class(folder)}
    if empty := [name for name, files in listed.items() if not files]:
        raise DataError(
            f"{one_line(root / empty[0])}: expected pictures ({', '.join(SUFFIXES)}) in a class's folder, got none; "
            "fill or remove it"
        )
    order = _ordered(listed)
    if len(order) * SIDE * SIDE > LARGEST_SET:
        raise DataError(f"{one_line(root)}: expected at most {LARGEST_SET // SIDE**2} pictures, got {len(order)}")
    images = np.empty((len(order), SIDE, SIDE), np.uint8)
    kept: list[tuple[str, str]] = []
    for name, file in order:
        picture = root / name / file
        try:
            images[len(kept)] = decode(one_line(picture), _bytes(picture))
            kept.append((name, file))
        except DataError as error:
            if strict:
                raise
            report(f"{error}; left out")
    if not kept:
        raise DataError(f"{one_line(root)}: expected pictures that can be used, got none of {len(order)}")
    labels = np.array([name for name, _ in kept])
    return (
        list(listed),
        tuple(f"{name}/{file}" for name, file in kept),
        checked(one_line(root), images[: len(kept)], labels),
    )


def _bytes(path: Path) -> bytes:
    try:
        return read_file(path, LARGEST_FILE)
    except OSError as error:
        raise DataError(f"{one_line(path)}: expected a picture, got: {error.strerror}") from error


def _is_class(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith((".", "__"))


def _files(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
        )


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
