"""A roll call over several machines: each guard answers for its process, at the address that Paddle's launcher gave it.

So a process that waits for another machine learns which process is missing there.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

from common.processes import is_running, rank_and_size, ranks_here

ASK_SECONDS = 3.0  # for an answer, which a busy machine may delay
AT_ONCE = 32  # processes that are asked


def answer_for(process: int, rank: int) -> None:
    """Answer in a thread, to whoever connects, while that process runs; not if the launcher gave it no address."""
    own = os.environ.get("PADDLE_CURRENT_ENDPOINT", "")
    if own not in ("", os.environ.get("PADDLE_MASTER", own)):  # where Paddle itself meets the others
        Thread(target=_answer, args=(_address(own), process, rank), daemon=True).start()


def _answer(address: tuple[str, int], process: int, rank: int) -> None:
    with suppress(OSError), socket.create_server(address) as listening:
        while True:
            with suppress(ConnectionError):  # of one that asked and left
                asking, _ = listening.accept()
                with asking:
                    if is_running(process):
                        asking.sendall(str(rank).encode())


def elsewhere() -> list[int]:
    """The numbers of the processes that other launchers started, on this machine or another; none if unknown."""
    here = ranks_here()
    return [rank for rank in range(rank_and_size()[1]) if rank not in here] if here else []


def answering(ranks: Iterable[int]) -> list[int]:
    """Those of the processes that run, as their guards report."""
    asked = list(ranks)
    if not asked:
        return []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [rank for rank, runs in zip(asked, threads.map(_runs, asked), strict=True) if runs]


def _runs(rank: int) -> bool:
    try:
        with socket.create_connection(_address(_endpoint(rank)), ASK_SECONDS) as asked:
            return asked.recv(16) == str(rank).encode()
    except OSError:
        return False


def silent() -> list[str]:
    """Names of the processes of other launchers that do not answer."""
    return _names(sorted({*elsewhere()} - {*answering(elsewhere())}))


class RollCall:
    """The processes of other launchers, for a guard; it asks until each has answered, and while its process waits."""

    def __init__(self) -> None:
        self._ranks, self._answered, self._asked = elsewhere(), dict[int, float](), 0.0

    def lost(self, since: float | None, timeout: float) -> list[str]:
        """Names of those that answered once, but not for `timeout` seconds of a waiting that began at `since`."""
        now = time.monotonic()
        if now - self._asked > ASK_SECONDS and (since is not None or len(self._answered) < len(self._ranks)):
            self._asked = now
            self._answered |= dict.fromkeys(answering(self._ranks), now)
        if since is None:
            return []
        return _names(rank for rank, when in self._answered.items() if self._asked - max(when, since) > timeout)


def _names(ranks: Iterable[int]) -> list[str]:
    return [f"process {rank} (on {_address(_endpoint(rank))[0]})" for rank in ranks]


def _endpoint(rank: int) -> str:
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    return endpoints[rank] if rank < len(endpoints) else ""


def _address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    return host, int(port) if port.isdecimal() and int(port) < 1 << 16 else 0
