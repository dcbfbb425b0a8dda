"""Sizes of what browsers may send to the page: bytes in memory, the time that they take, the shape of their JSON."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Receive

from common.errors import one_line

BODY_SECONDS = 60.0  # a body must be whole by then: 16 MiB need 3 Mbit/s
MOST_ARRIVING = 64  # bodies; a further one takes the place of the one that has been silent for longest
HELD_BODIES = 4  # bodies of the largest size that fit into memory at once, whole or in part
MORE_MEMORY = 2 << 30  # bytes that the process may grow by, besides the bodies of calls and their copies
COPIES = 4  # of each body: as it arrives, as JSON, as text, as a picture's bytes
RETRY_SECONDS = 5
BUSY = f"The page is busy: try again in {RETRY_SECONDS} s. 网页正忙，请 {RETRY_SECONDS} 秒后再试。"
_REPEAT_SECONDS = 60.0  # the same line is printed once in this time

_printed: dict[str, float] = {}


class RefusedError(Exception):
    """A refused request: its HTTP status and the reason in one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @classmethod
    def busy(cls) -> RefusedError:
        """The refusal of a request that is welcome later."""
        return cls(503, BUSY)


@dataclass(eq=False)
class _Arrival:
    task: asyncio.Task[bytes] | None = None  # none once the body is whole
    size: int = 0


class Intake:
    """Reads the bodies of requests within bounds of memory and time that hold for all of them together."""

    def __init__(self, max_bytes: int) -> None:
        """Create it for bodies of at most `max_bytes` each."""
        self.max_bytes = max_bytes
        self._held: dict[_Arrival, None] = {}  # in the order of their last sign of life

    @property
    def held(self) -> int:
        """Bytes of all bodies that are in memory now."""
        return sum(arrival.size for arrival in self._held)

    @asynccontextmanager
    async def body(self, receive: Receive, announced: str) -> AsyncIterator[bytes]:
        """The body of a request; it counts as held until the block ends.

        Args:
            receive: of the request.
            announced: its Content-Length; "" where there is none.

        Raises:
            RefusedError: it is too large, of unknown size, or slow; or others need its place; or the browser has left.
        """
        if not announced.isdecimal() or len(announced) > 18 or int(announced) > self.max_bytes:
            raise RefusedError(413, f"expected at most {self.max_bytes} bytes, of announced length")
        arrival = _Arrival()
        self._held[arrival] = None
        arrival.task = task = asyncio.ensure_future(self._read(receive, arrival))
        self._make_room()
        try:
            await asyncio.wait({task}, timeout=BODY_SECONDS)
            if task.cancelled():
                raise RefusedError.busy()
            if not task.done():
                raise RefusedError(408, f"expected the whole request within {BODY_SECONDS:.0f} s")
            arrival.task = None
            yield task.result()
        finally:
            task.cancel()
            del self._held[arrival]

    async def _read(self, receive: Receive, arrival: _Arrival) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "expected the whole request, got a part")
            body += message.get("body", b"")
            arrival.size = len(body)
            if arrival.size > self.max_bytes:
                raise RefusedError(413, f"expected at most {self.max_bytes} bytes")
            if not message.get("more_body", False):
                return bytes(body)
            self._held[arrival] = self._held.pop(arrival)
            self._make_room()

    def _make_room(self) -> None:
        arriving = [arrival for arrival in self._held if arrival.task]
        while arriving and (len(arriving) > MOST_ARRIVING or self.held > HELD_BODIES * self.max_bytes):
            silent = arriving.pop(0)
            assert silent.task is not None
            silent.task.cancel()
            silent.task, silent.size = None, 0


def bound_memory(max_bytes: int) -> None:
    """Bound the memory that this process takes from now on; beyond it, a call fails, and the machine has its memory.

    Only what is written to counts (RLIMIT_DATA): of addresses alone (RLIMIT_AS), each thread's heap reserves 64 MiB.

    Args:
        max_bytes: largest picture that is taken.
    """
    status = Path("/proc/self/status").read_text()
    taken = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = taken + MORE_MEMORY + COPIES * HELD_BODIES * max_bytes
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def report(error: object) -> None:
    """Print what went wrong inside the page as one line on stderr; the same line at most once a minute."""
    line, now = f"page: {one_line(error)}", time.monotonic()
    for old in [old for old, when in _printed.items() if now - when > _REPEAT_SECONDS]:
        del _printed[old]
    if line not in _printed and len(_printed) < 100:
        _printed[line] = now
        print(line, file=sys.stderr, flush=True)
