"""The processes that train one model: they agree when to stop, compare what they have, and none waits for ever."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from common.errors import UserError, one_line
from common.processes import is_running
from common.signals import Stopped, StopRequest
from model.world import World

LONGEST_SILENCE = 60.0  # seconds without a step or an evaluated batch, after which a process leaves
BURST = 1.0  # seconds in which a launcher repeats a signal


class Team(StopRequest):
    """All processes of a run, as one of them sees them; also the signals on whose meaning all agree."""

    def __init__(self, world: World, stop: StopRequest) -> None:
        super().__init__()
        self.world, self._stop = world, stop
        self._agreed, self._left = 0, False
        self._heard = time.monotonic()
        stop.burst = BURST
        own = json.dumps([os.getpid(), socket.gethostname()[:60]]).encode().ljust(100)
        rows = world.gather(np.frombuffer(own, np.uint8))
        self._processes = [tuple(json.loads(row.astype(np.uint8).tobytes())) for row in rows]
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    @property
    def requested(self) -> bool:
        """True once all processes have agreed to stop; a process alone must not."""
        return self._agreed != 0

    def check(self) -> None:
        """Raise Stopped if all have agreed to stop; a sign of life."""
        self._heard = time.monotonic()
        if self._agreed:
            raise Stopped(self._agreed)

    def agree(self) -> None:
        """Ask all processes whether one received a signal; each must call it at the same step."""
        self._heard = time.monotonic()
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
        self._heard = time.monotonic()
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

    def leave(self) -> None:
        """No process waits for another any more."""
        self._left = True

    def explained(self, error: BaseException) -> UserError:
        """One line for what gloo or NCCL raise when another process has gone."""
        gone = [self._name(rank) for rank in range(self.world.size) if not self._is_there(rank)]
        who = f"{', '.join(gone)} ended or was stopped" if gone else "another process ended or does not answer"
        saved = "everything up to the last checkpoint is saved: continue with --resume"
        return UserError(f"{who}; {saved} ({one_line(error, 80)})")

    def share(self, data: bytes) -> bytes:
        """Process 0's bytes, which all get."""
        self._heard = time.monotonic()
        return self.world.share(data)

    def _watch(self) -> None:
        """End this process if it has shown no life for too long, or if its launcher has gone."""
        parent = os.getppid()
        while True:
            time.sleep(1)
            if self._left:
                return
            if os.getppid() != parent:
                os._exit(1)
            if time.monotonic() - self._heard > LONGEST_SILENCE:
                line = self.explained(TimeoutError(f"no step for {LONGEST_SILENCE:g} s"))
                os.write(2, f"error: {line}\n".encode())
                os._exit(1)

    def _name(self, rank: int) -> str:
        process, host = self._processes[rank]
        return f"process {rank} ({process} on {host})"

    def _is_there(self, rank: int) -> bool:
        """False if a process of this machine has ended or is stopped; True if nothing is known of it."""
        process, host = self._processes[rank]
        if host != socket.gethostname()[:60]:
            return True
        return is_running(process)
