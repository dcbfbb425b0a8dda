"""Labelled images as a format's reader hands them over, and the checks that every format goes through."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.cells import is_formula
from common.errors import one_line
from common.files import read_file
from data.formats.idx import Bytes, DataError

if TYPE_CHECKING:
    from data.formats.pictures import Pictures

SIDE = 28  # pixels
MOST_CLASSES = 1000
NAMES_FILE = "classes.txt"
NUMBERED = re.compile(r"(\d{1,9})(?:\s*[,;:=]\s*|\s+)(\S.*)")  # 5 cat, 5: cat

Labels = npt.NDArray[Any]  # whole numbers, or names


@dataclass(frozen=True)
class Part:
    """Images uint8 [N, 28, 28], or pictures of them, and their labels [N]: numbers or names as the file has them."""

    images: Bytes | Pictures
    labels: Labels

    def numbered(self) -> Part:
        """The same; labels that are texts of whole numbers are numbers."""
        return Part(self.images, texts(self.labels))


@dataclass(frozen=True)
class Labelled:
    """A data set as its files have it.

    Attributes:
        train: the training part, or all there is.
        test: the test part; None if the files have none.
        format: the format in words, as "CSV file".
        names: name of each label that is a number, in order; empty if the files name none.
        files: what each training image is called in a list of files; empty if images have no names.
        validation: number of the last training images that the files keep apart for validation.
        file: a file that it was read from, for the name of a known set.
        notes: lines for the user: what was chosen, and what was left alone.
    """

    train: Part
    test: Part | None
    format: str
    names: dict[int, str]
    files: Sequence[str] = ()
    validation: int = 0
    file: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Classes:
    """Classes of a data set.

    Attributes:
        labels: numbers of the training labels from 0, and of the test labels if there are any.
        names: in the order of the numbers.
        notes: lines for the user.
    """

    labels: list[npt.NDArray[np.uint16]]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def checked(where: str, images: npt.NDArray[Any], labels: Labels) -> Part:
    """Images of one part as uint8 [N, 28, 28], with as many labels.

    Raises:
        DataError: another shape or element type, values outside 0 to 255, no image, or another number of labels.
    """
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim == 2 and images.shape[1] == SIDE * SIDE:
        images = images.reshape(-1, SIDE, SIDE)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        got = "×".join(map(str, images.shape))
        hint = "make them grey" if images.ndim == 4 and 3 in (images.shape[1], images.shape[3]) else "resize them"
        raise DataError(f"{where}: expected images of [N, {SIDE}, {SIDE}] grey pixels, got {got}; {hint}")
    if images.dtype != np.uint8:
        if images.dtype.kind not in "iu" or (images.size and (images.min() < 0 or images.max() > 255)):
            raise DataError(
                f"{where}: expected whole pixels of 0 to 255, got {images.dtype} values; scale them to bytes"
            )
        images = images.astype(np.uint8)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iuUT":
        got = f"{labels.dtype} values of shape {'×'.join(map(str, labels.shape))}"
        hint = "; store one-hot labels y as y.argmax(1)" if labels.ndim == 2 else ""
        raise DataError(f"{where}: expected one label per image, a whole number or a name, got {got}{hint}")
    if len(images) != len(labels) or not len(images):
        raise DataError(
            f"{where}: expected as many labels as images and at least one, got {len(images)} images and "
            f"{len(labels)} labels"
        )
    return Part(images, labels)


def number_classes(where: str, found: Labelled, fewest: int = 2) -> Classes:
    """Number the classes from 0, and name them.

    Numbers keep their order and count from 0, or from 1 if the least label is 1. A number without an image between them
    is a class too if half of the numbers have images; else those that have images are the classes. Names are sorted,
    those that are all numbers by their value.

    Args:
        where: the data set, for errors.
        found: as its files have it.
        fewest: number of classes that are needed.

    Raises:
        DataError: fewer classes, more than 1,000, a negative label, a label without a name, or a bad name.
    """
    parts = [part.labels for part in (found.train, found.test) if part is not None]
    notes: list[str] = []
    if all(part.dtype.kind in "iu" for part in parts):
        values, names = _count(where, parts, found.names, notes)
        labels = [np.searchsorted(values, part).astype(np.uint16) for part in parts]
    else:
        names = _sorted_names({str(name) for part in parts for name in np.unique(part)})
        places = {name: place for place, name in enumerate(names)}
        labels = [_places(part, places) for part in parts]
        if found.names:
            notes.append(f"{NAMES_FILE}: left alone, as the labels are names")
    _expect_names(where, names, fewest)
    return Classes(labels, names, tuple(notes))


def _expect_names(where: str, names: tuple[str, ...], fewest: int) -> None:
    if not fewest <= len(names) <= MOST_CLASSES:
        raise DataError(f"{where}: expected {fewest} to {MOST_CLASSES:,} classes, got {len(names)}")
    for name in names:
        if not name.isprintable() or not 0 < len(name) <= 100 or is_formula(name):
            raise DataError(
                f"{where}: expected printable names of classes that are no formulas to a spreadsheet, got "
                f"{one_line(name, 60)!r}; rename it"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: expected a name of its own for each class, got {one_line(twice, 60)} twice")


def _count(
    where: str, parts: list[Labels], names: dict[int, str], notes: list[str]
) -> tuple[list[int], tuple[str, ...]]:
    """Labels that are classes, in order, and the names of these."""
    present = sorted({int(label) for part in parts for label in np.unique(part)})
    least, most = present[0], present[-1]
    if least < 0:
        raise DataError(f"{where}: expected labels of 0 or more, got {least} to {most}")
    if not names:
        first = int(least == 1)
        values = list(range(first, most + 1)) if most + 1 - first <= 2 * len(present) else present
        return values, tuple(map(str, values))
    if not 0 <= min(names) <= max(names) <= MOST_CLASSES:
        got = f"{min(names)} to {max(names)}"
        raise DataError(f"{where}: expected names for labels of 0 to {MOST_CLASSES}, got names for {got}")
    if min(names) == 0 and least == 1 and most == len(names):
        names = {label + 1: name for label, name in names.items()}
        notes.append(f"labels count from 1: the first of the {most} names is that of label 1")
    if unnamed := sorted(set(present) - set(names)):
        raise DataError(f"{where}: expected a name for each label, got none for {one_line(unnamed, 60)}")
    values = sorted(names)
    return values, tuple(names[label] for label in values)


def _places(part: Labels, places: dict[str, int]) -> npt.NDArray[np.uint16]:
    unique, inverse = np.unique(part, return_inverse=True)
    return np.array([places[str(name)] for name in unique], np.uint16)[inverse]


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    if all(re.fullmatch(r"0|[1-9][0-9]{0,8}", name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder whose names end in a suffix, in capitals or not; sorted, none hidden."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and not path.name.startswith("."))


def read_names(folder: Path, title: str | None = None) -> dict[int, str]:
    """Names of the classes from `classes.txt` in a folder; else from EMNIST's mapping.

    `classes.txt` has a name a line, the first that of label 0; or in each line a label and its name. EMNIST's mapping
    has a label and the codes of its characters in each line.

    Args:
        folder: to look in.
        title: of the mapping, as "emnist-letters"; "" or None for any.

    Raises:
        DataError: such a file is broken; or there are several mappings.
        OSError: it cannot be read.
    """
    path = folder / NAMES_FILE
    if path.exists():
        lines = _lines(path)
        numbered = [NUMBERED.fullmatch(line) for line in lines]
        if lines and all(numbered):
            return _numbered(path, [(int(each[1]), each[2]) for each in numbered if each])
        return dict(enumerate(lines))
    mappings = sorted(folder.glob(f"{glob.escape(title) if title else 'emnist-*'}-mapping.txt"))
    if len(mappings) > 1:
        raise DataError(f"{one_line(folder)}: expected one mapping of EMNIST, got {len(mappings)}; leave one")
    try:
        rows = [[int(word) for word in line.split()] for path in mappings for line in _lines(path)]
        return {row[0]: chr(row[1]) for row in rows}
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(
            f"{one_line(mappings[0])}: expected lines of a label and a character's code, got: {one_line(error, 100)}"
        ) from error


def _numbered(path: Path, lines: list[tuple[int, str]]) -> dict[int, str]:
    names = dict(lines)
    if len(names) < len(lines):
        twice = next(label for label, name in lines if names[label] != name or lines.count((label, name)) > 1)
        raise DataError(f"{one_line(path)}: expected one name for each label, got several for {twice}")
    return names


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in read_file(path, 1 << 20).decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{one_line(path)}: expected text in UTF-8, got: {one_line(error, 100)}") from error
    while lines and not lines[-1]:
        lines.pop()
    return lines


def texts(values: Labels) -> Labels:
    """Labels that may have been read as text: int64 if each is a whole number, else names."""
    try:
        return values.astype(np.int64)
    except OverflowError:
        return values
    except ValueError:  # names, or 7.0 as pandas writes labels of which some are missing
        return _whole(values)


def _whole(values: Labels) -> Labels:
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        return values
    whole = bool((np.abs(numbers) < 1 << 53).all()) and bool((numbers == np.round(numbers)).all())
    return numbers.astype(np.int64) if whole else values
