"""CSV files: one image a line, its label in the column `label`, or in the first one if there is no header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import one_line
from common.files import open_file
from data.formats.idx import LARGEST_SET, DataError
from data.formats.labelled import SIDE, Labelled, Part, checked, read_names, texts

PIXELS = SIDE * SIDE
LABEL = "label"
FRACTION = re.compile(r"\s*[+-]?(\d+\.\d*|\.\d+|\d+(?=e))(e[+-]?\d+)?\s*", re.IGNORECASE)
LONGEST_LINE = 1 << 16  # bytes
CHUNK = 1 << 20  # bytes that are parsed at a time: memory holds the images once


def read_csv(path: Path) -> Labelled:
    """Read one file, or the folder of a train.csv and a test.csv of labelled images.

    Raises:
        DataError: no labels, another number of pixels, or a value that is no byte.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return Labelled(_read(path), None, "CSV", read_names(path.parent))
    files = {part: sorted(path.glob(f"*{part}.csv")) for part in ("train", "test")}
    if len(files["train"]) != 1 or len(files["test"]) > 1:
        names = one_line(", ".join(file.name for file in sorted(path.glob("*.csv"))), 100)
        raise DataError(
            f"{one_line(path)}: expected one *train.csv and at most one *test.csv, got {names}; name one file"
        )
    test = None
    if files["test"] and _columns(files["test"][0])[0] is not None:  # Kaggle's test.csv has no labels
        test = _read(files["test"][0])
    return Labelled(_read(files["train"][0]), test, "CSV", read_names(path))


def _columns(path: Path) -> tuple[int | None, bool]:
    """Place of the label, None without one; True if the first line is a header."""
    where = one_line(path)
    with open_file(path) as file:
        line = file.readline(LONGEST_LINE)
    try:
        cells = [cell.strip().strip('"') for cell in line.decode("utf-8-sig").strip().split(",")]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected a CSV file in UTF-8, got: {one_line(error, 100)}") from error
    for mark, marks in ((b";", "semicolons"), (b"\t", "tabs")):
        if line.count(mark) in (PIXELS - 1, PIXELS):
            raise DataError(f"{where}: expected commas between the cells, found {marks}: save it with commas")
    if len(cells) not in (PIXELS, PIXELS + 1):
        raise DataError(
            f"{where}: line 1: expected a label and {PIXELS} pixels of a {SIDE}×{SIDE} image, got {len(cells)} columns"
        )
    header = not all(cell.isdecimal() for cell in cells[1:])
    if len(cells) == PIXELS:
        return None, header
    if not header:
        return 0, False
    places = [place for place, cell in enumerate(cells) if cell.lower() == LABEL]
    if len(places) != 1:
        raise DataError(f"{where}: line 1: expected one column {LABEL}, got {len(places)}; name the labels' column so")
    return places[0], True


def _read(path: Path) -> Part:
    where = one_line(path)
    place, header = _columns(path)
    if place is None:
        raise DataError(
            f"{where}: expected a label and {PIXELS} pixels a line, got no labels; infer.py reads such images"
        )
    # A label of 101 characters, to which a longer one is cut, is refused with its class.
    row = np.dtype([("before", "u1", (place,)), ("label", "U101"), ("after", "u1", (PIXELS - place,))])
    labels: list[npt.NDArray[np.str_]] = []
    with open_file(path) as file:
        lines = 1 + sum(piece.count(b"\n") for piece in iter(lambda: file.read(CHUNK), b""))
        if lines * PIXELS > LARGEST_SET:
            raise DataError(f"{where}: expected at most {LARGEST_SET // PIXELS} images, got {lines} lines")
        images = np.empty((lines, PIXELS), np.uint8)
        file.seek(0)
        if header:
            file.readline(LONGEST_LINE)
        done, line = 0, 1 + header
        while chunk := file.read(CHUNK):
            chunk += file.readline(LONGEST_LINE)
            rows = _rows(where, chunk, row, line)
            images[done : done + len(rows), :place] = rows["before"]
            images[done : done + len(rows), place:] = rows["after"]
            labels.append(_trimmed(rows["label"]))
            done += len(rows)
            line += chunk.count(b"\n")
    if not done:
        raise DataError(f"{where}: expected lines of a label and {PIXELS} pixels of 0 to 255, got: none")
    names = np.concatenate(labels)
    if fraction := next((label for label in np.unique(names) if FRACTION.fullmatch(label)), None):
        raise DataError(f"{where}: expected labels that are whole numbers or names, got {one_line(fraction, 60)}")
    return checked(where, images[:done], texts(names))


def _rows(where: str, chunk: bytes, row: np.dtype, line: int) -> npt.NDArray[Any]:
    """Parse whole lines, the first of which has the number `line` in the file; NumPy refuses all but bytes."""
    try:
        text = re.split("\r?\n", chunk.decode("utf-8-sig" if line == 1 else "utf-8"))  # a lone CR ends no line
        if not any(map(str.strip, text)):
            return np.empty(0, row)
        return np.loadtxt(text, dtype=row, delimiter=",", comments=None, quotechar='"', ndmin=1)
    except (ValueError, OverflowError) as error:
        why = one_line(str(error).partition(";")[0], 150)
        raise DataError(
            f"{where}: expected lines of a label and {PIXELS} pixels of 0 to 255, got: {why}, counted from line {line}"
        ) from error


def _trimmed(labels: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """The same texts in no more memory than the longest needs."""
    return labels.astype(f"U{max(1, *map(len, labels.tolist()), 1)}")
