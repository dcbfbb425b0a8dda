"""A trial of a model's program in a process of its own, where a crash or an endless loop is one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from common.errors import UserError, one_line
from common.project import FOLDER

TRIAL_SECONDS = 120.0  # importing Paddle takes 2 to 8, an answer a few hundredths


class TrialError(UserError):
    """A program did not survive its trial."""


def survive_trial(folder: Path) -> None:
    """Run a model's program in another process, once.

    Raises:
        TrialError: that process crashed, failed, or did not end in `TRIAL_SECONDS`.
    """
    command = [sys.executable, "-m", "model.predictor", str(folder.resolve())]
    try:
        ended = subprocess.run(
            command,
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TrialError(
            f"{folder}: its program gave no answer within {TRIAL_SECONDS:g} s; it was not loaded"
        ) from None
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise TrialError(f"{folder}: its program ends Paddle by {name}; it was not loaded")
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no reason given"]
        raise TrialError(f"{folder}: its program fails: {one_line(lines[-1].removeprefix('error: '), 300)}")
