"""Sandboxed worker processes that decode untrusted pictures; a crash cannot reach the main process.

Each worker has a limit of processor time and memory, and the decoders' own messages are dropped. A worker that hangs is
stopped, one that crashes is replaced, and its picture is reported as failed. Workers start before Paddle is imported,
get ready while it is, and read in parallel.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import queue
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, one_line
from recognition.cuts import Cuts
from recognition.picture import Limits
from recognition.rows import Certainty, FoundDigit

LONGEST_SOCKET = 107  # bytes of a socket's path on Linux (sockaddr_un)
# A worker that waits, or hangs, uses no processor time: it is stopped after this many times the time that the work may
# take, and at most so many seconds beyond it.
LONGEST_WAIT, LONGEST_DELAY = 10, 60.0
START_SECONDS = 60.0  # for a worker's imports; generous, since a busy machine is no error

# A server that forks workers: it never imports Paddle, so that a fork copies no threads and no locks.
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Unread:
    """A picture that gave no digit.

    Attributes:
        why: the reason, in one line.
        blank: the picture itself is whole, but there is nothing in it.
    """

    why: str
    blank: bool = False

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class Rows:
    """Rows of digits in a picture.

    Attributes:
        grey: [height, width] uint8, the picture as it was read, in whose pixels the boxes are.
        own_size: width and height of the picture itself, of which `grey` may be a reduced copy.
        rows: from the top, each from the left.
    """

    grey: np.ndarray
    own_size: tuple[int, int]
    rows: list[list[FoundDigit]]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture as it was read."""
        return self.grey.shape[1], self.grey.shape[0]

    @property
    def digits(self) -> list[FoundDigit]:
        """All of them, in reading order."""
        return [digit for row in self.rows for digit in row]


class Workers:
    """One worker process per processor core, or fewer; use as a context manager.

    Attributes:
        limits: limits beyond which a picture is refused.
    """

    def __init__(self, limits: Limits, most: int | None = None) -> None:
        """Start the processes without waiting until they are ready.

        Args:
            limits: see the class.
            most: largest number of processes; a single picture needs only one.
        """
        _shorten_temporary_folder()
        _start_tracker()
        _context.set_forkserver_preload(
            ["recognition.orphans", "recognition.rows", "recognition.cuts", "PIL.Image", "scipy.ndimage"]
        )
        cores = len(os.sched_getaffinity(0))
        count = cores if most is None else max(1, min(cores, most))
        self.limits = limits
        self._threads = ThreadPoolExecutor(count)
        self._idle: queue.SimpleQueue[_Worker | Exception] = queue.SimpleQueue()
        for _ in range(count):
            self._threads.submit(self._hire)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            worker = self._idle.get()
            if isinstance(worker, _Worker):
                worker.stop()

    def read_cuts(self, sources: Iterable[str | bytes]) -> Iterator[Cuts | Unread]:
        """The digit of each picture, cut out in different ways, in order.

        Args:
            sources: a file's path, or the bytes of a picture.
        """
        return self._threads.map(lambda source: self._ask(source, None), sources)

    def read(self, sources: Iterable[str | bytes]) -> Iterator[np.ndarray | Unread]:
        """MNIST's image of each picture, [28, 28] uint8, as the plain cut gives it; arguments as for `read_cuts`."""
        for cuts in self.read_cuts(sources):
            yield cuts if isinstance(cuts, Unread) else cuts.images[0]

    def read_rows(self, source: str | bytes, certainty: Certainty) -> Rows | Unread:
        """Rows of digits in a picture.

        Args:
            source: a file's path, or the bytes of a picture.
            certainty: see `recognition.rows.find_rows`; called in the caller's thread.
        """
        return self._ask(source, certainty)

    def _hire(self) -> None:
        """Start a worker; in a thread, since the first start waits for the server's imports, a quarter of a second."""
        try:
            self._idle.put(_Worker(self.limits))
        except Exception as error:  # raised in the thread that waits for the worker
            self._idle.put(error)

    def _ask(self, source: str | bytes, certainty: Certainty | None) -> Any:
        worker = self._idle.get()
        if isinstance(worker, Exception):
            self._idle.put(worker)  # for the others who wait
            raise worker
        try:
            return worker.ask(source, certainty, self.limits.max_seconds)
        except TimeoutError:
            worker.stop()
            worker = _Worker(self.limits)
            return Unread(f"not read within {self.limits.max_seconds:g} s of processor time (--max-seconds)")
        except (EOFError, OSError):
            worker.stop()
            worker = _Worker(self.limits)
            return Unread("the decoder crashed")
        except BaseException:  # of `certainty`, or a signal: the worker still waits for an answer
            worker.stop()
            worker = _Worker(self.limits)
            raise
        finally:
            self._idle.put(worker)


