"""Nothing is lost: a few points of the kill test (tests/reliability), and all that needs no training process."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.checksummed import dump_checksummed, load_checksummed
from common.errors import UserError
from common.files import remove_leftovers, write_file
from data.dataset import Subset
from model.saved_model import ModelError, load_model, read_model
from model.scoring import Scores, evaluate
from results.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from results.log import read_results
from results.run_folder import ARITHMETIC, RunFolder
from tests.conftest import ROOT, Script
from tests.models import write_model
from tests.reliability.kill_test import KillTest
from tests.reliability.order import Order
from tests.reliability.processes import Fault, Trainer, differences, new_run
from training import loop
from training.loop import TrainingError, train
from training.same_run import continued, restore_arithmetic
from training.same_run import differences as differing
from training.settings import Settings


@pytest.fixture(scope="module")
def shared_kill_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillTest]:
    """Disturbs real training processes; its reference is a run that a process of its own made, undisturbed."""
    if not shutil.which("gcc"):
        pytest.skip("faults are placed by a small library, and there is no C compiler to build it")
    work = tmp_path_factory.mktemp("kill_test")
    with Trainer(work) as trainer:
        yield KillTest(work, trainer)


@pytest.fixture
def kill_test(shared_kill_test: KillTest) -> KillTest:
    """The same for all tests, without what went wrong in those before."""
    shared_kill_test.wrong.clear()
    return shared_kill_test


def killed_at(kill_test: KillTest, call: int) -> Path:
    """A run of the reference's settings that was killed at a call; killed once, and copied for each further test."""
    folder, kept = kill_test.work / f"killed at {call}", kill_test.work / f"kept from {call}"
    if kept.exists():
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        return folder
    kill_test.fresh(folder.name)
    ended = kill_test.trainer.run(kill_test.arguments(folder), folder, Fault(call, -signal.SIGKILL))
    assert ended.status == -signal.SIGKILL
    shutil.copytree(folder, kept)
    return folder


@pytest.fixture
def killed(kill_test: KillTest) -> Path:
    """A run that was killed in the middle, with two checkpoints."""
    folder = killed_at(kill_test, 200)
    assert len(list((folder / "run" / "checkpoints").glob("[0-9]*"))) == 2
    return folder


@pytest.fixture(scope="module")
def calls(shared_kill_test: KillTest) -> int:
    """How many calls of an undisturbed run change files."""
    return shared_kill_test.calls()


@pytest.fixture
def killed_at_the_end(kill_test: KillTest, calls: int) -> Path:
    """A run that was killed when its last checkpoint was written, 3 calls before its model is published."""
    return killed_at(kill_test, calls - 47)


FAST = [(11, signal.SIGKILL), (3, signal.SIGTERM)]


# Of some 400 calls: amid the first checkpoint, amid another, between log and model at a pass's end.
@pytest.mark.parametrize("call", [24, 118, 207])
def test_a_killed_run_goes_on_bit_for_bit(kill_test: KillTest, call: int) -> None:
    kills = kill_test.counts["kills"]
    kill_test.kill_at(call)
    assert not kill_test.wrong and kill_test.counts["kills"] == kills + 1


# Before the last call, of 20 with which the last figures are written.
@pytest.mark.parametrize(
    ("before", "number"),
    [
        pytest.param(before, number, marks=() if (before, number) in FAST else pytest.mark.slow)
        for before in (19, 15, 11, 7, 3)
        for number in (signal.SIGKILL, signal.SIGTERM)
    ],
)
def test_a_run_killed_or_stopped_while_its_last_figures_are_drawn_gets_them(
    kill_test: KillTest, calls: int, before: int, number: signal.Signals
) -> None:
    if number == signal.SIGKILL:
        kill_test.kill_at(calls - before)
    else:
        kill_test.stop_at(calls - before, number)
    assert not kill_test.wrong


@pytest.mark.parametrize("no_exchange", [False, True])
def test_all_is_synced_before_it_gets_its_name_and_the_name_right_after(kill_test: KillTest, no_exchange: bool) -> None:
    folder, log = kill_test.fresh("logged"), kill_test.work / "calls"
    log.unlink(missing_ok=True)
    fault = Fault(no_exchange=no_exchange, log=log)
    assert kill_test.trainer.run(kill_test.arguments(folder), folder, fault).status == 0
    order = Order.of(log)
    assert order.wrong == [] and order.renames > 20
    assert ("exchange\t" in log.read_text()) != no_exchange


def test_killed_again_while_resuming_and_where_folders_cannot_be_exchanged(kill_test: KillTest) -> None:
    kill_test.kill_resuming_at(17)
    kill_test.kill_at(211, no_exchange=True)
    assert not kill_test.wrong


