"""sweep.py: every run once, whatever machines take part, and whatever is killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import sweep
from common.errors import UsageError, UserError
from common.processes import children
from results.run_folder import LOCK, RunFolder
from tests.conftest import ROOT
from tests.scripts.test_old_folders import run_main

# Stands for train.py: takes the run's lock, works for a while, and is finished; it notes each beginning and each end.
STUB = """
import os, sys, time
from pathlib import Path
from results.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[-1]))
notes = Path({notes!r})
with folder.locked():
    record = {{"settings": {{"made by": "a stub"}}}}
    folder.write_record(record)
    with notes.open("a") as file:
        file.write(f"begin {{folder.name}} {{sys.argv[-2]}}\\n")
    time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
    if folder.name.endswith(os.environ.get("STUB_FAILS", "never")):
        sys.exit("error: as was asked for")
    outcome = {{"passes": 1, "of": 1, "best_pass": 1, "test_correct": 1, "test_total": 1, "published": "x"}}
    folder.write_record({{**record, "outcome": outcome}})
    with notes.open("a") as file:
        file.write(f"end {{folder.name}}\\n")
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(STUB.format(notes=str(tmp_path / "notes")))
    return tmp_path / "notes"


def machine(folder: Path, notes: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A process that runs the sweep of three runs of one pass with the stub for train.py."""
    program = f"import sweep, sys; from pathlib import Path; sweep.FOLDER = Path({str(notes.parent / 'project')!r}); "
    program += "from common.command_line import run; run(sweep.main)"
    options = ["--seeds", "1", "2", "3", *arguments, "--", "--passes", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def counted(notes: Path, word: str) -> list[str]:
    lines = notes.read_text().splitlines() if notes.exists() else []
    return sorted(line.split()[1] for line in lines if line.startswith(word))


ALL = [f"conv_pool_bn-published-seed{seed}" for seed in (1, 2, 3)]


def test_two_machines_share_the_runs_and_a_killed_one_loses_none(tmp_path: Path, notes: Path) -> None:
    """The first machine is killed, with the run that it trains; the second takes that up, and does none twice."""
    first = machine(tmp_path / "sweep", notes, STUB_SECONDS="60")
    while not counted(notes, "begin"):
        time.sleep(0.05)
    second = machine(tmp_path / "sweep", notes)
    while len(counted(notes, "end")) < 2:
        time.sleep(0.05)
    assert counted(notes, "end") == ALL[1:], "the first machine's run is left to it"
    first.kill()
    lock = int((tmp_path / "sweep" / "runs" / ALL[0] / "lock").read_text())
    os.kill(lock, signal.SIGKILL)
    out, err = second.communicate(timeout=300)
    assert (second.returncode, err) == (0, ""), err
    assert counted(notes, "end") == ALL and "3 of 3 runs are finished" in out
    assert counted(notes, "begin") == [ALL[0], *ALL]
    assert f"begin {ALL[0]} --resume" in notes.read_text()
    first.communicate()


def test_what_is_finished_is_skipped_and_a_failure_stops_no_other(tmp_path: Path, notes: Path) -> None:
    machine_ = machine(tmp_path / "sweep", notes, "--jobs", "3", STUB_FAILS="seed2")
    out, err = machine_.communicate(timeout=300)
    assert machine_.returncode == 1 and "2 of 3 runs are finished" in out
    assert err == f"error: {ALL[1]}: train.py ended with status 1: error: as was asked for\n"
    again = machine(tmp_path / "sweep", notes)
    assert again.communicate(timeout=300)[1] == "" and again.returncode == 0
    assert counted(notes, "begin") == sorted([*ALL, ALL[1]])
    assert "as was asked for" in (tmp_path / "sweep" / "logs" / f"{ALL[1]}.txt").read_text()  # of the first time


def test_a_sweep_outlives_its_reader(tmp_path: Path, notes: Path) -> None:
    watched = machine(tmp_path / "sweep", notes)
    assert watched.stdout and watched.stderr
    watched.stdout.close()  # as `| head -1` does
    assert watched.wait(300) == 0 and counted(notes, "end") == ALL
    logs = tmp_path / "sweep" / "logs"
    assert watched.stderr.read() == f"note: nobody reads the output any more; the runs go on, see {logs}\n"
    watched.stderr.close()


def test_a_signal_stops_the_runs_and_the_same_command_goes_on(tmp_path: Path, notes: Path) -> None:
    stopped = machine(tmp_path / "sweep", notes, STUB_SECONDS="60")
    while not counted(notes, "begin"):
        time.sleep(0.05)
    (begun,) = counted(notes, "begin")
    training = int((tmp_path / "sweep" / "runs" / begun / LOCK).read_text())
    assert os.getsid(training) == training, "Ctrl-C would reach it too, and a second signal leaves without saving"
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=30)
    assert stopped.returncode == 143 and counted(notes, "end") == []
    again = machine(tmp_path / "sweep", notes)
    again.communicate(timeout=300)
    assert again.returncode == 0 and counted(notes, "end") == ALL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "1", "--", "--run-dir", "x"], "expected no --run-dir"),
        (["--networks", "lenet5_1998", "--recipes", "published-sgd"], "recipe"),
    ],
)
def test_what_cannot_be_is_found_before_the_first_run(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=said):
        run_main(sweep, monkeypatch, tmp_path / "sweep", *arguments)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_folder_is_refused(link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sweep").symlink_to("sweep") if link else (tmp_path / "sweep").write_text("a user's own")
    with pytest.raises(UsageError, match="sweep: expected a folder, found a file, or a link to nothing"):
        run_main(sweep, monkeypatch, tmp_path / "sweep")


def test_a_look_at_a_run_keeps_no_process_from_training_it(tmp_path: Path) -> None:
    """Another machine's sweep.py holds the lock for the instant in which a run begins here."""
    folder = RunFolder(tmp_path / "run")
    folder.make()
    with (folder.path / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        later = threading.Timer(0.1, fcntl.flock, (lock, fcntl.LOCK_UN))
        later.start()
        with folder.locked():
            pass
        later.join()
        fcntl.flock(lock, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="is training in this folder"), folder.locked():
            pass


def test_what_cannot_be_used_fails_its_own_run_alone(tmp_path: Path, notes: Path) -> None:
    """A log that is a link is not written through, a lock that is a pipe not waited for; a record may be damaged."""
    logs, runs = tmp_path / "sweep" / "logs", tmp_path / "sweep" / "runs"
    logs.mkdir(parents=True)
    (logs / f"{ALL[0]}.txt").symlink_to(tmp_path / "mine")
    (tmp_path / "mine").write_text("a user's own")
    for name in ALL[1:]:
        (runs / name).mkdir(parents=True)
    os.mkfifo(runs / ALL[1] / "lock")
    (runs / ALL[2] / "run.json").write_text("{")
    done = machine(tmp_path / "sweep", notes)
    out, err = done.communicate(timeout=300)
    first, second = err.splitlines()
    assert first == f"error: {logs / ALL[0]}.txt: a symbolic link, through which nothing is written; move it away"
    assert second.startswith(f"error: {ALL[1]}: train.py ended with status 1: ")
    assert done.returncode == 1 and "1 of 3 runs are finished" in out and counted(notes, "end") == ALL[2:]
    assert (tmp_path / "mine").read_text() == "a user's own"


@pytest.mark.slow
def test_real_runs_are_compared(small_data: Path, tmp_path: Path) -> None:
    rest = ["--passes", "1", "--validation-size", "560", "--data-dir", str(small_data), "--figures", "none"]
    done = subprocess.run(
        [sys.executable, "sweep.py", str(tmp_path / "s"), "--seeds", "1", "2", "--jobs", "2", "--", *rest],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    compared = subprocess.run(
        [sys.executable, "compare.py", *sorted((tmp_path / "s" / "runs").iterdir()), "--best", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert [json.loads(line)["seed"] for line in compared.stdout.splitlines()] in ([1, 2], [2, 1])
    for other in (["--learning-rate", "0.5"], ["--data-dir", "elsewhere"]):
        refused = subprocess.run(
            [sys.executable, "sweep.py", str(tmp_path / "s"), "--", *rest, *other],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert refused.returncode == 2 and refused.stderr.startswith(f"error: {ALL[0]}: the run in "), refused.stderr
        assert other[0] in refused.stderr and "name another FOLDER" in refused.stderr
    more = subprocess.run(
        [sys.executable, "sweep.py", str(tmp_path / "s"), "--", *rest, "--passes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"},  # of the sweep, not of its runs
    )
    assert (more.returncode, more.stderr) == (0, "") and "2 passes" in more.stdout


@pytest.mark.slow
def test_six_real_runs_on_two_machines_of_which_one_is_killed_and_started_again(
    small_data: Path, tmp_path: Path
) -> None:
    """The first machine is killed with the run that it trains, half of the others being done by the second."""
    rest = ["--passes", "1", "--validation-size", "560", "--data-dir", str(small_data), "--figures", "none"]
    seeds, recipes = ["--seeds", "1", "2", "3"], ["--recipes", "published", "best"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "sweep.py", str(tmp_path / "s"), *seeds, *recipes, "--", *rest],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = start()
    assert first.stdout
    killed = first.stdout.readline().split()[1]
    while not (tmp_path / "s" / "runs" / killed / "run.json").exists():
        time.sleep(0.02)
    second = start()
    assert second.stdout and killed not in second.stdout.readline()
    trained_by_first = children(first.pid)
    first.kill()
    for process in trained_by_first:
        os.kill(process, signal.SIGKILL)
    first.communicate()
    for machine_ in (second, start()):
        out, err = machine_.communicate(timeout=600)
        assert (machine_.returncode, err) == (0, "") and "6 of 6 runs are finished" in out
    names = sorted(path.name for path in (tmp_path / "s" / "runs").iterdir())
    assert len(names) == 6
    for name in names:
        log, results = (tmp_path / "s" / path for path in (f"logs/{name}.txt", f"runs/{name}/results.csv"))
        assert (results.read_text().count("\n"), log.read_text().count("the run is in ")) == (2, 1)
    compared = subprocess.run(
        [sys.executable, "compare.py", *(tmp_path / "s" / "runs").iterdir(), "--best", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    rows = [json.loads(line) for line in compared.stdout.splitlines()]
    assert sorted(row["run"] for row in rows) == names
