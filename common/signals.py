"""SIGINT and SIGTERM: finish what must be whole, save, leave with 130 or 143; a second one leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asks the process to end. Not an Exception, so that no handler of errors takes it for one.

    Attributes:
        status: exit status by the shell's convention, 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class StopRequest:
    """Whether a signal has come; inside `deferred` it only notes it, elsewhere it raises at once."""

    def __init__(self) -> None:
        self._number = 0
        self._deferred = False

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._number != 0

    def check(self) -> None:
        """Raise Stopped if a signal has come: to be called where it is safe to leave."""
        if self._number:
            raise Stopped(self._number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal waits for `check`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def listen(self) -> None:
        """Take SIGINT and SIGTERM; again, where a library may have taken them for itself. Main thread only."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            os._exit(128 + number)
        self._number = number
        if not self._deferred:
            raise Stopped(number)


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a StopRequest as long as the block runs; main thread only."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    request.listen()
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