@pytest.mark.parametrize(("call", "code"), [(2, errno.EROFS), (150, errno.ENOSPC), (330, errno.EIO)])
def test_a_disk_that_refuses_is_one_line_and_nothing_is_lost(kill_test: KillTest, call: int, code: int) -> None:
    kill_test.deny_from(call, code)
    assert not kill_test.wrong


@pytest.mark.parametrize(("call", "number"), [(1, signal.SIGTERM), (54, signal.SIGINT)])
def test_a_signal_saves_and_leaves_with_its_status(kill_test: KillTest, call: int, number: signal.Signals) -> None:
    kill_test.stop_at(call, number)
    assert not kill_test.wrong and kill_test.counts["signals"]


def test_every_saved_file_is_read_whole_or_refused(kill_test: KillTest) -> None:
    random.seed(1)
    kill_test.damage(trials=400)
    assert not kill_test.wrong and kill_test.counts["damages refused"] >= 400


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(kill_test: KillTest, killed: Path) -> None:
    before, newest = sorted((killed / "run" / "checkpoints").glob("[0-9]*"))
    state = newest / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    ended = kill_test.trainer.run(["--resume", killed / "run"])
    assert (ended.status, ended.errors) == (0, "")
    assert f"checkpoint {newest} refused: state.safetensors does not match manifest.json" in ended.output
    assert not differences(killed, kill_test.reference)
    assert before.exists() is False  # two newer ones are there


