"""The processes that train one model: they agree when to stop, compare what they have, and none waits for ever."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from common.errors import UserError, one_line
from common.guard import MARGIN, POLL_SECONDS, SAVED, STARTING_SECONDS, name_of
from common.processes import is_running, ranks_here
from common.roll_call import answering, elsewhere
from common.signals import Stopped, StopRequest
from model.world import World

BURST = 1.0  # seconds in which a launcher repeats a signal
GLOO_SECONDS = 30.0  # that gloo waits for another process, which may hang; if one ended, it fails at once


class Team(StopRequest):
    """All processes of a run, as one of them sees them; also the signals on whose meaning all agree."""

    def __init__(self, world: World, stop: StopRequest) -> None:
        super().__init__()
        self.world, self._stop = world, stop
        self._agreed = 0
        stop.burst = BURST
        own = json.dumps([os.getpid(), socket.gethostname()[:60]]).encode().ljust(100)
        rows = world.gather(np.frombuffer(own, np.uint8))
        self._processes = [tuple(json.loads(row.astype(np.uint8).tobytes())) for row in rows]
        self._elsewhere = answering(elsewhere())  # those that can be asked

    @property
    def requested(self) -> bool:
        """True once all processes have agreed to stop; a process alone must not."""
        return self._agreed != 0

    def check(self) -> None:
        """Raise Stopped if all have agreed to stop; a sign of life."""
        self.world.guard.alive()
        if self._agreed:
            raise Stopped(self._agreed)

    def agree(self) -> None:
        """Ask all processes whether one received a signal; each must call it at the same step."""
        self._agreed = int(self.world.gather(np.array(self._stop.number)).max())

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal waits for `agree`."""
        with self._stop.deferred():
            yield

    def expect_same(self, facts: Mapping[str, Any]) -> None:
        """Make sure that all processes have the same facts.

        Raises:
            UserError: they differ; it names the facts and a process.
        """
        own = [hashlib.sha256(repr(fact).encode()).digest()[:8] for fact in facts.values()]
        rows = self.world.gather(np.frombuffer(b"".join(own), np.uint8).reshape(len(facts), 8))
        for rank in range(1, self.world.size):
            same = (rows[rank] == rows[0]).all(axis=1)
            differing = ", ".join(name for name, is_same in zip(facts, same, strict=True) if not is_same)
            if differing:
                raise UserError(
                    f"{self._name(rank)}: expected what process 0 has, got other {differing}; start all with the same "
                    "command, data, versions and kind of machine"
                )
        self.world.guard.longest = self.world.guard.timeout  # all have begun

    def leave(self) -> None:
        """No process waits for another any more."""
        self.world.guard.longest = STARTING_SECONDS
        self.world.guard.alive()

    def explained(self, error: BaseException) -> UserError:
        """One line for what gloo or NCCL raise when another process has gone, or hangs until its guard ends it."""
        guard = self.world.guard
        hangs = guard.silence > GLOO_SECONDS / 2
        until = time.monotonic() + (guard.longest + MARGIN / 2 - guard.silence if hangs else BURST)
        while not (gone := self._gone()) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        who = ", ".join(gone) or "another process"
        return UserError(f"{who} ended, was stopped or cannot be reached; {SAVED} ({one_line(error, 80)})")

    def share(self, data: bytes) -> bytes:
        """Process 0's bytes, which all get."""
        return self.world.share(data)

    def _name(self, rank: int) -> str:
        return name_of(rank, *self._processes[rank])

    def _gone(self) -> list[str]:
        """The processes that have ended or are stopped: of this launcher, and those of others that could be asked."""
        host, here = socket.gethostname()[:60], ranks_here() or range(self.world.size)
        ended = [
            rank
            for rank, (process, where) in enumerate(self._processes)
            if rank in here and where == host and not is_running(process)
        ]
        return [self._name(rank) for rank in sorted({*ended, *self._elsewhere} - {*answering(self._elsewhere)})]
