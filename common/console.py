"""Rich's console as the scripts use it."""

from __future__ import annotations

from rich.console import Console


class ScriptConsole(Console):
    """A console whose reader may leave (`| head`): the BrokenPipeError goes on, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """See rich; called while the error is handled."""
        raise