def test_without_a_whole_checkpoint_the_run_is_refused(kill_test: KillTest, killed: Path) -> None:
    for manifest in (killed / "run" / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()
    log = (killed / "run" / "results.csv").read_bytes()
    for resumed in range(2):
        ended = kill_test.trainer.run(["--resume", killed / "run"])
        assert ended.status == 1 and len(ended.errors.splitlines()) == 1
        assert ("expected a checkpoint" if resumed else "no usable checkpoint") in ended.errors
        shutil.rmtree(killed / "run" / "checkpoints", ignore_errors=True)
    assert (killed / "run" / "results.csv").read_bytes() == log


def test_an_altered_results_log_is_restored(kill_test: KillTest, killed: Path) -> None:
    log = killed / "run" / "results.csv"
    log.write_bytes(log.read_bytes()[:-200] + b"9" * 199 + b"\n")
    ended = kill_test.trainer.run(["--resume", killed / "run"])
    assert ended.status == 0 and f"{log}: altered or lost; restored" in ended.output
    assert not differences(killed, kill_test.reference)


def test_a_swapped_model_is_not_published(kill_test: KillTest, killed_at_the_end: Path) -> None:
    """The checkpoint, not the folder, says which model is the best."""
    folder = killed_at_the_end
    shutil.rmtree(folder / "run" / "inference_model")
    shutil.copytree(kill_test.old_model, folder / "run" / "inference_model")
    ended = kill_test.trainer.run(["--resume", folder / "run"])
    assert (ended.status, ended.errors) == (0, "")
    assert not differences(folder, kill_test.reference)


def test_other_data_is_refused(kill_test: KillTest, killed: Path, small_data: Path) -> None:
    ended = kill_test.trainer.run(["--resume", killed / "run", "--data-dir", small_data])
    assert ended.status == 1 and str(small_data) in ended.errors and "got other data" in ended.errors


def test_one_folder_one_process(kill_test: KillTest, killed: Path) -> None:
    with RunFolder(killed / "run").locked():
        ended = kill_test.trainer.run(["--resume", killed / "run"])
    assert ended.status == 1 and f"process {os.getpid()} is training in this folder" in ended.errors


def test_a_finished_run_says_so(kill_test: KillTest) -> None:
    before = (kill_test.reference / "run" / "run.json").read_bytes()
    ended = kill_test.trainer.run(["--resume", kill_test.reference / "run"])
    assert (ended.status, ended.errors) == (0, "") and len(ended.output.splitlines()) == 1
    assert "this run is finished: 2 passes" in ended.output
    assert (kill_test.reference / "run" / "run.json").read_bytes() == before


def test_a_new_run_never_begins_in_a_folder_with_one(kill_test: KillTest) -> None:
    run = kill_test.reference / "run"
    ended = kill_test.trainer.run(new_run(kill_test.reference, kill_test.data))
    assert ended.status == 2 and f"continue it with --resume {run}" in ended.errors


@pytest.mark.parametrize(("option", "value", "said"), [("--seed", 5, "--seed: the run"), ("--passes", 1, "has done 2")])
def test_what_may_not_change_is_refused_and_nothing_is_changed(
    kill_test: KillTest, killed_at_the_end: Path, option: str, value: int, said: str
) -> None:
    killed = killed_at_the_end
    record = (killed / "run" / "run.json").read_bytes()
    ended = kill_test.trainer.run(["--resume", killed / "run", option, value])
    assert ended.status == 2 and said in ended.errors and len(ended.errors.splitlines()) == 1
    assert (killed / "run" / "run.json").read_bytes() == record


def test_sigterm_reaches_a_process_that_imported_paddle_itself(small_data: Path, tmp_path: Path) -> None:
    """Importing Paddle takes SIGTERM; the processes above were forked after that."""
    command = [sys.executable, str(ROOT / "train.py"), "--data-dir", str(small_data), "--validation-size", "2400"]
    command += ["--passes", "10000", "--log-every", "1", "--figures", "none"]
    command += ["--run-dir", str(tmp_path / "run"), "--save-dir", str(tmp_path / "m")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("2/"):
            process.send_signal(signal.SIGTERM)
            break
    output, errors = process.communicate()
    assert (process.returncode, errors) == (143, "")
    assert "stopped by SIGTERM, everything is saved" in output


def test_a_second_signal_leaves_at_once() -> None:
    program = """
import os, signal
from common.signals import catch_signals
with catch_signals() as stop, stop.deferred():
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.requested
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


@pytest.mark.parametrize(
    ("losses", "best"),
    [([0.5, 0.5, 0.5], [True, False, False]), ([0.5, 0.4, 0.4], [True, True, False])],
)
def test_equal_losses_choose_the_first(
    losses: list[float], best: list[bool], small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_losses(monkeypatch, losses)
    settings = Settings(data_dir=small_data, validation_size=2400, passes=3, save_dir=tmp_path / "model")
    outcome = train(settings, RunFolder(tmp_path / "run"))
    rows, _ = read_results(tmp_path / "run" / "results.csv")
    assert [row.best for row in rows] == best and outcome.best_pass == max(n for n, b in enumerate(best, 1) if b)


@pytest.mark.parametrize("losses", [[float("nan")], [0.5, float("inf")]])
def test_a_loss_that_is_no_number_is_never_the_best(
    losses: list[float], small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_losses(monkeypatch, losses)
    settings = Settings(data_dir=small_data, validation_size=2400, passes=3, save_dir=tmp_path / "model")
    with pytest.raises(TrainingError, match=r"validation loss is (nan|inf) at learning rate 0.001"):
        train(settings, RunFolder(tmp_path / "run"))
    kept = tmp_path / "run" / "inference_model"
    passes = [load_model(folder).card["pass"] for folder in (kept, tmp_path / "model") if folder.exists()]
    assert passes == [1] * (len(losses) - 1)
    assert not (tmp_path / "model").exists()


def _with_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let validation have these losses, one after the other; answers and all else stay real."""
    remaining = iter(losses)

    def with_loss(scorer: Any, image: Any, subset: Subset, *check: Callable[[], None], **named: Any) -> Scores:
        scores = evaluate(scorer, image, subset, *check, **named)
        if len(subset.labels) != 2400:
            return scores
        return replace(scores, loss=next(remaining))

    monkeypatch.setattr(loop, "evaluate", with_loss)


def test_each_bit_of_sealed_json_counts() -> None:
    data = dump_checksummed({"name": "ab", "scores": [0.1, 1e-7, 3], "none": None, "ü": {"a": True}})
    assert load_checksummed(data)["scores"] == [0.1, 1e-7, 3]
    for position in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError):
            load_checksummed(bytes(flipped))
    for length in range(len(data)):
        with pytest.raises(ValueError):
            load_checksummed(data[:length])
    with pytest.raises(ValueError):
        load_checksummed(data + b"\n")


def test_checkpoints_keep_arrays_exactly_and_two_of_them(tmp_path: Path) -> None:
    arrays = {"scalar": np.float32(0.1).reshape(()), "odd": np.arange(12, dtype=np.int64).reshape(3, 4).T}
    arrays["nan"] = np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)
    names = ["0000-000000", "0000-000007", "0001-000000", "0012-000003"]
    before = ""
    for name in names:
        passes, steps = map(int, name.split("-"))
        save_checkpoint(tmp_path, Checkpoint(name, arrays, {"passes": passes, "steps": steps}, b"log"), before)
        before = name
    assert sorted(path.name for path in tmp_path.iterdir()) == names[2:]
    read, refused = load_checkpoint(tmp_path)
    assert read is not None and (read.name, read.log, refused) == (names[3], b"log", [])
    for name, array in arrays.items():
        assert read.arrays[name].dtype == array.dtype and read.arrays[name].shape == array.shape
        assert read.arrays[name].tobytes() == np.ascontiguousarray(array).tobytes()


