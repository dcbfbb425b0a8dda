"""The figures of a run: curves from a second process while it goes on, and all figures when its model is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.dataset import Mnist
from results.figures.drawing import Drawing
from results.records import Row, Step
from results.run_folder import RunFolder
from training.callbacks.callback import Callback, Started
from training.figures import Which, draw_run

if TYPE_CHECKING:
    from training.publish import Outcome


class Figures(Callback):
    """Keeps the figures of a run up to date.

    The curves are drawn after each pass, or after a later one if the drawing before is not done yet.
    """

    def __init__(self, folder: RunFolder, which: Which, data: Mnist | None = None) -> None:
        """Name the run, the figures that are wanted, and the run's data if they are loaded already."""
        self._folder, self._which, self._data = folder, which, data
        self._passes = 0
        self._drawing: Drawing | None = None

    def on_start(self, started: Started) -> None:
        self._passes = started.passes

    def on_step(self, step: Step) -> None:
        self._save()

    def on_pass(self, row: Row) -> None:
        if row.pass_number == self._passes or self._which == "none":
            return  # all is drawn as soon as the run is complete
        self._save()
        if self._drawing is None:
            self._drawing = Drawing(self._folder)

    def on_published(self, outcome: Outcome) -> None:
        self.on_end()
        draw_run(self._folder, self._which, self._data)

    def on_end(self) -> None:
        if self._drawing:
            self._drawing.end()
            self._drawing = None

    def _save(self) -> None:
        if self._drawing and self._drawing.is_done():
            self._drawing.save()
            self._drawing = None
