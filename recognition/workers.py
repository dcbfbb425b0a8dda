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
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UserError, one_line
from data.formats.pictures import Way
from recognition.cuts import Cuts
from recognition.fork_server import NAME, context, prepare_server
from recognition.picture import BlankError, Limits
from recognition.slowness import slowness
from recognition.strip import Rows
from recognition.upright import Likeness

# A worker that waits, or hangs, uses no processor time: it is stopped after this many times the time that the work may
# take, and at most so many seconds beyond it.
LONGEST_WAIT, LONGEST_DELAY = 10, 60.0
START_SECONDS = 60.0  # for a worker's imports; generous, since a busy machine is no error

# Pictures of a data set that a worker gets at once: asking for each alone takes longer than decoding a small one.
AT_ONCE: dict[Way, int] = {"digit": 8, "resize": 32, "none": 128}

Task = Literal["cuts", "rows", "digit", "resize", "none"]
Source = str | bytes  # a file's path, or the bytes of a picture


@dataclass(frozen=True)
class Unread:
    """A picture that gave no digit.

    Attributes:
        why: the reason, in one line.
        blank: the picture itself is whole, but there is nothing in it.
        lost: the worker crashed, or the system could not read the file or had no memory; another time it may be read.
    """

    why: str
    blank: bool = False
    lost: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return self.why


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
        prepare_server()
        cores = len(os.sched_getaffinity(0))
        count = cores if most is None else max(1, min(cores, most))
        self.limits, self._count = limits, count
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

    def read_cuts(self, sources: Iterable[Source], way: Way = "digit") -> Iterator[Cuts | Unread]:
        """The digit of each picture, cut out in different ways, in order; or its one image, prepared another way."""
        task: Task = "cuts" if way == "digit" else way

        def ask(source: Source) -> Cuts | Unread:
            answer = self._ask(task, [source])[0]
            return Cuts(answer[None]) if isinstance(answer, np.ndarray) else answer

        return self._threads.map(ask, sources)

    def prepare(self, sources: Sequence[Source], way: Way) -> Iterator[np.ndarray | Unread]:
        """The image [28, 28] uint8 of each picture, in order; a worker gets several at once, up to `AT_ONCE`."""
        size = max(1, min(AT_ONCE[way], len(sources) // (4 * self._count)))
        pieces = [sources[start : start + size] for start in range(0, len(sources), size)]
        return (image for images in self._threads.map(lambda piece: self._ask(way, piece), pieces) for image in images)

    def read(self, sources: Iterable[Source]) -> Iterator[np.ndarray | Unread]:
        """MNIST's image of each picture, [28, 28] uint8, as the plain cut gives it; arguments as for `read_cuts`."""
        for cuts in self.read_cuts(sources):
            yield cuts if isinstance(cuts, Unread) else cuts.images[0]

    def read_rows(self, source: Source, likeness: Likeness) -> Rows | Unread:
        """Rows of digits in a picture.

        Args:
            source: the picture.
            likeness: see `recognition.upright.upright`; called in the caller's thread.
        """
        return self._ask("rows", [source], likeness)[0]

    def _hire(self) -> None:
        """Start a worker; in a thread, since the first start waits for the server's imports, a quarter of a second."""
        try:
            self._idle.put(_Worker(self.limits))
        except Exception as error:  # raised in the thread that waits for the worker
            self._idle.put(error)

    def _ask(self, task: Task, sources: Sequence[Source], likeness: Likeness | None = None) -> list[Any]:
        worker = self._idle.get()
        if isinstance(worker, Exception):
            self._idle.put(worker)  # for the others who wait
            raise worker
        try:
            return worker.ask(task, sources, likeness, self.limits.max_seconds)
        except TimeoutError:
            worker.stop()
            worker = _Worker(self.limits)
            why = f"not read within {self.limits.max_seconds:g} s of processor time (--max-seconds)"
        except (EOFError, OSError):
            worker.stop()
            worker = _Worker(self.limits)
            why = "the decoder crashed"
        except BaseException:  # of `likeness`, or a signal: the worker still waits for an answer
            worker.stop()
            worker = _Worker(self.limits)
            raise
        finally:
            self._idle.put(worker)
        if len(sources) == 1:
            return [Unread(why, lost=True)]
        return [image for source in sources for image in self._ask(task, [source])]  # one of them did it


class _Worker:
    def __init__(self, limits: Limits) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, limits), name=NAME, daemon=True)
        _start(self._process)
        theirs.close()
        self._slowness = 0.0  # not known yet

    def ask(self, task: Task, sources: Sequence[Source], likeness: Likeness | None, seconds: float) -> list[Any]:
        """Answers of `_serve`; for rows it asks for the `likeness` of images meanwhile."""
        if not self._slowness:
            self._slowness = self._receive(START_SECONDS)
        seconds *= self._slowness
        self._pipe.send((task, sources))
        begun, worked = time.monotonic(), self._worked()
        longest = min(LONGEST_WAIT * seconds, seconds + LONGEST_DELAY)
        while True:
            # On a busy machine a second of work takes many seconds: a picture's cost is the worker's processor time.
            while not self._pipe.poll(max(seconds - (self._worked() - worked), 0.01)):
                if self._worked() - worked >= seconds or time.monotonic() - begun > longest:
                    raise TimeoutError
            answers = self._pipe.recv()
            if isinstance(answers, tuple):
                return list(answers[0])
            if isinstance(answers, list):
                return answers
            assert likeness
            self._pipe.send(likeness(answers))

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


