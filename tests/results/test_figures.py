"""Figures from made-up values: each shows what it is read for, and nothing stands on the data."""

from __future__ import annotations

import io
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from rich.console import Console

from common.processes import is_running
from model.calibration import Confidences
from results.figures.curves import comparison_curves, training_curves
from results.figures.network import feature_maps
from results.figures.predictions import FEWEST, calibration
from results.figures.rejection import rejection
from results.figures.terminal import _at_least, _round_loss
from results.records import Row, Step
from results.significance import wilson_interval
from tests.conftest import ROOT
from training.callbacks.callback import Started
from training.callbacks.live import TerminalCurves


def row(number: int, test_correct: int, best: bool = False) -> Row:
    return Row(
        run="made-up",
        pass_number=number,
        train_loss=0.1 / number,
        train_accuracy=0.99,
        validation_loss=0.1 / number,
        validation_correct=test_correct // 2,
        validation_total=5000,
        validation_accuracy=test_correct / 10_000,
        test_loss=0.1 / number,
        test_correct=test_correct,
        test_total=10_000,
        test_accuracy=test_correct / 10_000,
        learning_rate=0.001,
        seconds=1.0,
        images_per_second=1000.0,
        best=best,
    )


ROWS = [row(1, 8000), row(2, 9800), row(3, 9880, best=True)]


def laid_out(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def test_the_legend_of_rejection_is_beside_the_curves_and_the_axis_ends_where_they_do() -> None:
    sure, right = np.linspace(0.5, 1, 1000), np.arange(1000) % 97 != 0
    right[30:] = True  # all wrong answers are among the 3 % least sure
    axes = laid_out(rejection({"test": Confidences(sure, right), "validation": Confidences(sure, right)})).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1
    left, end = axes.get_xlim()
    assert left == 0 and 2 <= end <= 4  # of up to 10 %
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: training_curves(ROWS, [Step(pass_number=1, step=1, loss=2.3, accuracy=0.1, learning_rate=0.1)], 100),
        lambda: comparison_curves({"a": ROWS}),
    ],
)
def test_the_error_has_a_logarithmic_axis_that_pass_1_does_not_squeeze(draw: Callable[[], Figure]) -> None:
    _, error = laid_out(draw()).axes
    assert error.get_yscale() == "log" and "error" in error.get_ylabel()
    height = error.transData.transform([(1, 2.0), (1, 1.2)])[:, 1]  # passes 2 and 3
    assert abs(height[0] - height[1]) > 0.07 * error.get_window_extent().height  # of a linear axis, 0.04


def test_calibration_has_intervals_and_no_bin_of_few_answers() -> None:
    """Bins of 40, 9 and 10 answers at confidences 0.65, 0.85, 0.95: the second one has no point; no lines between."""
    groups = [(40, 26, 0.65), (FEWEST - 1, 8, 0.85), (FEWEST, 9, 0.95)]
    rows, labels = [], []
    for count, correct, confidence in groups:
        for number in range(count):
            rows.append([math.log(confidence), math.log(1 - confidence)])
            labels.append(0 if number < correct else 1)
    axes = calibration(np.array(rows), np.array(labels)).axes[0]
    [container] = axes.containers
    assert isinstance(container, ErrorbarContainer)
    points, _, (bars,) = container.lines
    assert points is not None and isinstance(bars, LineCollection)
    assert points.get_linestyle() == "None"
    np.testing.assert_allclose(np.array([points.get_xdata(), points.get_ydata()], float).T, [[65, 65], [95, 90]])
    ends = [segment[:, 1] / 100 for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [wilson_interval(26, 40), wilson_interval(9, 10)])


def test_maps_that_show_nothing_are_named() -> None:
    maps = np.random.default_rng(0).random((5, 4, 4))
    maps[1], maps[3] = 0.0, 7.0
    figure = feature_maps(np.ones((28, 28)), {"conv": maps, "output": np.zeros(10)})
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[1].startswith("conv: 5 maps of 4x4 (2 silent: 1, 3)")
    assert "silent" not in titles[0] + titles[2]


def test_values_that_are_not_finite_are_left_white_and_counted() -> None:
    maps = np.linspace(-3e38, 3e38, 80, dtype=np.float32).reshape(5, 4, 4)
    maps[1], maps[2, 0, 0] = np.inf, np.nan
    figure = laid_out(feature_maps(np.ones((28, 28)), {"conv": maps, "output": np.full(10, np.nan, np.float32)}))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[1] == ("conv: 5 maps of 4x4 (1 silent: 1), -3e+38 (dark) to 3e+38 (bright), 17 values not finite")
    assert titles[2] == "output: 10 units, 10 values not finite"
    assert "finite" not in titles[0]


def test_live_ticks_are_round() -> None:
    assert [_at_least(value) for value in (0.0021, 0.13, 1.0, 7.0, 41)] == pytest.approx([0.0025, 0.15, 1, 8, 50])
    lines = [_round_loss(low / 10, (low + 3) / 10) for low in range(-30, 3, 3)]  # log10, 0.001 to 2
    assert {float(each) for each in lines if each} <= {m * 10.0**e for m in (1, 2, 5) for e in range(-3, 2)}
    assert sum(map(bool, lines)) >= 8
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    display = TerminalCurves(screen)
    display.on_start(Started(run_dir=Path("run"), passes=3, steps=7, batch_size=128))
    for number in range(1, 8):
        display.on_step(Step(pass_number=1, step=number, loss=2.3 / number, accuracy=0.5, learning_rate=1e-3))
    ticks = display._plot().splitlines()[-1].split()
    display.on_end()
    numbers = [float(tick) for tick in ticks if tick.replace(".", "").isdecimal()]
    assert len(numbers) > 3 and all(len(f"{number:.10g}".replace(".", "").strip("0")) <= 2 for number in numbers)


def test_no_speed_is_shown_before_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of many batches are read at once, microseconds after each other: 128 images in 1 µs are no speed."""
    now = [0.0]
    monkeypatch.setattr("training.callbacks.console.time", SimpleNamespace(monotonic=lambda: now[0]))
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    display = TerminalCurves(screen)
    display.on_start(Started(run_dir=Path("run"), passes=1, steps=100, batch_size=128))
    speeds = []
    for number in range(1, 51):
        now[0] += 1.0 if number == 50 else 1e-6
        display.on_step(Step(pass_number=1, step=number, loss=1.0, accuracy=0.5, learning_rate=1e-3))
        assert display._bar is not None
        speeds.append(display._bar.tasks[0].fields["speed"])
    display.on_end()
    assert speeds[:49] == [0.0] * 49 and speeds[49] == pytest.approx(50 * 128, rel=0.01)


def test_a_killed_training_leaves_nobody_who_draws(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    never_ends = f"import os, time\nopen({str(begun)!r}, 'w').write(str(os.getpid()))\ntime.sleep(100)"
    (tmp_path / "matplotlib.py").write_text(never_ends)
    program = f"""
import os, signal, time
from pathlib import Path
from results.figures import drawing
from results.run_folder import RunFolder
os.environ["PYTHONPATH"] = {str(tmp_path)!r}
drawing.LOWEST_PRIORITY = 0  # else the test would wait for all others
drawing.Drawing(RunFolder(Path({str(tmp_path)!r})))
while not Path({str(begun)!r}).exists():
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=100, check=False)
    assert killed.returncode == -signal.SIGKILL
    drawing, deadline = int(begun.read_text()), time.monotonic() + 30
    while is_running(drawing) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(drawing)
