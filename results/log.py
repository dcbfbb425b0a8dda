"""The results log: one CSV row per pass (`results.csv`) and one per logged batch (`steps.csv`).

A row is one line of UTF-8 text with its line end, appended in a single write and never changed afterwards. The reader
counts a last line without its line end as still being written, or as cut by a crash, and leaves it out.

Accuracies in the log are fractions between 0 and 1 (0.9885), percent is for screens and figures; losses are means in
nats per image; floats are written so that reading gives the same number back. A run without a validation set has four
empty cells there; the same holds for the test set.
"""

from __future__ import annotations

import csv
import errno
import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from common.errors import UsageError, UserError, one_line
from common.files import open_own, read_file, write_file

# Bytes: results.csv of 60,000 passes, and steps.csv of 1,000 passes of 860 batches, each logged, take half of this.
LARGEST_RESULTS, LARGEST_STEPS = 2**24, 2**27
LONGEST_RESULT, LONGEST_STEP = 260, 100  # bytes of a row, in results.csv beside the run's name
SAID_PROBLEMS = 20  # bad rows said one by one before the rest is only counted
MOST_PROBLEMS = 1000  # bad rows in what still passes for a log


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

    Raises:
        ValueError: a value that no pass can have.
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
        ValueError: a value that no batch can have.
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


def columns(kind: type[Row] | type[Step]) -> list[str]:
    """The header of a log of `kind`; `pass` is a word of Python, so the field is called `pass_number`."""
    return ["pass" if field.name == "pass_number" else field.name for field in fields(kind)]


def cells(record: Row | Step) -> list[str]:
    """The record's cells as text, in the order of `columns`; reading them gives the same record back."""
    return [_WRITERS[str(field.type)](getattr(record, field.name)) for field in fields(record)]


class _Log(Generic[Record]):
    """A log that is only ever appended to; it is created with its header, and an unfinished last line is dropped."""

    def __init__(self, path: Path, kind: type[Record], durable: bool) -> None:
        self.path = path
        self._durable = durable
        data = _read(path, kind) if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            _check_header(path, whole[: whole.find(b"\n")], kind)
        else:
            whole = _line(columns(kind))
        if whole != data:
            write_file(path, whole)

    def append(self, record: Record) -> None:
        """Append one row, whole.

        Raises:
            OSError: it could not be written (a full disk); the log is as it was before.
        """
        line = _line(cells(record))
        with os.fdopen(open_own(self.path), "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                if self._durable:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise


class ResultsLog(_Log[Row]):
    """Writes `results.csv`: the header once ever, then one durable row per pass.

    Raises:
        UserError: `path` holds something else than a results log.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, Row, durable=True)


class StepsLog(_Log[Step]):
    """Writes `steps.csv`: the header once ever, then one row per logged batch, left to the system to make durable.

    Raises:
        UserError: `path` holds something else than a steps log.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, Step, durable=False)


def expect_readable(run: str, passes: int, steps: int, log_every: int) -> None:
    """Find out before a run that its logs would be too large to be read.

    Args:
        run: its name.
        passes: in all.
        steps: batches in a pass.
        log_every: batches from one row of steps.csv to the next.

    Raises:
        UsageError: they would; the message names the option.
    """
    most = LARGEST_RESULTS // (LONGEST_RESULT + 4 * len(run))
    if passes > most:
        raise UsageError(f"--passes {passes}: expected at most {most}, for results.csv to stay readable")
    least = math.ceil(passes * steps * LONGEST_STEP / LARGEST_STEPS)
    if log_every < least:
        raise UsageError(f"--log-every {log_every}: expected at least {least}, for steps.csv to stay readable")


def read_results(path: Path) -> tuple[list[Row], list[str]]:
    """Read a results log, finished, still being written, or damaged.

    Returns:
        The rows in file order, all of the run of the first one, each pass once; and one line for each thing that is
        wrong with the rest (cells that cannot be, another run's row, a repeated pass, a missing pass).

    Raises:
        UserError: `path` is not a results log at all: no file, too large, other columns, over 1,000 bad rows.
    """
    return parse_results(_read(path, Row), path)


def parse_results(data: bytes, path: Path) -> tuple[list[Row], list[str]]:
    """`read_results` of the bytes of a log; `path` names them in what is said."""
    problems = _Problems(path)
    rows: dict[int, Row] = {}
    run: str | None = None
    for number, _, row in _parse(data, path, Row, problems):
        run = run or row.run
        if row.run != run:
            problems.add(number, f"expected run {one_line(run)}, got a row of run {one_line(row.run)}; left out")
        elif row.pass_number in rows:
            problems.add(number, f"pass {row.pass_number} for the second time; left out")
        else:
            rows[row.pass_number] = row
    if not problems.lines:
        for expected, found in enumerate(rows, start=1):
            if found != expected:
                problems.add(None, f"expected passes 1, 2, 3, … in order, got pass {found} in the place of {expected}")
                break
    return list(rows.values()), problems.said()


def is_unfinished(path: Path) -> bool:
    """Whether a results log ends in a row that lacks nothing but its line end: an editor's work, not a crash's.

    Raises:
        UserError: as `read_results`.
    """
    last = _read(path, Row).rpartition(b"\n")[2]
    try:
        return bool(_record(_split(last), Row))
    except (ValueError, csv.Error):
        return False


