"""The run's curves drawn while it goes on, by a process that takes only time that training leaves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from training.events import Handler, Started
from training.figures.run import Which
from training.results import Row
from training.run import REPOSITORY, RunFolder

LOWEST_PRIORITY = 19


class BackgroundCurves(Handler):
    """Has the curves drawn after each pass, or after a later one where the drawing before is not done yet."""

    def __init__(self, folder: RunFolder, which: Which) -> None:
        self._command = [sys.executable, "-m", "training.figures", str(folder.path.resolve()), "--which", "curves"]
        self._wanted = which != "none"
        self._passes = 0
        self._drawing: subprocess.Popen[bytes] | None = None

    def on_start(self, started: Started) -> None:
        """See Handler."""
        self._passes = started.passes

    def on_pass(self, row: Row) -> None:
        """See Handler."""
        if row.pass_number == self._passes:
            return  # all is drawn as soon as the run is complete
        if self._wanted and (self._drawing is None or self._drawing.poll() is not None):
            # In a session of its own a Ctrl-C does not reach it; what goes wrong it says on stderr itself.
            self._drawing = subprocess.Popen(
                self._command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, start_new_session=True
            )
            os.setpriority(os.PRIO_PROCESS, self._drawing.pid, LOWEST_PRIORITY)
            # Where Linux schedules by session (autogroups), a priority counts only within one; so the session's too.
            with contextlib.suppress(OSError):
                Path(f"/proc/{self._drawing.pid}/autogroup").write_text(str(LOWEST_PRIORITY))

    def on_end(self) -> None:
        """See Handler."""
        if self._drawing is not None:
            self._drawing.terminate()  # it leaves no half file; all figures are drawn when the run is complete
            self._drawing.wait()
            self._drawing = None
