"""A guard beside each process of a job: a child that ends it if it hangs or is stopped, and names it.

A process that is stopped cannot watch itself. So it shares with its guard the time by which it shows life again. A
guard also ends other processes of its launcher that are stopped, since one may be so before it has a guard.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from common.processes import children, is_running, processor_seconds, rank_of, state_and_parent
from common.roll_call import RollCall, answer_for

POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 50.0
SAVED = "everything up to the last checkpoint is saved: continue with --resume"
STARTING_SECONDS = 600.0  # for data, compiler and meeting; also for what is left to one process alone at the end
MARGIN = 5.0  # seconds by which one that waits outlasts one that hangs, so that the latter is named
WORK = 0.05  # seconds of processor time without which a process does nothing


class Guard:
    """The longest silence of this process, which its guard enforces once `start` was called.

    Attributes:
        timeout: seconds that the process may be stopped, and that a step or an evaluated batch may take.
        longest: seconds until the next sign of life; more than `timeout` if other processes may still begin.
    """

    def __init__(self) -> None:
        self.timeout = self.longest = STARTING_SECONDS
        self._shared = memoryview(mmap.mmap(-1, 24)).cast("d")  # since when, seconds allowed, whether it waits
        self._scratch = mmap.mmap(-1, 4096)  # name of the temporary folder
        self.alive()

    def start(
        self, rank: int, timeout: float = TIMEOUT_SECONDS, then: str = SAVED, idle: float = STARTING_SECONDS
    ) -> None:
        """Begin to guard this process.

        Args:
            rank: its number in the job.
            timeout: see the class.
            then: advice for the user if it is ended.
            idle: seconds that it may do nothing, neither waiting for others nor using processor time, if it is allowed
                a longer silence than that.
        """
        self.timeout = timeout
        self.alive()
        process, launcher, leads = os.getpid(), os.getppid(), os.getpgrp() == os.getpid()
        if os.fork() == 0:
            try:
                os.setsid()  # a launcher sends signals to the process's group
                os.closerange(3, 1 << 20)  # pipes whose readers wait for an end
                answer_for(process, rank)
                roll_call, stopped, worked, named = RollCall(), dict[int, float](), [0.0, 0.0], False
                while os.getppid() == process:
                    time.sleep(POLL_SECONDS)
                    why = _fault(process, launcher, self._shared, roll_call, timeout)
                    if not why and self._shared[1] > idle and _idle(process, self._shared, worked) > idle:
                        why = f"used no processor time for {idle:g} s"
                    if why and not named:  # once: it may take long to end
                        _end(process, rank, why, then)
                        named = True
                    _look_for_stopped({process: rank, **_others(launcher)}, stopped, timeout, then)
                if leads:
                    with suppress(ProcessLookupError):
                        os.killpg(process, signal.SIGKILL)  # helpers that the process left behind
                if folder := bytes(self._scratch).rstrip(b"\0"):
                    shutil.rmtree(os.fsdecode(folder), ignore_errors=True)
                while others := _others(launcher):  # of which one may be stopped before it has a guard
                    time.sleep(POLL_SECONDS)
                    _look_for_stopped(others, stopped, timeout, then)
            finally:
                os._exit(0)

    def scratch(self, prefix: str) -> Path:
        """Make a temporary folder, which the guard removes when this process has ended, however it ended."""
        folder = tempfile.mkdtemp(prefix=prefix)
        self._scratch[:] = os.fsencode(folder).ljust(len(self._scratch), b"\0")
        return Path(folder)

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
        return time.monotonic() - self._shared[0]

    def _allow(self, seconds: float, waits: bool) -> None:
        self._shared[0] = time.monotonic()  # first: the guard may look before the others are there
        self._shared[1], self._shared[2] = seconds, waits


def name_of(rank: int, process: int, host: str = "") -> str:
    """A process as messages name it."""
    return f"process {rank} ({process} on {host or socket.gethostname()[:60]})"


def _others(launcher: int) -> dict[int, int]:
    """The processes of a launcher, without this guard, and their numbers in the job."""
    ranks = {process: rank_of(process) for process in children(launcher) if process != os.getpid()}
    return {process: rank for process, rank in ranks.items() if rank is not None}


def _fault(process: int, launcher: int, shared: memoryview[float], roll_call: RollCall, timeout: float) -> str:
    """The reason to end the guarded process: it hangs, or waits for one that is lost, or has no launcher any more."""
    if state_and_parent(process)[1] not in (launcher, 0):
        return "lost its launcher"
    since, seconds, waits = shared
    if names := roll_call.lost(since if waits else None, timeout):
        return f"waited for {', '.join(names)}, which did not answer for {timeout:g} s,"
    if time.monotonic() - since > seconds:
        return f"{'waited for the others for' if waits else 'showed no life for'} {seconds:g} s"
    return ""


def _idle(process: int, shared: memoryview[float], worked: list[float]) -> float:
    """Seconds for which the guarded process has done nothing; `worked` has its processor time, and when that grew."""
    used, now = processor_seconds(process, besides=os.getpid()), time.monotonic()
    if shared[2] or not is_running(process) or not 0 <= used - worked[0] < WORK:  # a stopped one is named as such
        worked[:] = used, now
    return now - max(worked[1], shared[0])


def _look_for_stopped(ranks: Mapping[int, int], stopped: dict[int, float], timeout: float, then: str) -> None:
    """End the processes that are stopped too long; `stopped` has the times since when they are."""
    for process, rank in ranks.items():
        if state_and_parent(process)[0] not in "Tt":
            stopped.pop(process, None)
        elif time.monotonic() - stopped.setdefault(process, time.monotonic()) > timeout:
            _end(process, rank, f"was stopped for {timeout:g} s", then)


def _end(process: int, rank: int, why: str, then: str) -> None:
    with suppress(OSError):
        os.write(2, f"error: {name_of(rank, process)} {why} and is ended; {then}\n".encode())
    with suppress(OSError):
        os.kill(process, signal.SIGKILL)