def _shorten_temporary_folder() -> None:
    """Put multiprocessing's sockets in another folder if TMPDIR leaves no room for their names.

    Not in the abstract namespace, which has no permissions: any user could hand the server a pickle (CVE-2022-42919).

    Raises:
        UserError: no folder is short and writable.
    """
    room = LONGEST_SOCKET - len("/pymp-12345678/listener-12345678")
    if len(os.fsencode(tempfile.gettempdir())) <= room:
        return
    before, places = tempfile.tempdir, ("/tmp", "/var/tmp", "/dev/shm")
    tempfile.tempdir = next((place for place in places if os.access(place, os.W_OK | os.X_OK)), None)
    try:
        if tempfile.tempdir is None:
            raise UserError(f"TMPDIR: expected a folder with a name of at most {room} bytes, as sockets need")
        util.get_temp_dir()  # which remembers it
    finally:
        tempfile.tempdir = before


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker, the process beside each server, in this thread.

    Its start unblocks SIGINT and SIGTERM in the starting thread. That would be a thread of `Workers`, while Paddle is
    being imported and takes SIGTERM for itself (common/signals.py, `importing`).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    def __init__(self, limits: Limits) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(theirs, limits), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def ask(self, source: str | bytes, certainty: Certainty | None, seconds: float) -> Any:
        """Answer of `_serve`; with `certainty` it finds rows, and asks for the certainty of images meanwhile."""
        if not self._ready:
            self._receive(START_SECONDS)
            self._ready = True
        self._pipe.send((source, certainty is not None))
        begun, worked = time.monotonic(), self._worked()
        longest = min(LONGEST_WAIT * seconds, seconds + LONGEST_DELAY)
        while True:
            # On a busy machine a second of work takes many seconds: a picture's cost is the worker's processor time.
            while not self._pipe.poll(max(seconds - (self._worked() - worked), 0.01)):
                if self._worked() - worked >= seconds or time.monotonic() - begun > longest:
                    raise TimeoutError
            answer = self._pipe.recv()
            if certainty is None or not isinstance(answer, np.ndarray):
                return answer
            self._pipe.send(certainty(answer))

    def _worked(self) -> float:
        """Seconds of processor time that the process has used."""
        try:
            status = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:  # it has crashed; the pipe reports that
            return 0.0
        user, system = status.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _receive(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise TimeoutError
        return self._pipe.recv()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, limits: Limits) -> None:
    """Worker main loop: read each picture asked for; answer with `Cuts`, or `Rows`, or `Unread`.

    If rows are wanted, images [N, 28, 28] may come before the answer, to be answered with the network's certainty of
    each.
    """
    from recognition.cuts import cut_digit
    from recognition.picture import BlankError, read_sized
    from recognition.rows import find_rows

    def certainty(images: np.ndarray) -> np.ndarray:
        pipe.send(images)
        return pipe.recv()

    _end_with_parent()
    # Ctrl-C is for the parent, which then stops the workers; libtiff and others print on stderr.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limits.max_memory,) * 2)
    pipe.send("ready")
    while True:
        try:
            source, rows = pipe.recv()
        except EOFError:
            return
        answer: Cuts | Rows | Unread
        try:
            grey, own_size = read_sized(Path(source) if isinstance(source, str) else source, limits)
            answer = Rows(grey, own_size, find_rows(grey, certainty)) if rows else cut_digit(grey)
        except BlankError as error:
            answer = Unread(one_line(error), blank=True)
        except UserError as error:
            answer = Unread(one_line(error))
        except MemoryError:
            answer = Unread(
                f"expected a picture that is read in {limits.max_memory} bytes of memory, got one that needs more"
            )
        pipe.send(answer)


def _end_with_parent() -> None:
    """Make the system kill this process as soon as the script that started it has ended, however that ended.

    A waiting worker sees its pipe closed; one that decodes would first finish, if it ever does.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    # The read end of a pipe that the script never writes to: the one thing to be signalled is that it is closed.
    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, os.O_ASYNC)
    if not parent.is_alive():  # it has ended before that
        os._exit(1)
