"""`--live`: the loss while a run goes on, batch by batch; above the bar of a terminal, or in a notebook's output."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from common.console import print_line
from common.errors import one_line
from common.extras import extra
from results.figures.curves import training_curves
from results.figures.style import drawn
from results.figures.terminal import loss_curve
from results.records import Row, Step
from training.callbacks.callback import Callback, Started
from training.callbacks.console import ProgressDisplay

SECONDS = 1.0  # between two drawings at least
SHARE = 0.05  # of the time at most goes into drawing for a notebook, which training waits for
HEIGHT, MARGIN = 10, 24  # of a terminal's curve, lines; columns beside it
LEGEND = "loss of the batches, and o of the validation images after each pass"
NOTEBOOK_WIDTH = 830  # pixels


def displays(console: Console, live: bool, figures: Path) -> list[Callback]:
    """The callbacks that show a run to a person.

    Args:
        console: where to.
        live: with curves; if they cannot be shown, a line reports it.
        figures: the folder that has the curves in any case.

    Raises:
        UsageError: a package for it is missing.
    """
    if live and in_notebook():
        return [ProgressDisplay(console), NotebookCurves()]
    if live and console.is_terminal:
        return [TerminalCurves(console)]
    if live:
        where = f"{one_line(figures / 'curves.png')}, drawn after each pass"
        print_line(f"--live: neither a terminal nor a notebook; see {where}", console)
    return [ProgressDisplay(console)]


def in_notebook() -> bool:
    """True if this process is a notebook's kernel; only imported modules are asked."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class TerminalCurves(ProgressDisplay):
    """The progress display, with a curve of the loss above its bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        extra("plotille", "plotille>=5", "--live")
        self._batches: list[tuple[float, float]] = []  # pass, log10 of the loss
        self._passes: list[tuple[float, float]] = []
        self._shown, self._next = Text(), 0.0

    def on_step(self, step: Step) -> None:
        _add(self._batches, step.pass_number - 1 + step.step / self._started.steps, step.loss)
        super().on_step(step)

    def on_pass(self, row: Row) -> None:
        _add(self._passes, row.pass_number, row.test_loss if row.validation_loss is None else row.validation_loss)
        super().on_pass(row)

    def _above(self) -> Iterable[RenderableType]:
        if time.monotonic() >= self._next and len(self._batches) > 1:
            self._shown, self._next = Text.from_ansi(f"{LEGEND}\n{self._plot()}"), time.monotonic() + SECONDS
        return [self._shown]

    def _plot(self) -> str:
        # Copies, for another thread adds to the lists.
        return loss_curve(self._batches[:], self._passes[:], max(self._console.width - MARGIN, 20), HEIGHT)


class NotebookCurves(Callback):
    """The curves of the run as one picture in the output of a notebook's cell, drawn anew as the run goes."""

    def __init__(self) -> None:
        self._display: Any = extra("IPython.display", "ipython", "--live")
        self._rows: list[Row] = []
        self._steps: list[Step] = []
        self._next = 0.0

    def on_start(self, started: Started) -> None:
        self._started = started
        self._handle = self._display.display(self._display.Markdown("*the curves come here*"), display_id=True)

    def on_step(self, step: Step) -> None:
        self._steps.append(step)
        if time.monotonic() >= self._next:
            self._draw()

    def on_pass(self, row: Row) -> None:
        self._rows.append(row)

    def on_end(self) -> None:
        self._draw()

    def _draw(self) -> None:
        began = time.monotonic()
        figure = training_curves(self._rows, self._steps, self._started.steps)
        self._handle.update(self._display.Image(data=drawn(figure, ".png"), width=NOTEBOOK_WIDTH))
        took = time.monotonic() - began
        self._next = began + max(SECONDS, took / SHARE)


def _add(points: list[tuple[float, float]], place: float, loss: float | None) -> None:
    if loss is not None and loss > 0 and math.isfinite(loss):
        points.append((place, math.log10(loss)))
