"""CSV files: one image a line, its label in the column `label`, or in the first one if there is no header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import one_line
from common.files import open_file
from data.formats.idx import LARGEST_SET, DataError
from data.formats.labelled import SIDE, Labelled, Part, checked, files_in, read_names, texts

PIXELS = SIDE * SIDE
LABEL = "label"
LABELS = ("labels", "class", "target", "digit", "letter", "character", "y")  # names of its column if none is `label`
OTHERS = ("", "id", "index", "unnamed: 0", "image_id", "imageid", "filename")  # columns that are left alone
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
FRACTION = re.compile(r"\s*[+-]?(\d+\.\d*|\.\d+|\d+(?=e))(e[+-]?\d+)?\s*", re.IGNORECASE)
EMNIST = re.compile(r"(emnist-[a-z]+)[-_.].*", re.IGNORECASE)  # emnist-letters-train.csv
LONGEST_LINE = 1 << 16  # bytes
CHUNK = 1 << 20  # bytes that are parsed at a time: memory holds the images once


@dataclass(frozen=True)
class _Columns:
    """Columns of a table, by their places.

    Attributes:
        label: place of the label; None without one.
        pixels: places of the pixels, in the order of the image.
        count: number of all columns.
        header: the first line has their names.
        others: names of columns that are left alone.
    """

    label: int | None
    pixels: list[int]
    count: int
    header: bool
    others: tuple[str, ...] = ()

    def row(self) -> np.dtype:
        """A line: the label as text, each run of pixels, each run of other columns.

        A label of 101 characters, to which a longer one is cut, is refused with its class.
        """
        kinds = ["text"] * self.count
        for place in self.pixels:
            kinds[place] = "pixels"
        kinds[self.label or 0] = LABEL
        types = {"text": "U1", "pixels": "u1", LABEL: "U101"}
        runs = [(kind, list(places)) for kind, places in groupby(range(self.count), key=lambda place: kinds[place])]
        return np.dtype([(f"{kind}{places[0]}", types[kind], (len(places),)) for kind, places in runs])


def read_csv(path: Path) -> Labelled:
    """Read one file, or the folder of a train.csv and a test.csv of labelled images; EMNIST's images are turned.

    Raises:
        DataError: no labels, another number of pixels, or a value that is no byte.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        stem = re.sub("train$", "test", path.stem, flags=re.IGNORECASE)
        beside = path.with_stem(stem)
        note = f"left alone: {one_line(beside.name, 100)}; name a folder of the two to test on it"
        return _labelled(path, None, (note,) if beside != path and beside.exists() else ())
    tables = [file for file in files_in(path, ".csv") if is_table(file)]
    train, tests = ([file for file in tables if file.stem.lower().endswith(part)] for part in ("train", "test"))
    if len(train) != 1 or len(tests) > 1:
        names = one_line(", ".join(file.name for file in tables), 100)
        raise DataError(
            f"{one_line(path)}: expected one *train.csv and at most one *test.csv, got {names}; name one file"
        )
    test = tests[0] if tests and _columns(tests[0]).label is not None else None  # Kaggle's test.csv has no labels
    left = one_line(", ".join(file.name for file in tables if file not in (train[0], test)), 100)
    return _labelled(train[0], test, (f"left alone: {left}",) if left else ())


def is_table(path: Path) -> bool:
    """True if the file has the columns of images of 28×28 pixels."""
    try:
        _columns(path)
    except DataError:
        return False
    return True


def _labelled(train: Path, test: Path | None, notes: tuple[str, ...]) -> Labelled:
    emnist = EMNIST.fullmatch(train.name)
    columns = _columns(train)
    others = one_line(", ".join(columns.others), 100)
    return Labelled(
        _read(train, columns, turned=emnist is not None),
        _read(test, _columns(test), turned=emnist is not None) if test else None,
        "CSV, images turned as EMNIST's are" if emnist else "CSV",
        read_names(train.parent, emnist[1] if emnist else None),
        file=train,
        notes=(f"columns left alone: {others}", *notes) if others else notes,
    )


def _columns(path: Path) -> _Columns:
    where = one_line(path)
    with open_file(path) as file:
        line = file.readline(LONGEST_LINE)
    try:
        cells = [cell.strip().strip('"').strip() for cell in line.decode("utf-8-sig").strip().split(",")]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected a CSV file in UTF-8, got: {one_line(error, 100)}") from error
    if line.count(b"\r") > 1:
        raise DataError(f"{where}: expected lines that end in LF or CR LF, found CR alone: save it with LF")
    for mark, marks in ((b";", "semicolons"), (b"\t", "tabs")):
        if line.count(mark) >= PIXELS - 1:
            raise DataError(f"{where}: expected commas between the cells, found {marks}: save it with commas")
    words = [place for place, cell in enumerate(cells) if cell and not NUMBER.fullmatch(cell)]
    if len(words) > 1 or _count_up(cells):
        return _named_columns(where, [cell.lower() for cell in cells])
    if len(cells) == PIXELS and not words:
        return _Columns(None, list(range(PIXELS)), PIXELS, False)
    _expect_count(where, len(cells), PIXELS + 1)
    label = words[0] if words else 0
    return _Columns(label, [place for place in range(PIXELS + 1) if place != label], PIXELS + 1, False)


