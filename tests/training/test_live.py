"""Curves while a run goes on: in a terminal, in a notebook, and what is said where there is neither."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.errors import UsageError
from common.extras import extra
from results.log import read_results
from results.records import Row, Step
from tests.conftest import Script
from training.callbacks import live
from training.callbacks.callback import Callback, Started
from training.callbacks.console import ProgressDisplay
from training.callbacks.live import LEGEND, NotebookCurves, TerminalCurves, displays, in_notebook

STARTED = Started(run_dir=Path("runs/x"), passes=2, steps=430, batch_size=128)


def run_a_pass(callback: Callback, row: Row, loss: float = 0.1234) -> None:
    callback.on_start(STARTED)
    for number in range(1, STARTED.steps + 1):
        callback.on_step(Step(pass_number=1, step=number, loss=loss, accuracy=0.96875, learning_rate=1e-3))
    callback.on_pass(row)
    callback.on_end()


@pytest.fixture
def row(small_run: Path) -> Row:
    return read_results(small_run / "run" / "results.csv")[0][0]


def test_a_terminal_shows_the_curve_above_the_bar(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SECONDS", 0.0)
    screen = io.StringIO()
    [display] = displays(Console(file=screen, force_terminal=True, width=80, color_system=None), True, Path("figures"))
    assert isinstance(display, TerminalCurves)
    run_a_pass(display, row)
    shown = screen.getvalue()
    assert LEGEND in shown and re.search("[\u2801-\u28ff]{20}", shown)
    assert "pass 1/2 " in shown and "loss 0.1234   96.88 %" in shown
    assert max(len(line) for line in re.sub("\x1b.*?[a-zA-Z]", "", shown).splitlines()) < 130  # a pass's row is longest


def test_a_curve_of_what_cannot_be_drawn(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SECONDS", 0.0)
    for loss in (float("nan"), 0.0, float("inf")):
        display = TerminalCurves(Console(file=io.StringIO(), force_terminal=True, width=20))
        run_a_pass(display, row, loss)
        assert len(display._batches) == 0


def test_elsewhere_a_line_says_where_the_curves_are(script: Script, small_data: Path, tmp_path: Path) -> None:
    arguments = ("--data-dir", small_data, "--validation-size", 2500, "--passes", 1, "--figures", "none", "--live")
    result = script("train.py", *arguments, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    assert (result.returncode, result.stderr) == (0, "")
    expected = (
        f"--live: neither a terminal nor a notebook; see {tmp_path}/run/figures/curves.png, drawn after each pass"
    )
    assert result.stdout.splitlines()[0] == expected
    [display] = displays(Console(file=io.StringIO()), False, tmp_path)
    assert type(display) is ProgressDisplay


@pytest.fixture
def notebook() -> Iterator[Any]:
    """A shell that takes itself for a notebook's kernel, and keeps what is displayed."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_pub = CapturingDisplayPublisher()
    shell.kernel = object()
    yield shell
    InteractiveShell.clear_instance()


def test_a_notebook_has_one_picture_that_is_drawn_anew(notebook: Any, row: Row) -> None:
    assert in_notebook()
    bar, curves = displays(Console(file=io.StringIO()), True, Path("figures"))
    assert type(bar) is ProgressDisplay and isinstance(curves, NotebookCurves)
    run_a_pass(curves, row)
    first, *others = notebook.display_pub.outputs
    assert len(others) >= 2  # at the first batch and at the end at least
    assert all(each["transient"] == first["transient"] and each["update"] for each in others)
    assert others[-1]["data"]["image/png"] != others[0]["data"]["image/png"]


def test_a_missing_package_is_one_line_with_its_command() -> None:
    with pytest.raises(UsageError, match=r'^--live: the package nosuch is not installed: pip install "no-such>=5"$'):
        extra("nosuch", "no-such>=5", "--live")
