"""One run by several processes: the bits of one, whoever begins and ends it; differences and losses stop all."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import paddle
import pytest

from common.errors import UsageError, UserError
from common.files import sha256
from common.signals import Stopped, StopRequest
from data.dataset import Mnist, Subset
from model import shards
from model.image import network_input
from model.kernels.build import instruction_set
from model.scoring import evaluate
from model.shards import own_images
from model.team import Team
from model.world import ALONE, World
from results.run_folder import RunFolder, environment
from tests.conftest import ROOT, Script
from tests.model.operators import need_fused
from training import parallel
from training.parallel import expect_shards, facts, folder_of_process
from training.settings import Settings
from training.setup import Setup, prepare
from training.state import Progress, State

OPTIONS = ("--validation-size", "2300", "--passes", "2", "--shards", "4", "--figures", "none", "--log-every", "1")


class Others(World):
    """A world of two in this process: the other one's part of each sum is made from ours by `answer`."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        own = np.array(values, np.float32)
        if own.ndim > 1 and len(own) == self.size:  # a row a process
            own[1 - self.rank] = own[self.rank]
            if self.differs is not None and own.ndim == 3:
                own[1, self.differs] += 1
        return own

    differs: int | None = None


@pytest.fixture
def team() -> Iterator[Team]:
    made = Team(Others(0, 2), StopRequest())
    yield made
    made.leave()


def test_what_differs_is_named_with_its_process(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.expect_same({"data": 1, "seed": 2})
    monkeypatch.setattr(Others, "differs", 1)
    with pytest.raises(UserError, match=r"process 1 \(\d+ on .*\): expected what process 0 has, got other seed;"):
        team.expect_same({"data": 1, "seed": 2})


class Pair(World):
    """A world of two in this process: 1 speaks before 0, which then sees the rows of both."""

    said: ClassVar[list[np.ndarray]] = []

    def gather(self, values: np.ndarray) -> np.ndarray:
        if self.rank:
            self.said.append(values)
            return np.stack([values, values]).astype(np.float32)
        return np.stack([values, self.said.pop(0)]).astype(np.float32)


def compare(first: dict[str, Any], second: dict[str, Any]) -> None:
    """What process 0 does at a comparison of its facts with those of process 1."""
    Pair.said.clear()
    for rank, own in ((1, second), (0, first)):
        Team(Pair(rank, 2), StopRequest()).expect_same(own)


@pytest.fixture(scope="module")
def tiny(mnist: Mnist) -> Mnist:
    """320 training and 60 test images."""
    some, few = slice(320), slice(60)
    return replace(
        mnist,
        train_images=mnist.train_images[some],
        train_labels=mnist.train_labels[some],
        test_images=mnist.test_images[few],
        test_labels=mnist.test_labels[few],
    )


def set_up(data: Mnist, folder: Path, world: World = ALONE, **given: Any) -> Setup:
    paddle.enable_static()
    own = {"shards": 2, "kernel": "stock", "device": "cpu", "validation_size": 64, **given}
    return prepare(Settings(**own), RunFolder(folder, "run"), [], data, {}, world)


@pytest.fixture(scope="module")
def setup(tiny: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return set_up(tiny, tmp_path_factory.mktemp("setup"))


def other_recipe(setup: Setup) -> Setup:
    return replace(setup, record={**setup.record, "recipe": {**setup.record["recipe"], "ema": 0.5}})


def other_option(setup: Setup) -> Setup:
    return replace(setup, record={**setup.record, "settings": {**setup.record["settings"], "log_every": 7}})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda setup: setup, ""),
        (other_recipe, "recipe"),
        (other_option, "--log-every"),
        (lambda setup: replace(setup, data=replace(setup.data, sums={"train": "0"})), "data"),
        (
            lambda setup: replace(setup, training=Subset(255 - setup.training.images, setup.training.labels)),
            "arithmetic",
        ),
        (lambda setup: replace(setup, backend="fused"), "operators"),
    ],
)
def test_whatever_a_process_has_otherwise_stops_all(
    change: Callable[[Setup], Setup], named: str, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "instruction_set", lambda: "avx2")
    own, other = facts(setup, State()), facts(change(setup), State())
    with pytest.raises(UserError, match=f", got other {named}; ") if named else nullcontext():
        compare(own, other)


