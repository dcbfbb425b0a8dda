"""The figures of a run: curves from a second process while it goes on, and all figures when its model is published.

The second process, `python -m results.figures.logs`, takes only time that training leaves. It writes into a nameless
file, which training reads: what is drawn by a process that outlives a killed training reaches no folder.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import safetensors.numpy

from data.dataset import Mnist
from results.figures.logs import save_curves
from results.records import Row, Step
from results.run_folder import REPOSITORY, RunFolder
from training.callbacks.callback import Callback, Started
from training.figures import Which, draw_run

if TYPE_CHECKING:
    from training.publish import Outcome

LOWEST_PRIORITY = 19


class Figures(Callback):
    """Keeps the figures of a run up to date.

    The curves are drawn after each pass, or after a later one if the drawing before is not done yet.
    """

    def __init__(self, folder: RunFolder, which: Which, data: Mnist | None = None) -> None:
        """Name the run, the figures that are wanted, and the run's data if they are loaded already."""
        self._folder, self._which, self._data = folder, which, data
        self._passes = 0
        self._drawing: subprocess.Popen[bytes] | None = None
        self._pictures: IO[bytes]

    def on_start(self, started: Started) -> None:
        """See Callback."""
        self._passes = started.passes

    def on_step(self, step: Step) -> None:
        """See Callback."""
        if self._drawing is not None and self._drawing.poll() is not None:
            self._take()

    def on_pass(self, row: Row) -> None:
        """See Callback."""
        if row.pass_number == self._passes or self._which == "none":
            return  # all is drawn as soon as the run is complete
        if self._drawing is None or self._drawing.poll() is not None:
            self._take()
            self._draw()

    def on_published(self, outcome: Outcome) -> None:
        """See Callback."""
        self.on_end()
        draw_run(self._folder, self._which, self._data)

    def on_end(self) -> None:
        """See Callback."""
        if self._drawing is not None:
            self._drawing.terminate()
            self._drawing.wait()
            self._drawing = None
            self._pictures.close()

    def _draw(self) -> None:
        """Start a process that draws the curves. A Ctrl-C does not reach its session; its errors go to stderr."""
        self._pictures = tempfile.TemporaryFile()  # noqa: SIM115  (until it is taken)
        self._drawing = subprocess.Popen(
            [sys.executable, "-m", "results.figures.logs", str(self._folder.path.resolve())],
            cwd=REPOSITORY,
            stdout=self._pictures,
            start_new_session=True,
        )
        os.setpriority(os.PRIO_PROCESS, self._drawing.pid, LOWEST_PRIORITY)
        # Where Linux schedules by session (autogroups), a priority counts only within one; so the session's too.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._drawing.pid}/autogroup").write_text(str(LOWEST_PRIORITY))

    def _take(self) -> None:
        """Save what the process drew, if it came to its end."""
        if self._drawing is None:
            return
        with self._pictures:
            if self._drawing.returncode == 0:
                self._pictures.seek(0)
                pictures = safetensors.numpy.load(self._pictures.read())
                save_curves(self._folder, {name: picture.tobytes() for name, picture in pictures.items()})
        self._drawing = None
