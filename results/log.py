"""The results log: one CSV row per pass (`results.csv`) and one per logged batch (`steps.csv`).

A row is one line of UTF-8 text with its line end, appended in a single write and never changed afterwards. The reader
counts a last line without its line end as still being written, or as cut by a crash, and leaves it out.
"""

from __future__ import annotations

import csv
import errno
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic

from common.errors import UsageError, UserError, one_line
from common.files import open_own, read_file, write_file
from results.records import Record, Row, Step, cells, columns, record_of

# Bytes: results.csv of 60,000 passes, and steps.csv of 1,000 passes of 860 batches, each logged, take half of this.
LARGEST_RESULTS, LARGEST_STEPS = 2**24, 2**27
LONGEST_RESULT, LONGEST_STEP = 260, 100  # bytes of a row, in results.csv beside the run's name
SAID_PROBLEMS = 20  # bad rows reported one by one; the rest is only counted
MOST_PROBLEMS = 1000  # bad rows in a file that still counts as a log


class _Log(Generic[Record]):
    """An append-only log: created with its header; an unfinished last line is dropped."""

    def __init__(self, path: Path, kind: type[Record], durable: bool, rows: bool = False) -> None:
        self.path = path
        self._durable = durable
        data = _read(path, kind) if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            _check_header(path, whole[: whole.find(b"\n")], kind)
        else:
            whole = _line(columns(kind, rows))
        if whole != data:
            write_file(path, whole)

    def append(self, record: Record) -> None:
        """Append one row, whole.

        Raises:
            OSError: the row cannot be written (a full disk); the log is unchanged.
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
    """Writer of `results.csv`: the header once, then one durable row per pass.

    Raises:
        UserError: `path` is not a results log.
    """

    def __init__(self, path: Path, rows: bool = False) -> None:
        """Open it; `rows` if it is that of a network that reads rows of digits."""
        super().__init__(path, Row, durable=True, rows=rows)


class StepsLog(_Log[Step]):
    """Writer of `steps.csv`: the header once, then one row per logged batch; the system decides when it is durable.

    Raises:
        UserError: `path` is not a steps log.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, Step, durable=False)


def expect_readable(run: str, passes: int, steps: int, log_every: int) -> None:
    """Refuse a run whose logs would grow too large to be read.

    Args:
        run: name of the run.
        passes: passes of the whole run.
        steps: batches in a pass.
        log_every: batches from one row of steps.csv to the next.

    Raises:
        UsageError: a log would be too large; the message names the option.
    """
    most = LARGEST_RESULTS // (LONGEST_RESULT + 4 * len(run))
    if passes > most:
        raise UsageError(f"--passes {passes}: expected at most {most}, for results.csv to stay readable")
    least = math.ceil(passes * steps * LONGEST_STEP / LARGEST_STEPS)
    if log_every < least:
        raise UsageError(f"--log-every {log_every}: expected at least {least}, for steps.csv to stay readable")


def read_results(path: Path) -> tuple[list[Row], list[str]]:
    """Read a results log: finished, still being written, or damaged.

    Returns:
        The rows in file order, all of the first row's run, each pass once; and one line for each problem (an
        impossible cell, another run's row, a repeated pass, a missing pass).

    Raises:
        UserError: `path` is not a results log at all: no file, too large, other columns, over 1,000 bad rows.
    """
    return parse_results(_read(path, Row), path)


def parse_results(data: bytes, path: Path) -> tuple[list[Row], list[str]]:
    """Parse the bytes of a results log; `path` names them in messages (see `read_results`)."""
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
    return list(rows.values()), problems.report()


def is_unfinished(path: Path) -> bool:
    """True if the log's last row lacks only its line end, as some editors leave it.

    Raises:
        UserError: as `read_results`.
    """
    last = _read(path, Row).rpartition(b"\n")[2]
    try:
        return bool(record_of(_split(last), Row))
    except (ValueError, csv.Error):
        return False


def read_steps(path: Path) -> tuple[list[Step], list[str]]:
    """Read a steps log as `read_results` reads a results log; a missing file has no steps.

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
    return list(steps.values()), problems.report()


def cut_back_steps(path: Path, keep_passes: int, keep_steps: int = 0) -> None:
    """Cut a steps log back to passes 1 to `keep_passes` and the first `keep_steps` batches of the pass after them.

    Raises:
        UserError: `path` is not a steps log.
        OSError: the log cannot be written; the old one is untouched.
    """
    last = (keep_passes + 1, keep_steps)
    old = _read(path, Step) if path.exists() else b""
    kept = [line for _, line, step in _parse(old, path, Step, _Problems(path)) if (step.pass_number, step.step) <= last]
    new = b"".join([_line(columns(Step)), *kept])
    if new != old:
        write_file(path, new)


def _parse(data: bytes, path: Path, kind: type[Record], problems: _Problems) -> Iterator[tuple[int, bytes, Record]]:
    """Line number, bytes and record of each valid row; invalid rows go to `problems`.

    Each line is parsed alone, so that a quotation mark that is never closed spoils one row only.
    """
    lines = io.BytesIO(data)
    header = next(lines, b"")
    if not header.endswith(b"\n"):
        if not any(_line(columns(kind, rows)).startswith(header) for rows in (False, True)):
            _check_header(path, header, kind)
        return
    _check_header(path, header, kind)
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            return
        if not line.strip():
            continue
        try:
            yield number, line, record_of(_split(line), kind)
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
    if got in (expected, columns(kind, rows=True)):
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


class _Problems:
    """Problems of a log: the first invalid rows one by one, the rest as a number."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self._path = one_line(path)
        self._more = 0

    def add(self, line_number: int | None, problem: str) -> None:
        if len(self.lines) == SAID_PROBLEMS:
            self._more += 1
            if self._more > MOST_PROBLEMS:
                raise UserError(
                    f"{self._path}: expected a log, got more than {MOST_PROBLEMS} bad rows; {self.lines[0]}"
                )
            return
        where = self._path if line_number is None else f"{self._path} line {line_number}"
        self.lines.append(f"{where}: {problem}")

    def report(self) -> list[str]:
        return [*self.lines, f"{self._path}: {self._more} more rows left out"] if self._more else self.lines


def _line(texts: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(texts)
    return text.getvalue().encode()


def _split(line: bytes) -> list[str]:
    return next(csv.reader([line.decode().rstrip("\r\n")], strict=True), [])
