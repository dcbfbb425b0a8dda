"""SIGINT and SIGTERM: finish what must be whole, save, leave with 130 or 143; a second one leaves at once.

Before there is anything to save, the first one leaves at once too, and silently: an exception in the middle of an
import becomes an error of the library that is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WAKE = signal.SIGUSR1  # within `importing`
_caught: list[StopRequest] = []  # of the scripts that run in this process: one, or none


class Stopped(BaseException):
    """A signal asks the process to end. Not an Exception, so that no handler of errors takes it for one.

    Attributes:
        status: exit status by the shell's convention, 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class StopRequest:
    """A signal's request to stop: raised at once, but only noted inside `deferred`."""

    def __init__(self) -> None:
        self._number = 0
        self._deferred = False
        self._since = 0.0
        self.burst = 0.0  # seconds in which a signal that comes again counts as the first

    @property
    def number(self) -> int:
        """The signal that has come; 0 if none has."""
        return self._number

    def agree(self) -> None:
        """Ask the other processes of the run whether one received a signal; there are none."""

    @property
    def requested(self) -> bool:
        """True after a signal."""
        return self._number != 0

    def check(self) -> None:
        """Raise Stopped after a signal; call it where it is safe to leave."""
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
        """Handle SIGINT and SIGTERM; main thread only."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Inside, libraries are imported, and a signal ends the process at once; main thread only.

        Signals are blocked, also in the threads and processes that begin here, and one thread waits for them. So a
        library (Paddle) that takes SIGTERM for itself does not get it, and one that waits in C code delays nothing.
        """
        if _in_notebook():
            yield
            self.listen()
            return
        done = False

        def watch() -> None:
            while not done:
                number = signal.sigwait((*_SIGNALS, _WAKE))
                if number != _WAKE:
                    os._exit(128 + number)

        leave_at_once()  # for signals that reach the threads of a library that was imported before
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_SIGNALS, _WAKE))
        watching = Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        finally:
            done = True
            assert watching.ident is not None
            signal.pthread_kill(watching.ident, _WAKE)
            watching.join()
            self.listen()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # one that came meanwhile arrives now

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._number and time.monotonic() - self._since < self.burst:
            return
        if self._number:
            os._exit(128 + number)
        self._number, self._since = number, time.monotonic()
        if not self._deferred:
            raise Stopped(number)


def importing() -> AbstractContextManager[None]:
    """`StopRequest.importing` for code that a script has not handed its request; nothing outside a script."""
    return _caught[-1].importing() if _caught else nullcontext()


def leave_at_once() -> None:
    """Make SIGINT and SIGTERM end a script at once, from its first line until it has something to save."""
    if not _in_notebook():  # of `%run`, whose kernel goes on
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: os._exit(128 + number))


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a StopRequest while the block runs; main thread only."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    request.listen()
    _caught.append(request)
    try:
        yield request
    except Exception as error:
        # Paddle, amid whose code a signal came, makes an error of its own out of it.
        cause: BaseException | None = error
        while cause and not isinstance(cause, Stopped):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None
    finally:
        _caught.pop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