def _start(process: BaseProcess) -> None:
    """Start a process; if its server has just been killed, again, by the new server that multiprocessing starts.

    A launcher's signal to its processes, or a lack of memory, kills the server alone: "Connection refused".
    """
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            process.start()
            return
        except (ConnectionError, EOFError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _serve(pipe: Connection, limits: Limits) -> None:
    """Worker main loop: read the pictures asked for; answer with a list of `Cuts`, `Rows`, images, or `Unread`.

    If rows are wanted, images [N, 28, 28] may come before the answer, to be answered with the likeness of each.
    """
    _end_with_parent()
    # Ctrl-C is for the parent, which then stops the workers; libtiff and others print on stderr.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limits.max_memory,) * 2)
    pipe.send(slowness())
    while True:
        try:
            task, sources = pipe.recv()
        except EOFError:
            return
        answers = [_read(task, source, limits, pipe) for source in sources]
        images = [answer for answer in answers if isinstance(answer, np.ndarray)]
        # One array takes a fraction of the time of many.
        pipe.send((np.stack(images),) if len(images) == len(answers) else answers)


def _read(task: Task, source: Source, limits: Limits, pipe: Connection) -> Cuts | Rows | np.ndarray | Unread:
    from recognition.preparation import prepared

    try:
        if task == "cuts" or task == "rows":
            return _found(task, source, limits, pipe)
        return prepared(source, task, limits)
    except BlankError as error:
        return Unread(one_line(error), blank=True)
    except UserError as error:
        cause = error.__cause__  # decoders raise OSError too, without a number
        return Unread(one_line(error), lost=isinstance(cause, OSError) and cause.errno is not None)
    except MemoryError:
        why = f"expected a picture that is read in {limits.max_memory} bytes of memory, got one that needs more"
        return Unread(why, lost=True)


def _found(task: Literal["cuts", "rows"], source: Source, limits: Limits, pipe: Connection) -> Cuts | Rows:
    from recognition.cuts import cut_digit
    from recognition.layout import find_strips
    from recognition.picture import LONGEST_PAGE, read_picture, read_sized

    def likeness(images: np.ndarray) -> np.ndarray:
        pipe.send(images)
        return pipe.recv()

    if task == "cuts":
        return cut_digit(read_picture(source, limits))
    grey, own_size = read_sized(source, limits, LONGEST_PAGE)
    return Rows(grey, own_size, find_strips(grey, likeness))


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
