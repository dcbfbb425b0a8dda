"""A guard beside each process of a job: a child that ends it if it hangs or is stopped, and names it.

A process that is stopped cannot watch itself. So it shares with its guard the time by which it shows life again. A
guard also ends other processes of its launcher that are stopped, since one may be so before it has a guard.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from common.processes import children, rank_of, state_and_parent

POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 50.0
SAVED = "everything up to the last checkpoint is saved: continue with --resume"
STARTING_SECONDS = 600.0  # for data, compiler and meeting; also for what is left to one process alone at the end
MARGIN = 5.0  # seconds by which one that waits outlasts one that hangs, so that the latter is named


class Guard:
    """The longest silence of this process, which its guard enforces once `start` was called.

    Attributes:
        timeout: seconds that the process may be stopped, and that a step or an evaluated batch may take.
        longest: seconds until the next sign of life; more than `timeout` if other processes may still begin.
    """

    def __init__(self) -> None:
        self.timeout = self.longest = STARTING_SECONDS
        self._shared = memoryview(mmap.mmap(-1, 24)).cast("d")  # until when, seconds allowed, whether it waits
        self.alive()

    def start(self, rank: int, timeout: float = TIMEOUT_SECONDS, then: str = SAVED) -> None:
        """Begin to guard this process, number `rank` of its job; `then` is for the user if it is ended."""
        self.timeout = timeout
        self.alive()
        process, launcher, group = os.getpid(), os.getppid(), os.getpgrp()
        if os.fork() == 0:
            try:
                os.setsid()  # a launcher sends signals to the process's group
                os.closerange(3, 1 << 20)  # pipes whose readers wait for an end
                _watch(self._shared, rank, then, process, launcher, timeout)
                if group == process:
                    os.killpg(group, signal.SIGKILL)  # helpers that the process left behind
            finally:
                os._exit(0)

    def alive(self) -> None:
        """Give a sign of life."""
        self._allow(self.longest, waits=False)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the process waits for others, of which one may hang."""
        self._allow(self.longest + MARGIN, waits=True)
        yield
        self.alive()

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life."""
        return time.monotonic() - self._shared[0] + self._shared[1]

    def _allow(self, seconds: float, waits: bool) -> None:
        self._shared[1], self._shared[2] = seconds, waits
        self._shared[0] = time.monotonic() + seconds


def name_of(rank: int, process: int, host: str = "") -> str:
    """A process as messages name it."""
    return f"process {rank} ({process} on {host or socket.gethostname()[:60]})"


def _watch(shared: memoryview[float], rank: int, then: str, process: int, launcher: int, timeout: float) -> None:
    """Main loop of a guard, until its process has ended."""
    stopped: dict[int, float] = {}  # since when
    while os.getppid() == process:
        time.sleep(POLL_SECONDS)
        now, ending = time.monotonic(), {}
        if now > shared[0]:
            what = "waited for the others for" if shared[2] else "showed no life for"
            ending[process] = f"{what} {shared[1]:g} s"
        if state_and_parent(process)[1] not in (launcher, 0):
            ending[process] = "lost its launcher"
        for each in {process, *children(launcher)}:
            if state_and_parent(each)[0] not in "Tt":
                stopped.pop(each, None)
            elif now - stopped.setdefault(each, now) > timeout:
                ending[each] = f"was stopped for {timeout:g} s"
        for each, why in ending.items():
            number = rank if each == process else rank_of(each)
            if number is not None:  # else it is none of the job's
                with suppress(OSError):
                    os.write(2, f"error: {name_of(number, each)} {why} and is ended; {then}\n".encode())
                with suppress(OSError):
                    os.kill(each, signal.SIGKILL)
