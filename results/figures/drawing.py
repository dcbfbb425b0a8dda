"""The curves of a run, drawn by a second process while it goes on.

The process, `python -m results.figures.logs`, takes only time that training leaves. It writes into a nameless file,
which training reads, and ends with it: what it drew for a killed training reaches no folder.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import safetensors.numpy

from common.project import FOLDER
from results.figures.logs import save_curves
from results.run_folder import RunFolder

LOWEST_PRIORITY = 19


class Drawing:
    """A process that draws the curves of a run. A Ctrl-C does not reach its session; its errors go to stderr."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._pictures = tempfile.TemporaryFile()  # noqa: SIM115  (until it is saved)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "results.figures.logs", str(folder.path.resolve())],
            cwd=FOLDER,
            stdout=self._pictures,
            start_new_session=True,
        )
        os.setpriority(os.PRIO_PROCESS, self.process.pid, LOWEST_PRIORITY)
        # Where Linux schedules by session (autogroups), a priority counts only within one; so the session's too.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.process.pid}/autogroup").write_text(str(LOWEST_PRIORITY))

    def is_done(self) -> bool:
        """True once the process has ended."""
        return self.process.poll() is not None

    def save(self) -> None:
        """Save what the process drew into the run's folder, if it came to its end."""
        with self._pictures:
            if self.process.returncode == 0:
                self._pictures.seek(0)
                pictures = safetensors.numpy.load(self._pictures.read())
                save_curves(self._folder, {name: picture.tobytes() for name, picture in pictures.items()})

    def end(self) -> None:
        """End the process; what it drew is thrown away."""
        self.process.terminate()
        self.process.wait()
        self._pictures.close()
