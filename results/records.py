"""The rows of results.csv and steps.csv: their columns, bounds and cells.

Accuracies are fractions between 0 and 1 (0.9885); percent is for screens and figures. Losses are means in nats per
image. Floats are written so that reading gives the same number back. A run without a validation set has four empty
cells there; the same holds for the test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from common.errors import one_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One pass of one run, as one row of results.csv.

    Attributes:
        run: name of the run, printable.
        pass_number: column `pass`, counted from 1.
        train_loss: mean over the pass's batches as they were trained on, nats per image; may be NaN or infinite.
        train_accuracy: fraction right over the same batches.
        learning_rate: the rate of the pass's last batch.
        seconds: the pass's training alone, without evaluation.
        images_per_second: training images / seconds.
        best: the pass was the best so far when it ended; the last such row is the run's best pass.
        validation_digit_error: of a network that reads rows of digits, whose rows are what the columns above count:
            digits to change, leave out or add for each right one; else None, and results.csv lacks the column.
        test_digit_error: the same of the test rows.

    Raises:
        ValueError: a value is out of bounds.
    """

    run: str
    pass_number: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_correct: int | None
    validation_total: int | None
    validation_accuracy: float | None
    test_loss: float | None
    test_correct: int | None
    test_total: int | None
    test_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    best: bool
    validation_digit_error: float | None = None
    test_digit_error: float | None = None

    def __post_init__(self) -> None:
        if not self.run or not self.run.isprintable():
            raise ValueError(f"run: expected printable characters, got {self.run!r}")
        _expect_at_least("pass", self.pass_number, 1)
        _expect_fraction("train_accuracy", self.train_accuracy)
        for column in ("learning_rate", "seconds", "images_per_second"):
            _expect_at_least(column, getattr(self, column), 0)
        for images in ("validation", "test"):
            values = [getattr(self, f"{images}_{what}") for what in ("loss", "correct", "total", "accuracy")]
            if all(value is None for value in values):
                continue
            if any(value is None for value in values):
                raise ValueError(f"{images}: expected all four values or none")
            _, correct, total, accuracy = values
            if not (total > 0 and 0 <= correct <= total):
                raise ValueError(f"{images}: expected 0 ≤ correct ≤ total and total > 0, got {correct} of {total}")
            if not math.isclose(accuracy, correct / total, abs_tol=1e-6):
                raise ValueError(f"{images}_accuracy: expected {correct}/{total} = {correct / total}, got {accuracy}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One logged batch, as one row of steps.csv.

    Attributes:
        pass_number: column `pass`, counted from 1.
        step: number of the batch within its pass, counted from 1.
        loss: mean of the batch, nats per image; may be NaN or infinite.
        accuracy: fraction of the batch that was right.
        learning_rate: the rate at this batch.

    Raises:
        ValueError: a value is out of bounds.
    """

    pass_number: int
    step: int
    loss: float
    accuracy: float
    learning_rate: float

    def __post_init__(self) -> None:
        _expect_at_least("pass", self.pass_number, 1)
        _expect_at_least("step", self.step, 1)
        _expect_fraction("accuracy", self.accuracy)
        _expect_at_least("learning_rate", self.learning_rate, 0)


Record = TypeVar("Record", Row, Step)


DIGIT_ERRORS = 2  # columns that a run lacks whose network reads single digits


def columns(kind: type[Row] | type[Step], rows: bool = False) -> list[str]:
    """Header of a log of `kind`; `pass` is a keyword of Python, so the field is called `pass_number`.

    Args:
        kind: of log.
        rows: the network reads rows of digits: accuracy is that of whole rows, and so called, and there are two more.
    """
    names = ["pass" if field.name == "pass_number" else field.name for field in fields(kind)]
    if kind is Step:
        return names
    return [name.replace("accuracy", "row_accuracy") for name in names] if rows else names[:-DIGIT_ERRORS]


def cells(record: Row | Step) -> list[str]:
    """Cells of a record as text, in the order of `columns`; `record_of` gives the same record back."""
    texts = [_WRITERS[str(field.type)](getattr(record, field.name)) for field in fields(record)]
    return texts if isinstance(record, Step) or record.test_digit_error is not None else texts[:-DIGIT_ERRORS]


def best_row(rows: list[Row]) -> Row | None:
    """The run's best pass: the last row that was the best so far; None if there is none."""
    return next((row for row in reversed(rows) if row.best), None)


def record_of(texts: list[str], kind: type[Record]) -> Record:
    """The record with these cells, in the order of `columns`.

    Raises:
        ValueError: a cell is missing, of another kind, or out of bounds; the message names its column.
    """
    expected = fields(kind)
    if kind is Row and len(texts) != len(expected):
        expected = expected[:-DIGIT_ERRORS]
    if len(texts) != len(expected):
        raise ValueError(f"expected {len(expected)} cells, got {len(texts)}")
    values: dict[str, Any] = {}
    for field, text in zip(expected, texts, strict=True):
        try:
            values[field.name] = _READERS[str(field.type)](text)
        except ValueError as error:
            column = "pass" if field.name == "pass_number" else field.name
            raise ValueError(f"{column}: expected {error}, got {one_line(repr(text), 40)}") from None
    return kind(**values)


def _expect_at_least(column: str, value: float, least: int) -> None:
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{column}: expected a number from {least}, got {value}")


def _expect_fraction(column: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{column}: expected a fraction between 0 and 1, got {value}")


def _integer(text: str) -> int:
    # int() alone also takes "1_000", " 1" and other scripts' digits, which no log of ours holds.
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise ValueError("a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        if "_" not in text and text == text.strip():
            return float(text)
    except ValueError:
        pass
    raise ValueError("a number")


def _zero_or_one(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


# By the annotation of the field.
_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _integer,
    "int | None": lambda text: _integer(text) if text else None,
    "float": _number,
    "float | None": lambda text: _number(text) if text else None,
    "bool": _zero_or_one,
}
# float() and int() first: NumPy's own numbers would name their type.
_WRITERS: dict[str, Callable[[Any], str]] = {
    "str": str,
    "int": lambda value: str(int(value)),
    "int | None": lambda value: "" if value is None else str(int(value)),
    "float": lambda value: repr(float(value)),
    "float | None": lambda value: "" if value is None else repr(float(value)),
    "bool": lambda value: str(int(value)),
}