@pytest.mark.parametrize("name", ["packages", "python", "commit"])
def test_another_version_stops_all(name: str, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    own = facts(setup, State())
    monkeypatch.setattr(parallel, "_environment", lambda: {**environment(), name: {"paddlepaddle": "2.6.2"}})
    with pytest.raises(UserError, match="got other versions;"):
        compare(own, facts(setup, State()))


def test_another_progress_stops_all(setup: Setup) -> None:
    """The time that the steps took is each process's own."""
    own, other = Progress(passes=2, seconds=1.0), Progress(passes=2, seconds=2.0)
    compare(facts(setup, State(own)), facts(setup, State(other)))
    with pytest.raises(UserError, match="got other progress;"):
        compare(facts(setup, State(own)), facts(setup, State(replace(other, loss=0.5))))


def test_another_seed_is_named_with_all_that_comes_of_it(tiny: Mnist, setup: Setup, tmp_path: Path) -> None:
    other = set_up(tiny, tmp_path, seed=2)
    with pytest.raises(UserError, match="got other network, seed or shards, arithmetic, parameters, --seed;"):
        compare(facts(setup, State()), facts(other, State()))


def test_a_sum_that_sums_nothing_stops_all(tiny: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in fleet's static programs on CPUs: each process takes a step of its own."""
    monkeypatch.setattr(shards, "distributed", SimpleNamespace(all_reduce=lambda rows: None))
    found = []
    for rank in (0, 1):
        one = set_up(tiny, tmp_path / str(rank), World(rank, 2))
        before = facts(one, State())
        own = own_images(64, 2, one.world)
        inputs = network_input(one.training.images[:64], one.image)
        one.engine.train_step(inputs[own], one.training.labels[:64].astype(np.int64), 1e-3)
        found.append((before, facts(one, State())))
    (first, first_after), (second, second_after) = found
    compare(first, second)
    with pytest.raises(UserError, match="got other arithmetic, parameters;"):
        compare(first_after, second_after)


class Quiet(World):
    """A world whose other processes have nothing to add."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        return values


def test_a_process_without_a_batch_of_its_own_takes_part_in_the_evaluation(setup: Setup) -> None:
    assert evaluate(setup.engine, setup.image, setup.test, world=Quiet(1, 2)).log_probabilities.shape == (60, 10)


def test_all_files_that_a_run_continues_from_reach_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = RunFolder(tmp_path / "run")
    files = ["run.json", "results.csv", "steps.csv", "checkpoints/0001-000000/a", "checkpoints/0001-000000/b"]
    for name in files:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text(name)
    sent: list[bytes] = []
    first: Any = SimpleNamespace(world=World(0, 2), share=lambda data: sent.append(data) or data)  # type: ignore[func-returns-value]
    second: Any = SimpleNamespace(world=World(1, 2), share=lambda data: sent.pop(0))
    assert folder_of_process(first, folder, resumed=True) is folder
    other = folder_of_process(second, None, resumed=True)
    assert {name: (other.path / name).read_text() for name in files} == {name: name for name in files}
    assert sent == [] and other.name == folder.name


def test_all_stop_together_and_only_where_they_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()
    team = Team(Others(0, 2), stop)
    try:
        with team.deferred():
            stop._on_signal(signal.SIGTERM, None)
            stop._on_signal(signal.SIGTERM, None)  # a launcher repeats it
            team.check()
            assert not team.requested
            team.agree()
            assert team.requested
            with pytest.raises(Stopped) as stopped:
                team.check()
        assert stopped.value.status == 128 + signal.SIGTERM
    finally:
        team.leave()


def test_a_process_that_ended_is_named(team: Team) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    team._processes = [team._processes[0], (ended.pid, team._processes[0][1])]
    line = str(team.explained(RuntimeError("std::exception")))
    assert line.startswith(f"process 1 ({ended.pid} on ") and "--resume" in line and "\n" not in line


@pytest.mark.parametrize("options", [{"shards": 2}, {"shards": 4, "engine": "numpy", "network": "lenet5_numpy"}])
def test_more_processes_than_shards_and_numpy_are_wrong_use(options: dict) -> None:
    with pytest.raises(UsageError, match=r"--shards 2: expected at least as many as the 4|--engine numpy"):
        expect_shards(Settings(**options), 4)
    with pytest.raises(UsageError, match="--shards 3: expected a power of two"):
        Settings(shards=3)


LONGEST = 900  # seconds for a job of some seconds, on a machine that is busy with forty others


def job(size: int, log: Path, *arguments: object, nodes: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """train.py by Paddle's launcher, or alone for a size of 1 without options for several nodes."""
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(size), "--log_dir", str(log), *nodes]
    return subprocess.Popen(
        [sys.executable, *(launcher if size > 1 or nodes else []), "train.py", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def result(folder: Path) -> tuple[str, list[list[str]]]:
    """SHA-256 of the published parameters, and what results.csv says but for names and times."""
    rows = [line.split(",")[1:12] for line in (folder / "run" / "results.csv").read_text().splitlines()]
    return sha256((folder / "model" / "inference.pdiparams").read_bytes()), rows


def wait_for_passes(number: int, running: subprocess.Popen[bytes], folder: Path) -> None:
    results = folder / "run" / "results.csv"
    while not results.exists() or results.read_text().count("\n") <= number:
        assert running.poll() is None, "the job ended before"
        time.sleep(0.1)


def into(folder: Path) -> tuple[object, ...]:
    return "--run-dir", folder / "run", "--save-dir", folder / "model"


@pytest.fixture(scope="module")
def alone(small_data: Path, script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    assert script("train.py", "--data-dir", small_data, *OPTIONS, *into(folder)).returncode == 0
    return folder


def test_two_processes_train_the_run_of_one(alone: Path, small_data: Path, tmp_path: Path) -> None:
    patient = ("--timeout", 600)  # on a busy machine, a process may get no time for a minute
    assert job(2, tmp_path / "log", "--data-dir", small_data, *OPTIONS, *patient, *into(tmp_path)).wait(LONGEST) == 0
    assert result(tmp_path) == result(alone)
    assert (tmp_path / "run" / "steps.csv").read_bytes() == (alone / "run" / "steps.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_process_ends_the_job_which_others_continue(
    number: int, alone: Path, small_data: Path, tmp_path: Path
) -> None:
    """Begun by 3, of which one is lost; continued by 1 process, and ended by 2."""
    options = [option if option != "2" else "20" for option in OPTIONS]
    more = ["--checkpoint-seconds", "0.5"]
    whole = tmp_path / "whole"
    assert job(1, whole, "--data-dir", small_data, *options, *into(whole)).wait(LONGEST) == 0
    begun = job(3, tmp_path / "log", "--data-dir", small_data, *options, *more, *into(tmp_path))
    wait_for_passes(3, begun, tmp_path)
    (victim,) = [int(p) for p in _processes(begun.pid, "PADDLE_TRAINER_ID=2")]
    os.kill(victim, number)
    assert begun.wait(LONGEST) != 0, "the job ends by itself"
    if Path(f"/proc/{victim}").exists():
        os.kill(victim, signal.SIGKILL)
    assert f"process 2 ({victim} on" in (tmp_path / "log" / "workerlog.0").read_text(errors="replace")
    once = job(1, tmp_path, "--resume", tmp_path / "run")
    wait_for_passes((tmp_path / "run" / "results.csv").read_text().count("\n"), once, tmp_path)
    once.send_signal(signal.SIGTERM)
    once.wait(LONGEST)
    shutil.rmtree(tmp_path / "log")
    assert job(2, tmp_path / "log", "--resume", tmp_path / "run").wait(LONGEST) == 0
    assert result(tmp_path) == result(whole)


@pytest.mark.slow
def test_a_process_that_another_launcher_lost_is_named(small_data: Path, tmp_path: Path) -> None:
    """Two launchers on one machine stand for two machines; each has two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nodes = ("--nnodes", "2", "--master", f"127.0.0.1:{free.getsockname()[1]}")
    options = [option if option != "2" else "200" for option in OPTIONS]
    both = [
        job(2, tmp_path / f"log{each}", "--data-dir", small_data, *options, *into(tmp_path), nodes=nodes)
        for each in (0, 1)
    ]
    wait_for_passes(1, both[0], tmp_path)
    found = [_processes(each.pid, "PADDLE_TRAINER_ID=3") for each in both]
    (victim,) = map(int, [*found[0], *found[1]])
    other = 1 if found[0] else 0
    os.kill(victim, signal.SIGKILL)
    assert [each.wait(LONGEST) != 0 for each in both] == [True, True], "both jobs end by themselves"
    for log in (tmp_path / f"log{other}").glob("workerlog.*"):
        assert f"process 3 ({victim} on" in log.read_text(errors="replace")


def _processes(launcher: int, variable: str) -> list[str]:
    """The processes of a launcher's session that have a variable in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) and b"train.py" in (entry / "cmdline").read_bytes():
                environment = (entry / "environ").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if variable.encode() in environment and parent == launcher:
                    found.append(entry.name)
        except (OSError, ProcessLookupError):
            continue
    return found


# What a script between the launcher and train.py does to a process.
FAULTS = {
    "data": "sys.argv += ['--data-dir', {other!r}] if one else []",
    "network, seed or shards": "sys.argv += ['--seed', '2'] if one else []",
    "--log-every": "sys.argv += ['--log-every', '2'] if one else []",
    "versions": "from common import project; project.__version__ += '.1' if one else ''",
    "operators": "one and os.environ.__setitem__('CONV_POOL_ISA', 'generic')",
    # At the end of the first pass: every process has trained on its own shards alone.
    "arithmetic, progress, parameters": "import model, model.shards as shards, types; "
    "shards.distributed = types.SimpleNamespace(all_reduce=lambda rows: None)",
}


@pytest.mark.slow
@pytest.mark.parametrize("named", FAULTS)
def test_a_process_with_another_seed_or_data_stops_all(named: str, small_data: Path, tmp_path: Path) -> None:
    """Also one with other options, versions or instructions, and a sum that sums nothing."""
    if named == "operators":
        need_fused()
        if instruction_set() == "generic":
            pytest.skip("this processor has no other instructions")
    shutil.copytree(small_data, tmp_path / "other")
    labels = bytearray((tmp_path / "other" / "train-labels-idx1-ubyte").read_bytes())
    labels[-1] = (labels[-1] + 1) % 10
    (tmp_path / "other" / "train-labels-idx1-ubyte").write_bytes(labels)
    (tmp_path / "between.py").write_text(
        "import os, runpy, sys\n"
        f"sys.argv[0], sys.path[0] = {str(ROOT / 'train.py')!r}, {str(ROOT)!r}\n"
        "one = os.environ['PADDLE_TRAINER_ID'] == '1'\n"
        f"{FAULTS[named].format(other=str(tmp_path / 'other'))}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path / "log")]
    done = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "between.py"), *OPTIONS, *map(str, into(tmp_path))],
        cwd=ROOT,
        env={**os.environ, "MNIST_DIR": str(small_data)},
        capture_output=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode != 0
    assert f"got other {named}" in (tmp_path / "log" / "workerlog.0").read_text(errors="replace")