def _count_up(cells: list[str]) -> bool:
    """True if cells are the numbers of columns, one after the other, as pandas names them; not a line of pixels."""
    numbers = [int(cell) for cell in cells if cell.isdecimal() and cell.isascii()]
    return len(numbers) >= PIXELS and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _named_columns(where: str, names: list[str]) -> _Columns:
    """Columns by their names; pixels whose names hold numbers, as pixel10 and 2x3, are ordered by these."""
    labels = [place for place, name in enumerate(names) if name == LABEL]
    labels = labels or [place for place, name in enumerate(names) if name in LABELS]
    pixels = [place for place, name in enumerate(names) if place not in labels and name not in OTHERS]
    if len(labels) > 1 or (not labels and len(pixels) == PIXELS + 1):
        raise DataError(f"{where}: line 1: expected one column {LABEL}, got {len(labels)}; name the labels' column so")
    numbered = [place for place in pixels if re.search(r"\d", names[place])]
    pixels = numbered if len(numbered) == PIXELS else pixels
    _expect_count(where, len(pixels) + len(labels), PIXELS + len(labels), len(names))
    known = {*labels, *pixels}
    others = tuple(name for place, name in enumerate(names) if name and place not in known)
    keys = {place: tuple(map(int, re.findall(r"\d{1,9}", names[place]))) for place in pixels}
    if len(set(keys.values())) == PIXELS and len(set(map(len, keys.values()))) == 1:
        pixels.sort(key=lambda place: keys[place])
    return _Columns(labels[0] if labels else None, pixels, len(names), True, others)


def _expect_count(where: str, got: int, expected: int, columns: int | None = None) -> None:
    if got != expected:
        raise DataError(
            f"{where}: line 1: expected a label and {PIXELS} pixels of a {SIDE}×{SIDE} image, got "
            f"{columns or got} columns"
        )


def _read(path: Path, columns: _Columns, turned: bool) -> Part:
    where = one_line(path)
    if columns.label is None:
        raise DataError(
            f"{where}: expected a label and {PIXELS} pixels a line, got no labels; infer.py reads such images"
        )
    row, order = columns.row(), np.argsort(np.argsort(columns.pixels))
    sorted_by_name = not np.array_equal(order, np.arange(PIXELS))
    labels: list[npt.NDArray[np.str_]] = []
    with open_file(path) as file:
        lines = 1 + sum(piece.count(b"\n") for piece in iter(lambda: file.read(CHUNK), b""))
        if lines * PIXELS > LARGEST_SET:
            raise DataError(f"{where}: expected at most {LARGEST_SET // PIXELS} images, got {lines} lines")
        images = np.empty((lines, PIXELS), np.uint8)
        file.seek(0)
        if columns.header:
            file.readline(LONGEST_LINE)
        done, line = 0, 1 + columns.header
        while chunk := file.read(CHUNK):
            chunk += file.readline(LONGEST_LINE)
            rows = _rows(where, chunk, row, line)
            target, first = images[done : done + len(rows)], 0
            for name in row.names or ():
                if name.startswith("pixels"):
                    target[:, first : first + rows[name].shape[1]] = rows[name]
                    first += rows[name].shape[1]
                elif name.startswith(LABEL):
                    labels.append(_trimmed(rows[name][:, 0]))
            if sorted_by_name:
                target[:] = target[:, order]
            done += len(rows)
            line += chunk.count(b"\n")
    if not done:
        raise DataError(f"{where}: expected lines of a label and {PIXELS} pixels of 0 to 255, got: none")
    names = np.concatenate(labels)
    _expect_labels(where, names, images[:done, -1] if not columns.header else None)
    found = images[:done].reshape(-1, SIDE, SIDE)
    return checked(where, found.transpose(0, 2, 1) if turned else found, texts(names))


def _expect_labels(where: str, names: npt.NDArray[np.str_], last: npt.NDArray[np.uint8] | None) -> None:
    """Refuse labels that are missing or fractions, and what looks like labels in the last column without a header."""
    if missing := int(np.count_nonzero(names == "")):
        raise DataError(f"{where}: expected a label in each line, got {missing} without")
    if last is not None and (names == "0").all() and (last != last[0]).any():  # a corner, which is black
        raise DataError(
            f"{where}: expected the label in the first column, got 0 in all lines, and numbers in the last column; "
            f"put the labels first, or add a header that calls their column {LABEL}"
        )
    fractions = (label for label in np.unique(names) if FRACTION.fullmatch(label) and not float(label).is_integer())
    if fraction := next(fractions, None):
        raise DataError(f"{where}: expected labels that are whole numbers or names, got {one_line(fraction, 60)}")


def _rows(where: str, chunk: bytes, row: np.dtype, line: int) -> npt.NDArray[Any]:
    """Parse whole lines, the first of which has the number `line` in the file; NumPy refuses all but bytes."""
    try:
        text = re.split("\r?\n", chunk.decode("utf-8-sig" if line == 1 else "utf-8"))  # a lone CR ends no line
        if not any(map(str.strip, text)):
            return np.empty(0, row)
        return np.loadtxt(text, dtype=row, delimiter=",", comments=None, quotechar='"', ndmin=1)
    except (ValueError, OverflowError) as error:
        why = one_line(str(error).partition(";")[0], 150)
        why += "; scale pixels to whole numbers of 0 to 255" if re.search(r"'\d*\.\d+'", why) else ""
        raise DataError(
            f"{where}: expected lines of a label and {PIXELS} pixels of 0 to 255, got: {why}, counted from line {line}"
        ) from error


def _trimmed(labels: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """The same texts without spaces around them, in no more memory than the longest needs."""
    labels = np.char.strip(labels)
    return labels.astype(f"U{max(1, *map(len, labels.tolist()), 1)}")
