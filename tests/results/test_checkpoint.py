"""A checkpoint belongs to one run, and its counters are believed only if a run can have them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from common.checksummed import dump_checksummed, load_checksummed
from common.errors import UserError
from common.files import sha256
from data.dataset import Mnist
from results.checkpoint import LOG, MANIFEST, PROGRESS, STATE, Checkpoint, load_checkpoint, save_checkpoint
from results.run_folder import RunFolder
from training.callbacks.callback import Callback
from training.loop import train
from training.settings import Settings

NEWEST = "0002-000000"


@pytest.fixture(scope="module")
def tiny() -> Mnist:
    """A few pictures of noise: enough to count passes."""
    noise = np.random.default_rng(0)
    images, labels = noise.integers(0, 256, (96, 28, 28), np.uint8), noise.integers(0, 10, 96).astype(np.uint8)
    return Mnist(images, labels, images[:20], labels[:20], {"all": "0"}, "noise")


def settings(folder: Path, **options: Any) -> Settings:
    given: dict[str, Any] = {
        "network": "lenet5_numpy",
        "engine": "numpy",
        "validation_size": 32,
        "passes": 2,
        "device": "cpu",
    }
    return Settings(**given | {"save_dir": folder / "model"} | options)


@pytest.fixture(scope="module")
def runs(tiny: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two passes: `one`, and `two/one` of the same name but of seed 2."""
    folder = tmp_path_factory.mktemp("runs")
    train(settings(folder), RunFolder(folder / "one"), data=tiny)
    train(settings(folder, seed=2), RunFolder(folder / "two" / "one"), data=tiny)
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(runs / "one", tmp_path / "one")
    return RunFolder(tmp_path / "one")


class Lines(Callback):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_message(self, line: str) -> None:
        self.lines.append(line)


def resume(run: RunFolder, tiny: Mnist, **options: Any) -> list[str]:
    """Go on for a third pass; returns what is said of checkpoints."""
    said = Lines()
    train(settings(run.path.parent, passes=3, resume=run.path, **options), run, [said], data=tiny)
    return [line for line in said.lines if " refused: " in line]


