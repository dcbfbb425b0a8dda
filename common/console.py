"""Rich's console as the scripts use it."""

from __future__ import annotations

import os

from rich.console import Console


class ScriptConsole(Console):
    """A console whose reader may leave (`| head`): the BrokenPipeError goes on, where rich would end the process.

    In a notebook it prints plain lines: there `!python train.py` has a terminal to write to, but it is one that keeps
    every state of a progress bar.
    """

    def __init__(self, width: int | None = None) -> None:
        in_notebook = "JPY_PARENT_PID" in os.environ  # Jupyter tells its kernels, and so what they start
        super().__init__(width=width, force_terminal=False if in_notebook else None)

    def on_broken_pipe(self) -> None:
        """See rich; called while the error is handled."""
        raise
