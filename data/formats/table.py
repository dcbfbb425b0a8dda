"""CSV files: one image a line, its label in the column `label`, or in the first one if there is no header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import one_line
from common.extras import extra
from common.files import open_file
from data.formats.idx import LARGEST_SET, DataError
from data.formats.labelled import SIDE, Labelled, Part, checked, joined, read_names, texts

PIXELS = SIDE * SIDE
LABEL = "label"
FRACTION = re.compile(r"\s*[+-]?(\d+\.\d*|\.\d+|\d+(?=e))(e[+-]?\d+)?\s*", re.IGNORECASE)
LONGEST_LINE = 1 << 16  # bytes of the first line


def read_csv(path: Path) -> Labelled:
    """Read one file, or the folder of a train.csv and a test.csv of labelled images.

    Raises:
        DataError: no labels, another number of pixels, or a value that is no byte.
        UsageError: pyarrow is not installed.
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


def _columns(path: Path) -> tuple[int | None, int, bool]:
    """Place of the label, None without one; number of columns; True if the first line is a header."""
    where = one_line(path)
    with open_file(path) as file:
        line = file.readline(LONGEST_LINE)
    try:
        cells = [cell.strip().strip('"') for cell in line.decode("utf-8-sig").strip().split(",")]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected a CSV file in UTF-8, got: {one_line(error, 100)}") from error
    if len(cells) not in (PIXELS, PIXELS + 1):
        raise DataError(
            f"{where}: line 1: expected a label and {PIXELS} pixels of a {SIDE}×{SIDE} image, got {len(cells)} columns"
        )
    header = not all(cell.isdecimal() for cell in cells[1:])
    if len(cells) == PIXELS:
        return None, len(cells), header
    if not header:
        return 0, len(cells), False
    places = [place for place, cell in enumerate(cells) if cell.lower() == LABEL]
    if len(places) != 1:
        raise DataError(f"{where}: line 1: expected one column {LABEL}, got {len(places)}; name the labels' column so")
    return places[0], len(cells), True


def _read(path: Path) -> Part:
    where = one_line(path)
    place, count, header = _columns(path)
    if place is None:
        raise DataError(
            f"{where}: expected a label and {PIXELS} pixels a line, got no labels; infer.py reads such images"
        )
    csv: Any = extra("pyarrow.csv", "pyarrow>=15", "--data with a CSV file")
    arrow: Any = extra("pyarrow", "pyarrow>=15", "--data with a CSV file")
    names = [f"column {number + 1}" for number in range(count)]
    types = {name: arrow.string() if number == place else arrow.uint8() for number, name in enumerate(names)}
    images: list[np.ndarray] = []
    labels: list[str] = []
    try:
        with csv.open_csv(
            str(path),
            read_options=csv.ReadOptions(column_names=names, skip_rows=int(header), block_size=4 << 20),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=[]),
        ) as reader:
            for batch in reader:
                labels += batch.column(place).to_pylist()
                if len(labels) * PIXELS > LARGEST_SET:
                    raise DataError(f"{where}: expected at most {LARGEST_SET // PIXELS} images, got more")
                pixels = np.empty((len(batch), PIXELS), np.uint8)
                for column in range(count):
                    if column != place:
                        pixels[:, column - (column > place)] = batch.column(column).to_numpy()
                images.append(pixels)
    except arrow.ArrowInvalid as error:
        raise DataError(
            f"{where}: expected lines of a label and {PIXELS} pixels of 0 to 255, got: {one_line(error, 150)}"
        ) from error
    if not images:
        raise DataError(f"{where}: expected at least one image, got none")
    if fraction := next((label for label in labels if FRACTION.fullmatch(label)), None):
        raise DataError(f"{where}: expected labels that are whole numbers or names, got {one_line(fraction, 60)}")
    return checked(where, joined(images), texts(labels))
