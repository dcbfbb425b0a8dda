"""A guard ends the process that hangs or is stopped, names it, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from common import guard, processes
from common.processes import state_and_parent
from tests.conftest import ROOT

TIMEOUT = 2  # seconds
IDLE = 5  # seconds, in which even a busy machine gives a process that computes some of its time
# Two processes of a launcher, which prints their numbers and waits for them; each runs a program of its own.
LAUNCHER = """
import os, subprocess, sys
started = [
    subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PADDLE_TRAINER_ID": str(rank)})
    for rank, program in enumerate(sys.argv[1:])
]
print(*(process.pid for process in started), flush=True)
print(*(process.wait() for process in started), flush=True)
"""
GUARDED = f"""
import subprocess, sys, time
from common.guard import Guard
guard = Guard()
guard.longest = {TIMEOUT}
guard.start(int(__import__("os").environ["PADDLE_TRAINER_ID"]), {TIMEOUT}, "go on")
"""
SLEEP = "time.sleep(60)\n"
LIVE = "while True:\n    guard.alive()\n    time.sleep(0.05)\n"


def launched(*programs: str) -> tuple[subprocess.Popen[str], list[int]]:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *programs],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert launcher.stdout
    return launcher, list(map(int, launcher.stdout.readline().split()))


def ended(launcher: subprocess.Popen[str], processes: Sequence[int]) -> tuple[list[int], str]:
    """Exit statuses of the processes, and what was written on stderr."""
    out, err = launcher.communicate(timeout=30)
    return list(map(int, out.split())), err


def expect_end(process: int) -> None:
    until = time.monotonic() + 30
    while state_and_parent(process)[0] not in "XZ" and time.monotonic() < until:
        time.sleep(0.05)
    assert state_and_parent(process)[0] in "XZ"


def test_a_process_that_hangs_is_ended_and_named() -> None:
    launcher, (process,) = launched(GUARDED + SLEEP)
    statuses, err = ended(launcher, [process])
    assert statuses == [-signal.SIGKILL]
    assert err.startswith(f"error: process 0 ({process} on ") and err.endswith(
        f") showed no life for {TIMEOUT} s and is ended; go on\n"
    )


def test_one_that_waits_for_another_outlasts_it() -> None:
    """Process 1 hangs; process 0, which waits for it, is told when it has ended."""
    wait = "with guard.waiting():\n    time.sleep(4)\nprint('met', file=sys.stderr)\n"
    launcher, found = launched(GUARDED + wait, GUARDED + SLEEP)
    statuses, err = ended(launcher, found)
    assert statuses == [0, -signal.SIGKILL]
    assert f"error: process 1 ({found[1]} on " in err and "process 0" not in err and "met" in err


@pytest.mark.parametrize("program", [GUARDED + LIVE, "import time\n" + SLEEP])
def test_a_stopped_process_is_ended_and_named_with_a_guard_or_before_it_has_one(program: str) -> None:
    launcher, found = launched(GUARDED + LIVE, program)
    os.kill(found[1], signal.SIGSTOP)
    expect_end(found[1])
    os.kill(found[0], signal.SIGKILL)
    statuses, err = ended(launcher, found)
    assert statuses == [-signal.SIGKILL] * 2
    assert f"error: process 1 ({found[1]} on " in err and f"was stopped for {TIMEOUT} s" in err


def test_a_guard_stays_for_the_others_of_the_job_when_its_own_process_has_ended() -> None:
    launcher, found = launched(GUARDED, "import time\n" + SLEEP)
    os.kill(found[1], signal.SIGSTOP)
    statuses, err = ended(launcher, found)
    assert statuses == [0, -signal.SIGKILL]
    assert f"error: process 1 ({found[1]} on " in err


def test_without_its_launcher_a_process_ends_and_takes_its_helpers_along() -> None:
    helper = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    launcher, (process,) = launched("import os\nos.setsid()\n" + GUARDED + helper + LIVE)
    while not (helpers := [each for each in processes.children(process) if each != process]) or len(helpers) < 2:
        time.sleep(0.05)
    launcher.kill()
    assert "lost its launcher" in launcher.communicate(timeout=30)[1]
    for each in (process, *helpers):
        expect_end(each)


def test_a_process_that_shows_life_is_left_alone_and_its_guard_ends_with_it() -> None:
    live = "print(__import__('common.processes').processes.children(__import__('os').getpid()), file=sys.stderr)\n"
    live += f"for _ in range(15):\n    guard.alive()\n    time.sleep({TIMEOUT / 10})\n"
    launcher, found = launched(GUARDED + live)
    statuses, err = ended(launcher, found)
    assert statuses == [0]
    (guard,) = map(int, err.strip("[]\n").split(","))
    expect_end(guard)


STARTING = GUARDED.replace(f"guard.longest = {TIMEOUT}\n", "").replace('"go on")', f'"go on", idle={IDLE})')


def test_one_that_does_nothing_while_it_starts_is_ended_sooner_than_one_that_works_or_waits() -> None:
    child = "subprocess.run([sys.executable, '-c', 'import time\\nuntil = time.monotonic() + 10\\n"
    child += "while time.monotonic() < until: pass'])\n"
    wait = "with guard.waiting():\n    time.sleep(10)\n"
    launcher, found = launched(STARTING + SLEEP, STARTING + child, STARTING + wait)
    statuses, err = ended(launcher, found)
    assert statuses == [-signal.SIGKILL, 0, 0]
    named = f"error: process 0 ({found[0]} on {socket.gethostname()[:60]})"
    assert err == f"{named} used no processor time for {IDLE} s and is ended; go on\n"


def test_a_process_that_takes_long_to_end_is_named_once() -> None:
    late = "import os, subprocess\nos.kill = lambda process, number: subprocess.Popen("
    late += "['sh', '-c', f'sleep 1; kill -{int(number)} {process}'])\n"
    statuses, err = ended(*launched(late + GUARDED + SLEEP))
    assert statuses == [-signal.SIGKILL]
    assert err.count("error: process 0") == 1


def test_the_temporary_folder_of_a_killed_process_is_removed() -> None:
    scratch = "print(guard.scratch('guard-test-'), flush=True, file=sys.stderr)\n"
    launcher, found = launched(GUARDED + scratch + LIVE)
    assert launcher.stderr
    folder = Path(launcher.stderr.readline().strip())
    assert folder.is_dir()
    os.kill(found[0], signal.SIGKILL)
    until = time.monotonic() + 30
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not folder.exists()
    launcher.communicate()


def test_the_lost_processes_of_a_launcher_are_known() -> None:
    lost = "from common.processes import lost\nimport sys, time\n"
    lost += "while not lost():\n    time.sleep(0.05)\nprint(lost(), file=sys.stderr)\n"
    last = "import os, time\nfrom common.processes import children\n"
    last += "while len(children(os.getppid())) > 1:\n    time.sleep(0.05)\n"
    environment = "import os; os.environ.update(PADDLE_LOCAL_RANK='1', PADDLE_LOCAL_SIZE='3')\n"
    launcher, found = launched("", environment + lost, last)
    assert ended(launcher, found)[1] == "['process 0']\n"


def test_the_times_of_a_process_that_is_stopped_now_and_then_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(guard, "_end", lambda process, *_: ended.append(process))
    stopped: dict[int, float] = {}
    for now, state, expected in ((0, "T", []), (40, "S", []), (60, "T", []), (100, "t", []), (111, "T", [7])):
        monkeypatch.setattr(guard, "state_and_parent", lambda process, state=state: (state, 1))
        monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda now=now: float(now)))
        guard._look_for_stopped({7: 0}, stopped, 50, "go on")
        assert ended == expected
