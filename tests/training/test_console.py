"""What a person sees of a run, on a terminal and in a log file."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from results import printed
from results.log import read_results
from results.records import Step
from training.callbacks import console as progress
from training.callbacks.callback import Started
from training.callbacks.console import ProgressDisplay

STARTED = Started(run_dir=Path("runs/x"), passes=200, steps=430, batch_size=128)


def test_on_a_terminal_of_80_columns_the_bar_is_one_line() -> None:
    screen = io.StringIO()
    shown = run_a_pass(Console(file=screen, force_terminal=True, width=80, color_system=None), screen)
    frames = [line for line in re.split(r"[\r\n]", shown) if "pass 1/200 " in line and "loss 0.1234   96.88 %" in line]
    assert frames and all(re.search(r"[0-9,]+ images/s left [-:0-9]+", frame) for frame in frames)


def test_without_a_terminal_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def one_second_later() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr("training.callbacks.console.time.monotonic", one_second_later)
    screen = io.StringIO()
    lines = run_a_pass(Console(file=screen, width=80), screen).splitlines()
    assert lines[0] == printed.HEADER
    assert 430 / progress.LINE_SECONDS / 4 < len(lines) < 430
    # 200 passes of 430 steps, one step in one to four seconds of this clock.
    pattern = r"pass 1/200 step \d+/430  loss 0\.1234  96\.88 %  \d+ images/s  \d+:\d\d left"
    assert all(re.fullmatch(pattern, line) for line in lines[1:])


def run_a_pass(console: Console, screen: io.StringIO) -> str:
    display = ProgressDisplay(console)
    display.on_start(STARTED)
    for number in range(1, STARTED.steps + 1):
        display.on_step(Step(pass_number=1, step=number, loss=0.1234, accuracy=0.96875, learning_rate=1e-3))
    display.on_end()
    return screen.getvalue()


def test_on_a_terminal_of_80_columns_no_row_is_wrapped(small_run: Path) -> None:
    rows, _ = read_results(small_run / "run" / "results.csv")
    for width, header in ((80, printed.NARROW_HEADER), (120, printed.HEADER)):
        screen = io.StringIO()
        display = ProgressDisplay(Console(file=screen, force_terminal=True, width=width, color_system=None))
        display.on_start(STARTED)
        display.on_end()
        display.on_pass(replace(rows[0], pass_number=200, best=True))
        first, *_, row = [line for line in re.split(r"[\r\n]+", screen.getvalue()) if line]
        row = re.sub(r"\x1b\[\d*[A-Z]", "", row)
        assert first == header and row.endswith("  best") and f"{rows[0].test_loss:.4f}" in row
        assert len(row) <= width
