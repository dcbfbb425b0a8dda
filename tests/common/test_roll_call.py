"""Processes of two launchers: each learns which process of the other one is missing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from common import roll_call
from common.roll_call import RollCall, answering, elsewhere, silent
from common.signals import StopRequest
from model.team import Team
from model.world import World
from tests.common.test_guard import GUARDED, LIVE, STARTING, TIMEOUT
from tests.conftest import ROOT


class Alike(World):
    """A world in this process: all others have what this one has."""

    def gather(self, values: np.ndarray) -> np.ndarray:
        return np.stack([values] * self.size).astype(np.float32)


def test_one_that_leaves_before_it_is_answered_does_not_silence_a_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    listening, asking = MagicMock(), MagicMock()
    listening.__enter__.return_value.accept.side_effect = [ConnectionAbortedError, (asking, None), OSError("closed")]
    monkeypatch.setattr(socket, "create_server", lambda address: listening)
    roll_call._answer(("127.0.0.1", 1), os.getpid(), 7)
    asking.sendall.assert_called_once_with(b"7")


Launch = Callable[[int, str], subprocess.Popen[str]]


@pytest.fixture
def two_launchers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """This process is number 0, the only one of its launcher; the launcher of processes 1 and 2 may be started."""
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        ends = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, two)]
    own = {"PADDLE_TRAINER_ID": "0", "PADDLE_TRAINERS_NUM": "3", "PADDLE_LOCAL_RANK": "0", "PADDLE_LOCAL_SIZE": "1"}
    for name, value in {**own, "PADDLE_TRAINER_ENDPOINTS": ",".join(["127.0.0.1:9", *ends])}.items():
        monkeypatch.setenv(name, value)
    started = []

    def start(rank: int, program: str) -> subprocess.Popen[str]:
        environment = {"PADDLE_TRAINER_ID": str(rank), "PADDLE_LOCAL_RANK": str(rank - 1), "PADDLE_LOCAL_SIZE": "2"}
        environment |= {"PADDLE_MASTER": "127.0.0.1:9", "PADDLE_CURRENT_ENDPOINT": ends[rank - 1]}
        started.append(
            subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **environment}, text=True)
        )
        while rank not in answering([rank]):
            time.sleep(0.05)
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_of_another_launcher_is_named_when_it_is_lost(two_launchers: Launch, number: signal.Signals) -> None:
    assert elsewhere() == [1, 2] and silent() == ["process 1 (on 127.0.0.1)", "process 2 (on 127.0.0.1)"]
    first, second = (two_launchers(rank, GUARDED + LIVE) for rank in (1, 2))
    team = Team(Alike(0, 3), StopRequest())
    team._processes = [team._processes[0], (first.pid, "one"), (second.pid, "two")]
    calls = RollCall()
    assert answering([1, 2]) == [1, 2] and silent() == [] and calls.lost(None, 0) == []
    os.kill(second.pid, number)
    said = str(team.explained(RuntimeError("std::exception")))
    assert said.startswith(f"process 2 ({second.pid} on two) ended, was stopped or cannot be reached; ")
    assert silent() == ["process 2 (on 127.0.0.1)"]
    since = time.monotonic()
    while not (lost := calls.lost(since, 1)) and time.monotonic() < since + 30:
        time.sleep(0.1)
    assert lost == ["process 2 (on 127.0.0.1)"]
    team.leave()


def test_one_that_never_answered_may_still_begin(two_launchers: Launch) -> None:
    two_launchers(1, GUARDED + LIVE)
    calls = RollCall()
    assert calls.lost(time.monotonic() - 60, 1) == []


def test_the_time_before_a_waiting_counts_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked then, and a busy machine may miss one call."""
    now, here = [100.0], [1]
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "127.0.0.1:9,there:9")
    monkeypatch.setattr(roll_call, "elsewhere", lambda: [1])
    monkeypatch.setattr(roll_call, "answering", lambda ranks: list(here))
    monkeypatch.setattr(roll_call, "time", SimpleNamespace(monotonic=lambda: now[0]))
    calls = RollCall()
    assert calls.lost(None, 50) == []
    here.clear()
    now[0] = 1000.0
    assert calls.lost(1000.0, 50) == []
    now[0] = 1051.0
    assert calls.lost(1000.0, 50) == ["process 1 (on there)"]


def test_what_answers_in_the_place_of_a_process_is_not_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as thread:
        monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", f"127.0.0.1:9,127.0.0.1:{other.getsockname()[1]}")
        for answer, found in ((b"7", []), (b"1", [1])):

            def reply(answer: bytes = answer) -> None:
                with other.accept()[0] as asking:
                    asking.sendall(answer)

            done = thread.submit(reply)
            assert answering([1]) == found
            done.result()


def test_a_guard_names_the_process_of_another_machine_that_its_own_waits_for(two_launchers: Launch) -> None:
    """It ends a process that waits for one that is lost, long before it would otherwise."""
    lost = two_launchers(2, GUARDED + LIVE)
    program = "from common import roll_call\nroll_call.ASK_SECONDS = 0.3\n" + STARTING
    program += "with guard.waiting():\n    print('waits', flush=True)\n    time.sleep(60)\n"
    waiting = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stdout and waiting.stdout.readline() == "waits\n"
    time.sleep(2)  # it asks meanwhile
    lost.kill()
    lost.wait()
    err = waiting.communicate(timeout=30)[1]
    assert waiting.returncode == -signal.SIGKILL
    assert err.endswith(
        f" waited for process 2 (on 127.0.0.1), which did not answer for {TIMEOUT} s, and is ended; go on\n"
    )
