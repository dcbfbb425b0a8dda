"""The results log: what is written is read back; what is cut, mixed or foreign is said, and the rest still read."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from results import log as results
from results.log import ResultsLog, StepsLog, cut_back_steps, read_results, read_steps
from results.records import Row, Step, best_row, cells

HEADER = (
    b"run,pass,train_loss,train_accuracy,validation_loss,validation_correct,validation_total,validation_accuracy,"
    b"test_loss,test_correct,test_total,test_accuracy,learning_rate,seconds,images_per_second,best\n"
)
same_folder = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Files synced so far; thousands of real syncs would take a minute on a slow disk and show nothing more."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    return calls


def row(pass_number: int = 1, run: str = "a", **changes: Any) -> Row:
    plain = Row(
        run=run,
        pass_number=pass_number,
        train_loss=0.1 / pass_number,
        train_accuracy=0.97,
        validation_loss=0.08 / pass_number,
        validation_correct=4900 + pass_number,
        validation_total=5000,
        validation_accuracy=(4900 + pass_number) / 5000,
        test_loss=0.07 / pass_number,
        test_correct=9850 + pass_number,
        test_total=10000,
        test_accuracy=(9850 + pass_number) / 10000,
        learning_rate=1e-3,
        seconds=12.5,
        images_per_second=4400.0,
        best=True,
    )
    return dataclasses.replace(plain, **changes)


def written(path: Path, rows: list[Row]) -> bytes:
    log = ResultsLog(path)
    for each in rows:
        log.append(each)
    return path.read_bytes()


@st.composite
def scores(draw: st.DrawFn, images: str) -> dict[str, Any]:
    keys = [f"{images}_{what}" for what in ("loss", "correct", "total", "accuracy")]
    if draw(st.booleans()):
        return dict.fromkeys(keys)
    total = draw(st.integers(1, 10**9))
    correct = draw(st.integers(0, total))
    return dict(zip(keys, (draw(st.floats()), correct, total, correct / total), strict=True))


positive = st.floats(0, allow_infinity=False)
fraction = st.floats(0, 1)
printable = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1)


@st.composite
def rows_of_a_run(draw: st.DrawFn) -> list[Row]:
    run = draw(printable)
    return [
        Row(
            run=run,
            pass_number=number,
            train_loss=draw(st.floats()),
            train_accuracy=draw(fraction),
            **draw(scores("validation")),
            **draw(scores("test")),
            learning_rate=draw(positive),
            seconds=draw(positive),
            images_per_second=draw(positive),
            best=draw(st.booleans()),
        )
        for number in range(1, draw(st.integers(0, 4)) + 1)
    ]


@same_folder
@given(rows_of_a_run())
def test_what_is_written_is_read_back_and_a_cut_anywhere_loses_only_the_row_it_hits(
    tmp_path: Path, rows: list[Row]
) -> None:
    path = tmp_path / "results.csv"
    path.unlink(missing_ok=True)
    data = written(path, rows)
    # repr, because NaN differs from itself
    assert repr(read_results(path)) == repr((rows, []))
    for length in range(len(data) - 1, -1, -1 if len(data) < 800 else -17):
        os.truncate(path, length)
        whole = max(data[:length].count(b"\n") - 1, 0)
        assert repr(read_results(path)) == repr((rows[:whole], []))


def test_every_cut_of_a_log_can_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    rows = [row(1), row(2), row(3)]
    data = written(path, rows)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        whole = max(data[:length].count(b"\n") - 1, 0)
        assert written(path, rows[whole:]) == data


@same_folder
@given(
    st.lists(
        st.builds(
            Step,
            pass_number=st.integers(1, 10**9),
            step=st.integers(1, 10**9),
            loss=st.floats(),
            accuracy=fraction,
            learning_rate=positive,
        ),
        max_size=4,
        unique_by=lambda step: (step.pass_number, step.step),
    )
)
def test_steps_are_read_back_and_a_cut_loses_only_the_row_it_hits(tmp_path: Path, steps: list[Step]) -> None:
    path = tmp_path / "steps.csv"
    path.unlink(missing_ok=True)
    log = StepsLog(path)
    for step in steps:
        log.append(step)
    data = path.read_bytes()
    assert data.startswith(b"pass,step,loss,accuracy,learning_rate\n")
    assert repr(read_steps(path)) == repr((steps, []))
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        assert repr(read_steps(path)) == repr((steps[: max(data[:length].count(b"\n") - 1, 0)], []))


def test_the_header_is_the_contract_and_is_written_once_ever(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    first = written(path, [row(1)])
    assert first.startswith(HEADER)
    second = written(path, [row(2)])
    assert second.startswith(first)
    assert second.count(b"run,pass") == 1


def test_a_pass_is_durable_before_the_next_one_starts(tmp_path: Path, synced: list[int]) -> None:
    log = ResultsLog(tmp_path / "results.csv")
    before = len(synced)
    log.append(row(1))
    assert len(synced) == before + 1


def test_numpy_numbers_are_written_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    written(path, [row(train_loss=np.float32(0.1), validation_correct=np.int64(4901))])
    rows, problems = read_results(path)
    assert (rows[0].train_loss, rows[0].validation_correct, problems) == (float(np.float32(0.1)), 4901, [])


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    rows = [row(1, run='运行, "one"'), row(2, run='运行, "one"')]
    data = written(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    assert read_results(path) == (rows, [])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"a,2,", b"a,two,", "pass: expected a whole number, got 'two'"),
        (b"a,2,", b"a,-2,", "pass: expected a whole number, got '-2'"),
        (b"a,2,", b"a,0,", "pass: expected a number from 1, got 0"),
        (b"a,2,", b"a,\xd9\xa2,", "pass: expected a whole number"),
        (b"a,2,", b"a,\xff2,", "codec can't decode"),
        (b"a,2,", b'"a,2,', "unexpected end of data"),
        (b"a,2,", b"a\x1b[2J,2,", "run: expected printable characters"),
        (b"a,2,", b"2,", "expected 16 cells, got 15"),
        (b"a,2,", b"a,2,0.1,", "expected 16 cells, got 17"),
        (b",4902,", b",,", "validation: expected all four values or none"),
        (b",4902,", b",5001,", "validation: expected 0 ≤ correct ≤ total"),
        (b",4902,", b",4903,", "validation_accuracy: expected 4903/5000 = 0.9806, got 0.9804"),
        (b",12.5,", b",inf,", "seconds: expected a number from 0, got inf"),
        (b",12.5,", b",1_2.5,", "seconds: expected a number, got '1_2.5'"),
        (b",0.97,", b",97,", "train_accuracy: expected a fraction between 0 and 1, got 97"),
        (b",1\n", b",yes\n", "best: expected 0 or 1, got 'yes'"),
        (b"a,2,", b"b,2,", "expected run a, got a row of run b"),
        (b"a,2,", b"a,1,", "pass 1 for the second time"),
        (b"a,2,", b"a,", "expected 16 cells, got 15"),
    ],
)
def test_a_bad_row_is_said_in_one_line_and_the_others_are_read(
    tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    path = tmp_path / "results.csv"
    header, first, second, third = written(path, [row(1), row(2), row(3)]).splitlines(keepends=True)
    assert old in second
    path.write_bytes(header + first + second.replace(old, new) + third)
    rows, [problem] = read_results(path)
    assert rows == [row(1), row(3)]
    assert problem.startswith(f"{path} line 3: ")
    assert said in problem
    assert problem.isprintable()


def test_two_runs_interleaved_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    written(path, [row(1), row(1, "b"), row(2), row(2, "b")])
    rows, problems = read_results(path)
    assert rows == [row(1), row(2)]
    assert [problem.split(": ")[0] for problem in problems] == [f"{path} line 3", f"{path} line 5"]


def test_two_logs_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    data = written(path, [row(1), row(2)])
    path.write_bytes(data + data)
    rows, problems = read_results(path)
    assert rows == [row(1), row(2)]
    assert len(problems) == 3


def test_a_row_cut_in_the_middle_of_the_log_is_said_but_a_cut_tail_is_not(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    data = written(path, [row(1), row(2)])
    path.write_bytes(data[:-9] + b"\n" + data.splitlines(keepends=True)[2].replace(b"a,2", b"a,3"))
    rows, problems = read_results(path)
    assert [each.pass_number for each in rows] == [1, 3]
    assert len(problems) == 1
    path.write_bytes(data[:-9])
    assert read_results(path) == ([row(1)], [])


@pytest.mark.parametrize("order", [[1, 3], [2, 3], [1, 3, 2]])
def test_missing_and_swapped_passes_are_said(tmp_path: Path, order: list[int]) -> None:
    path = tmp_path / "results.csv"
    written(path, [row(number) for number in order])
    rows, [problem] = read_results(path)
    assert [each.pass_number for each in rows] == order
    assert "expected passes 1, 2, 3, … in order" in problem


def test_a_million_bad_rows_do_not_fill_screen_or_memory(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(HEADER + b"x\n" * 520)
    rows, problems = read_results(path)
    assert rows == []
    assert len(problems) == results.SAID_PROBLEMS + 1
    assert problems[-1] == f"{path}: 500 more rows left out"
    path.write_bytes(HEADER + b"x\n" * 1_000_000)
    with pytest.raises(UserError, match="more than 1000 bad rows"):
        read_results(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER.replace(b"seconds,", b""), "missing seconds"),
        (HEADER.replace(b"seconds", b"dauer"), "missing seconds; unknown dauer"),
        (HEADER.replace(b"run,pass", b"pass,run"), "another order"),
        (b"epoch,loss,val_loss\n0,0.3,0.2\n", "unknown epoch, loss, val_loss"),
        (HEADER.decode().encode("utf-16"), "missing run"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "missing run"),
        (b"\x00" * 100, "missing run"),
        (b'"' + b"x" * 200_000 + b"\n", "missing run"),
    ],
)
def test_a_foreign_file_is_refused_by_reader_and_writer(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    for use in (read_results, ResultsLog):
        if use is ResultsLog and b"\n" not in content:
            continue
        with pytest.raises(UserError, match=said) as error:
            use(path)
        assert str(path) in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    assert path.read_bytes() == content


def test_no_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="expected a log file"):
            read_results(path)


def test_a_file_too_large_for_a_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with path.open("wb") as file:
        file.truncate(results.LARGEST_RESULTS + 1)
    with pytest.raises(UserError, match="more than the expected 16777216 bytes"):
        read_results(path)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans(), st.integers(0, 600))
def test_no_bytes_crash_the_reader(tmp_path: Path, noise: bytes, after_header: bool, place: int) -> None:
    """Noise at any place of a log, or a file of noise."""
    path = tmp_path / "results.csv"
    good = results._line(cells(row(1))) + results._line(cells(row(2)))
    path.write_bytes(HEADER + good[:place] + noise + good[place:] if after_header else noise)
    try:
        rows, problems = read_results(path)
    except UserError as error:
        assert not after_header
        assert str(error).isprintable()
    else:
        assert all(line.isprintable() for line in problems)
        assert len({each.pass_number for each in rows}) == len(rows)


def test_the_best_pass_is_the_last_that_was_best_so_far() -> None:
    rows = [row(1, best=True), row(2, best=True), row(3, best=False)]
    assert best_row(rows) == rows[1]
    assert best_row([row(1, best=False)]) is None
    assert best_row([]) is None


def test_a_run_that_diverged_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    written(path, [row(train_loss=math.nan, validation_loss=math.inf, test_loss=math.nan, best=False)])
    [read], problems = read_results(path)
    assert math.isnan(read.train_loss)
    assert read.validation_loss == math.inf
    assert problems == []


def test_impossible_rows_cannot_be_made() -> None:
    for changes in ({"run": "a\nb"}, {"run": ""}, {"pass_number": -1}, {"train_accuracy": 98.5}, {"test_loss": None}):
        with pytest.raises(ValueError, match=r"expected"):
            row(**changes)


def test_cut_back_steps_in_the_middle_of_a_pass(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    log = StepsLog(path)
    all_steps = [
        Step(pass_number=number, step=step, loss=1.0, accuracy=0.5, learning_rate=0.1)
        for number in (1, 2, 3)
        for step in (100, 200, 300)
    ]
    for step in all_steps:
        log.append(step)
    cut_back_steps(path, 1, 200)
    assert read_steps(path) == (all_steps[:5], [])
    cut_back_steps(path, 1)
    assert read_steps(path) == (all_steps[:3], [])


def test_no_steps_log_is_no_steps(tmp_path: Path) -> None:
    assert read_steps(tmp_path / "steps.csv") == ([], [])


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    """A limit on the file's size stands for the full disk: the kernel writes a part of the row, then refuses."""
    path = tmp_path / "results.csv"
    data = written(path, [row(1)])
    program = f"""
import resource, signal, sys
from pathlib import Path
from tests.results.test_log import row
from results.log import ResultsLog
log = ResultsLog(Path({str(path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(data) + 20}, resource.RLIM_INFINITY))
try:
    log.append(row(2))
except OSError as error:
    sys.exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True)
    assert done.returncode in (errno.ENOSPC, errno.EFBIG), done.stderr
    assert path.read_bytes() == data