def test_a_swapped_checkpoint_is_refused(tmp_path: Path) -> None:
    for name, before in (("0001-000000", ""), ("0002-000000", "0001-000000")):
        progress = {"passes": int(name[:4]), "steps": 0}
        save_checkpoint(tmp_path, Checkpoint(name, {}, progress, b""), before)
    shutil.rmtree(tmp_path / "0002-000000")
    shutil.copytree(tmp_path / "0001-000000", tmp_path / "0002-000000")
    read, refused = load_checkpoint(tmp_path)
    assert read is not None and read.name == "0001-000000"
    assert len(refused) == 1 and "pass 1 and step 0, under another's name" in refused[0]


CARD = {
    "input": {"shape": [-1, 1, 28, 28], "low": 0.0, "high": 1.0, "fit": "none"},
    "labels": [str(digit) for digit in range(10)],
}


def test_files_of_two_models_do_not_mix(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_model(tmp_path / name, b"program", name.encode(), CARD)
    shutil.copy(tmp_path / "b" / "inference.pdiparams", tmp_path / "a")
    with pytest.raises(ModelError, match="altered or damaged"):
        read_model(tmp_path / "a")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_reader_finds_the_old_folder_or_the_new_one(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each call that renames, what is there is whole; without exchange it may be away for that one instant."""
    if not exchange:
        monkeypatch.setattr("common.files.ctypes.CDLL", lambda *_, **__: object())
    write_model(tmp_path / "model", b"program", b"old", CARD)
    found: list[bytes | None] = []

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if looking and event in ("os.rename", "shutil.rmtree", "open", "os.remove"):
            looking.clear()  # the look itself opens files
            there = (tmp_path / "model").exists()
            found.append(read_model(tmp_path / "model").parameters if there else None)
            looking.append(True)

    looking = [True]
    sys.addaudithook(look)
    write_model(tmp_path / "model", b"program", b"new", CARD)
    looking.clear()
    whole = [parameters for parameters in found if parameters is not None]
    assert whole == sorted(whole, reverse=True) and set(whole) == {b"old", b"new"}
    assert found.count(None) == (0 if exchange else 1)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_dead_process_left_is_removed_or_gets_its_name_back(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [f".a.new.tmp-{os.getppid()}-0123abcd", ".hidden", "file.tmp-1-0123abcd", ".c.new.tmp-x-0123abcd"]
    for name in kept:
        (tmp_path / name).write_text("kept")
    (tmp_path / f".results.csv.new.tmp-{dead.pid}-0123abcd").write_text("half")
    for name in (f".model.old.tmp-{dead.pid}-0123abcd", f".model.new.tmp-{dead.pid}-0123abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "model"])
    assert ".old." in (tmp_path / "model" / "file").read_text()


def test_a_failed_write_names_its_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for use in (lambda: write_file(tmp_path / "a", b"new"), lambda: write_model(tmp_path / "b", b"", b"", CARD)):
        with pytest.raises(OSError, match="No space left") as error:
            use()
        assert Path(error.value.filename).name in ("a", "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_threads_are_restored_and_differences_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    arithmetic = {"OMP_NUM_THREADS": "3", "LD_PRELOAD": "x", "CONV_POOL_ISA": "\0"}
    begun: dict[str, Any] = {
        "settings": {},
        "device": "cpu",
        "kernel": "fused",
        "environment": {"arithmetic": arithmetic, "packages": {"numpy": "2"}},
    }
    folder.write_record(begun)
    for name in ARITHMETIC:
        monkeypatch.setenv(name, "7")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    restore_arithmetic(folder)
    assert {name: os.environ[name] for name in (*ARITHMETIC, "LD_PRELOAD") if name in os.environ} == {
        "OMP_NUM_THREADS": "3"
    }
    assert list(differing(begun, begun)) == []
    (line,) = differing(begun, {**begun, "kernel": "stock"})
    assert line.startswith("kernel: the run began with fused and goes on with stock")
    for name in ("packages", "machine", "commit", "arithmetic"):
        other = {"processor": "another"} if name == "machine" else "another"
        (told,) = differing(begun, {**begun, "environment": {**begun["environment"], name: other}})
        assert told.startswith("processor: " if name == "machine" else f"{name}: ") and "with another: the" in told
    for noted, kept in ((["earlier"], ["earlier"]), (7, [])):  # a stranger's record may hold anything there
        record = continued({**begun, "resumed": noted}, {"settings": {}, "recipe": {}}, [line])
        assert record["resumed"] == [*kept, line]


def test_a_record_that_was_altered_is_not_resumed_from(tmp_path: Path, script: Script) -> None:
    folder = RunFolder(tmp_path)
    folder.write_record({"run": "a", "settings": {"seed": 1}})
    folder.record.write_text(folder.record.read_text().replace('"seed": 1', '"seed": 2'))
    assert json.loads(folder.record.read_text())["settings"]["seed"] == 2
    with pytest.raises(UserError, match=r"run\.json: expected the record of a run, got: altered"):
        folder.read_record(whole=True)
