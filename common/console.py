"""Rich's console as the scripts use it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from common.width import wrapped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class ScriptConsole(Console):
    """A console whose reader may leave (`| head`): the BrokenPipeError goes on, where rich would end the process.

    In a notebook it prints plain lines: there `!python train.py` has a terminal to write to, but it is one that keeps
    every state of a progress bar.
    """

    def __init__(self, width: int | None = None, stderr: bool = False) -> None:
        in_notebook = "JPY_PARENT_PID" in os.environ  # Jupyter sets it for its kernels and what they start
        super().__init__(width=width, stderr=stderr, force_terminal=False if in_notebook else None)

    def on_broken_pipe(self) -> None:
        """Rich's hook for a broken pipe; called while the error is handled."""
        raise


def print_line(line: str, console: Console | None) -> None:
    """Print one line as it is; on a terminal that is narrower, broken between words; nowhere without a console."""
    if console is None:
        return
    fitting = wrapped(line, console.width) if console.is_terminal else line
    console.print(Text(fitting), soft_wrap=True)


class _Lasting(io.FileIO):
    """A standard stream that writes into nothing once its reader has left."""

    def __init__(self, number: int, on_leaving: Callable[[], None]) -> None:
        super().__init__(number, "w", closefd=False)
        self._on_leaving = on_leaving

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            self._on_leaving()
            return super().write(data)


def outlive_readers(note: str) -> None:
    """Keep this process running, silently, when the reader of its output leaves (`| head`, a closed terminal).

    Args:
        note: printed once on stderr when the reader of stdout leaves.
    """
    for name, on_leaving in (("stderr", lambda: None), ("stdout", lambda: print(note, file=sys.stderr))):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:  # not a notebook's
            stream.flush()
            raw = io.BufferedWriter(_Lasting(stream.fileno(), on_leaving))
            lines = stream.line_buffering
            setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=lines))