def read_steps(path: Path) -> tuple[list[Step], list[str]]:
    """Read a steps log as `read_results` reads a results log; no file is no steps.

    Raises:
        UserError: `path` is not a steps log.
    """
    if not path.exists():
        return [], []
    problems = _Problems(path)
    steps: dict[tuple[int, int], Step] = {}
    for number, _, step in _parse(_read(path, Step), path, Step, problems):
        if (step.pass_number, step.step) in steps:
            problems.add(number, f"pass {step.pass_number} step {step.step} for the second time; left out")
        else:
            steps[step.pass_number, step.step] = step
    return list(steps.values()), problems.said()


def best_row(rows: list[Row]) -> Row | None:
    """The run's best pass: the last row that was the best so far."""
    return next((row for row in reversed(rows) if row.best), None)


def cut_back_steps(path: Path, keep_passes: int, keep_steps: int = 0) -> None:
    """Cut a steps log back to passes 1 to `keep_passes` and the first `keep_steps` batches of the pass after them.

    Raises:
        UserError: `path` is not a steps log.
        OSError: it cannot be written; the old log is untouched.
    """
    last = (keep_passes + 1, keep_steps)
    _rewrite(path, Step, _kept(path, Step, lambda step: (step.pass_number, step.step) <= last))


def _kept(path: Path, kind: type[Record], keep: Callable[[Record], bool]) -> list[tuple[Record, bytes]]:
    if not path.exists():
        return []
    return [
        (record, line) for _, line, record in _parse(_read(path, kind), path, kind, _Problems(path)) if keep(record)
    ]


def _rewrite(path: Path, kind: type[Record], kept: list[tuple[Record, bytes]]) -> None:
    data = b"".join([_line(columns(kind)), *(line for _, line in kept)])
    if not path.exists() or _read(path, kind) != data:
        write_file(path, data)


def _parse(data: bytes, path: Path, kind: type[Record], problems: _Problems) -> Iterator[tuple[int, bytes, Record]]:
    """Line number, bytes and record of each good row; bad rows go to `problems`.

    A row is a line, not what the csv module makes of several: a quotation mark that is never closed spoils one row.
    """
    lines = io.BytesIO(data)
    header = next(lines, b"")
    if not header.endswith(b"\n"):
        if not _line(columns(kind)).startswith(header):
            _check_header(path, header, kind)
        return
    _check_header(path, header, kind)
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            return
        if not line.strip():
            continue
        try:
            yield number, line, _record(_split(line), kind)
        except (ValueError, csv.Error) as error:
            problems.add(number, f"{one_line(error)}; left out")


def _read(path: Path, kind: type[Row] | type[Step]) -> bytes:
    try:
        return read_file(path, LARGEST_RESULTS if kind is Row else LARGEST_STEPS)
    except OSError as error:
        raise UserError(f"{one_line(path)}: expected a log file, got: {error.strerror}") from error


def _check_header(path: Path, header: bytes, kind: type[Row] | type[Step]) -> None:
    expected = columns(kind)
    try:
        got = _split(header.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, csv.Error):
        got = []
    if got == expected:
        return
    for mark, marks in ((";", "semicolons"), ("\t", "tabs")):
        if [cell.strip('"') for cell in header.decode(errors="replace").strip("\ufeff\r\n").split(mark)] == expected:
            raise UserError(f"{one_line(path)}: expected commas between the cells, found {marks}: save it with commas")
    missing = [column for column in expected if column not in got]
    foreign = [column for column in got if column not in expected]
    differences = []
    if missing:
        differences.append(f"missing {', '.join(missing)}")
    if foreign:
        differences.append(f"unknown {one_line(', '.join(foreign), 100)}")
    raise UserError(
        f"{one_line(path)}: expected the columns {','.join(expected)}, "
        f"got others ({'; '.join(differences) or 'another order, or one repeated'})"
    )


def _record(texts: list[str], kind: type[Record]) -> Record:
    expected = fields(kind)
    if len(texts) != len(expected):
        raise ValueError(f"expected {len(expected)} cells, got {len(texts)}")
    values: dict[str, Any] = {}
    for field, column, text in zip(expected, columns(kind), texts, strict=True):
        try:
            values[field.name] = _READERS[str(field.type)](text)
        except ValueError as error:
            raise ValueError(f"{column}: expected {error}, got {one_line(repr(text), 40)}") from None
    return kind(**values)


class _Problems:
    """What is wrong with a log: the first bad rows one by one, the rest as a number."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self._path = one_line(path)
        self._more = 0

    def add(self, line_number: int | None, what: str) -> None:
        if len(self.lines) == SAID_PROBLEMS:
            self._more += 1
            if self._more > MOST_PROBLEMS:
                raise UserError(
                    f"{self._path}: expected a log, got more than {MOST_PROBLEMS} bad rows; {self.lines[0]}"
                )
            return
        where = self._path if line_number is None else f"{self._path} line {line_number}"
        self.lines.append(f"{where}: {what}")

    def said(self) -> list[str]:
        return [*self.lines, f"{self._path}: {self._more} more rows left out"] if self._more else self.lines


def _line(texts: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(texts)
    return text.getvalue().encode()


def _split(line: bytes) -> list[str]:
    return next(csv.reader([line.decode().rstrip("\r\n")], strict=True), [])


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