def alter(checkpoint: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of a checkpoint and make its checksum fit."""
    data = change((checkpoint / name).read_bytes())
    (checkpoint / name).write_bytes(data)
    manifest = load_checksummed((checkpoint / MANIFEST).read_bytes())
    (checkpoint / MANIFEST).write_bytes(
        dump_checksummed({**manifest, name: {"bytes": len(data), "sha256": sha256(data)}})
    )


def without_the_others(run: RunFolder) -> Path:
    for folder in run.checkpoints.iterdir():
        if folder.name != NEWEST:
            shutil.rmtree(folder)
    return run.checkpoints / NEWEST


def test_a_run_goes_on_from_its_own(run: RunFolder, tiny: Mnist) -> None:
    assert resume(run, tiny) == []
    assert (run.checkpoints / "0003-000000").is_dir()


def test_a_checkpoint_of_another_run_is_refused_though_its_name_and_data_are_the_same(
    run: RunFolder, runs: Path, tiny: Mnist
) -> None:
    shutil.rmtree(run.checkpoints)
    shutil.copytree(runs / "two" / "one" / "checkpoints", run.checkpoints)
    with pytest.raises(UserError, match=rf"no usable checkpoint: .*{NEWEST} refused: it is that of another run"):
        resume(run, tiny)


def test_a_checkpoint_of_other_data_is_refused_though_its_name_and_settings_are_the_same(
    run: RunFolder, tiny: Mnist
) -> None:
    other = RunFolder(run.path.parent / "other" / "one")
    train(settings(run.path.parent), other, data=replace(tiny, sums={"all": "1"}))
    shutil.rmtree(run.checkpoints)
    shutil.copytree(other.checkpoints, run.checkpoints)
    with pytest.raises(UserError, match=rf"no usable checkpoint: .*{NEWEST} refused: it is that of another run"):
        resume(run, tiny)


def test_of_several_the_runs_own_is_taken(run: RunFolder, runs: Path, tiny: Mnist) -> None:
    shutil.rmtree(run.checkpoints / NEWEST)
    shutil.copytree(runs / "two" / "one" / "checkpoints" / NEWEST, run.checkpoints / NEWEST)
    [line] = resume(run, tiny)
    assert line == f"checkpoint {run.checkpoints / NEWEST} refused: it is that of another run"
    assert (run.checkpoints / "0003-000000").is_dir()


def as_of_c93bf08(run: RunFolder) -> None:
    """Take away what that commit did not write."""
    run.write_record({name: value for name, value in run.read_record().items() if name != "id"})
    for checkpoint in run.checkpoints.iterdir():
        manifest = load_checksummed((checkpoint / MANIFEST).read_bytes())
        (checkpoint / MANIFEST).write_bytes(
            dump_checksummed({name: v for name, v in manifest.items() if name != "run"})
        )


def test_an_old_run_is_bound_by_its_name(run: RunFolder, runs: Path, tiny: Mnist, tmp_path: Path) -> None:
    as_of_c93bf08(run)
    shutil.copytree(run.path, tmp_path / "other")
    with pytest.raises(UserError, match="it is that of another run"):
        resume(RunFolder(tmp_path / "other"), tiny)
    assert resume(run, tiny) == []
    assert "id" not in run.read_record()


def test_a_run_keeps_its_checkpoints_when_its_folder_is_renamed(run: RunFolder, tiny: Mnist, tmp_path: Path) -> None:
    run.path.rename(tmp_path / "renamed")
    assert resume(RunFolder(tmp_path / "renamed", name="one"), tiny) == []


def test_what_may_change_does_not_unbind(run: RunFolder, tiny: Mnist, tmp_path: Path) -> None:
    assert resume(run, tiny, figures="none", save_dir=tmp_path / "elsewhere") == []


def changed(name: str, value: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        progress = json.loads(data)
        *outer, last = name.split(".")
        inner = progress
        for part in outer:
            inner = inner[part]
        inner[last] = value
        return json.dumps(progress).encode()

    return change


WRONG: dict[str, list[Any]] = {
    "loss": ["0", None, True, float("nan"), float("inf"), [0.0]],
    "correct": [-1, 1, 0.5, "0", True, None, 10**400],
    "images": [-1, 1, 64, "0", False, None],
    "seconds": [-1.0, "x", None, float("nan")],
    "last_finite_loss": ["x", True, float("inf"), []],
    "best_pass": [0, -1, 3, 10**9, 1.0, "1", None, True],
    "best_measure": [None, "x", float("nan"), True],
    "best_answers": ["", "x", 7, None, "0" * 63],
    "patience": ["x", float("inf"), True, {}],
    "lowest_error": ["x", -0.1, 1.1, float("nan")],
    "best_confidence": [None, [], {}, "x", 1],
    "best_confidence.temperature": [0, -1, 1e9, "1", None, True, float("nan")],
    "best_confidence.calibration": [None, [], "x"],
    "best_confidence.calibration.test": [None, {}, 1],
    "best_confidence.calibration.validation.after": [-0.1, 1.1, "0", None, float("nan")],
    "best_confidence.rejection": [None, [], {}],
    "best_confidence.rejection.test.errors": [-1, 21, 0.5, "0"],
    "best_confidence.rejection.validation.reject_below": [None, 0.5, [], ["x"], [2.0] * 99],
    "best_confidence.rejection.validation.images": [-1, 0, "32", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_counter_that_no_run_can_have_is_one_line(run: RunFolder, tiny: Mnist, name: str, value: Any) -> None:
    newest = without_the_others(run)
    before = run.results.read_bytes()
    alter(newest, PROGRESS, changed(name, value))
    field = name.partition(".")[0]
    with pytest.raises(
        UserError, match=f"no usable checkpoint: .*{field}: expected a value that a run can have"
    ) as said:
        resume(run, tiny)
    assert "\n" not in str(said.value)
    assert run.results.read_bytes() == before


@pytest.mark.parametrize(("name", "value"), [("passes", v) for v in (-1, "2", 2.5, None)] + [("steps", "0")])
def test_a_place_that_no_run_can_be_at_is_one_line(run: RunFolder, tiny: Mnist, name: str, value: Any) -> None:
    alter(without_the_others(run), PROGRESS, changed(name, value))
    with pytest.raises(UserError, match="no usable checkpoint: ") as said:
        resume(run, tiny)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("progress", [b"{}", b"[]", b"nonsense", b'{"passes": 2, "steps": 0}'])
def test_counters_of_another_kind_are_one_line(run: RunFolder, tiny: Mnist, progress: bytes) -> None:
    alter(without_the_others(run), PROGRESS, lambda data: progress)
    with pytest.raises(UserError, match="no usable checkpoint: "):
        resume(run, tiny)


@pytest.mark.parametrize("change", ["lost", "more", "shape"])
@pytest.mark.parametrize("name", ["best/conv1.weight", "state/conv1.weight"])
def test_arrays_of_another_network_are_one_line(run: RunFolder, tiny: Mnist, name: str, change: str) -> None:
    def other(data: bytes) -> bytes:
        arrays = safetensors.numpy.load(data)
        array = arrays.pop(name)
        if change != "lost":
            arrays |= {name: array[1:]} if change == "shape" else {name: array, f"{name}.more": array}
        return safetensors.numpy.save(arrays)

    alter(without_the_others(run), STATE, other)
    with pytest.raises(UserError, match=rf"no usable checkpoint: .*{name}.*: expected the arrays of this network"):
        resume(run, tiny)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_a_log_that_lacks_passes_is_one_line(run: RunFolder, tiny: Mnist, keep: int) -> None:
    before = run.results.read_bytes()
    alter(without_the_others(run), LOG, lambda data: b"".join(data.splitlines(keepends=True)[:keep]))
    with pytest.raises(UserError, match=rf"results\.csv: expected 2 passes, got {max(0, keep - 1)}"):
        resume(run, tiny)
    assert run.results.read_bytes() == before


def test_a_damaged_counter_costs_one_checkpoint_not_the_run(run: RunFolder, tiny: Mnist) -> None:
    alter(run.checkpoints / NEWEST, PROGRESS, changed("correct", -1))
    [line] = resume(run, tiny)
    assert "correct: expected a value that a run can have, got -1" in line


def test_a_copy_under_a_later_name_is_refused_and_the_one_before_it_used(tmp_path: Path) -> None:
    kept = Checkpoint("0001-000000", {"a": np.ones(4, np.float32)}, {"passes": 1, "steps": 0}, b"log")
    save_checkpoint(tmp_path, kept, "")
    copy = shutil.copytree(tmp_path / kept.name, tmp_path / "0009-000000")
    found, refused = load_checkpoint(tmp_path)
    assert found is not None and found.name == kept.name
    assert refused == [f"checkpoint {copy} refused: it is that of pass 1 and step 0, under another's name"]


@pytest.mark.parametrize("name", [STATE, PROGRESS, LOG])
def test_a_changed_byte_of_a_file_is_noticed_though_its_size_is_the_same(name: str, tmp_path: Path) -> None:
    arrays = {"a": np.ones(4, np.float32)}
    save_checkpoint(tmp_path, Checkpoint("0001-000000", arrays, {"passes": 1, "steps": 0, "x": 5}, b"log"), "")
    path = tmp_path / "0001-000000" / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1  # of the last number of an array, of a blank or a digit, of the log
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{name} does not match {MANIFEST}: altered or damaged"):
        load_checkpoint(tmp_path)
