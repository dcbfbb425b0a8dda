"""An end without a word for worker processes whose script ended while they began; preloaded by their server."""

from __future__ import annotations

import sys
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception, except that nobody is left to send what a new process waits for."""
    if not issubclass(kind, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report
