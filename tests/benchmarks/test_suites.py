"""The benchmark's driver with the project's own competitors; no figure is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.commands import write_data
from benchmarks.goals import goals_table, weaker
from benchmarks.record import quartiles
from benchmarks.report import write_report
from benchmarks.suite import Competitor, CompetitorError, Player, Suite, compete, environment
from benchmarks.suites import FIRST_WRITTEN, MATRIX_PRODUCT, QUICK, SUITES
from data.dataset import Mnist, load_mnist
from model.image import ImageSpec, network_input
from model.predictor import PREDICTION_BATCH, Predictor
from model.saved_model import load_model
from tests.conftest import MODEL, ROOT


@pytest.fixture(scope="module")
def common(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What all competitors get: 2,560 images in two raw files."""
    folder = tmp_path_factory.mktemp("bench")
    (mnist.train_images[:2560, np.newaxis] / np.float32(255)).astype(np.float32).tofile(folder / "images")
    mnist.train_labels[:2560].astype(np.int64).tofile(folder / "labels")
    files = {"images": str(folder / "images"), "labels": str(folder / "labels")}
    return {**files, "size": 28, "network": "conv_pool_bn"}


def quick_run(data: Path, out: Path, *parts: str) -> dict[str, Any]:
    """Run parts of the quick benchmark; returns their record."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", *parts]
    command += ["--data-dir", str(data), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    record: dict[str, Any] = json.loads((out / "benchmarks.json").read_text())
    assert done.returncode == (1 if record["problems"] else 0), done.stderr
    for suite in record["contests"]:
        for result in suite["results"]:
            assert len(result["rates"]) == 2 and min(result["rates"]) > 0
            assert result["peak_bytes"] > 50 << 20
    return record


def labels_of(suites: list[dict[str, Any]], problems: list[str]) -> set[str]:
    """Without a compiler there is no fused kernel, in training or evaluation, and a line for each that says why."""
    return {result["label"] for suite in suites for result in suite["results"]} | {
        problem.split(": ")[1] for problem in problems
    }


def test_quick_run_of_one_part(small_data: Path, tmp_path: Path) -> None:
    record = quick_run(small_data, tmp_path, "commands")
    assert record["contests"] == []
    (trained,) = record["commands"]
    assert trained["correct"] > 250 and trained["seconds"] > 0 and trained["peak_bytes"] > 50 << 20
    assert "**Not every model reached 98.5 %" in (tmp_path / "benchmarks.md").read_text()


@pytest.mark.slow
def test_quick_run_without_peers(small_data: Path, tmp_path: Path) -> None:
    record = quick_run(small_data, tmp_path, "training", "inference", "evaluation", "commands", "cold")
    training, inference, evaluation = record["contests"]
    assert labels_of([training, evaluation], record["problems"]) == {
        "Paddle, fused kernel",
        "Paddle, stock kernels",
        "Paddle, as in tutorials",
        "evaluation program, fused kernel",
        "evaluation program, stock kernel",
    }
    assert labels_of([training], []) >= {"Paddle, stock kernels", "Paddle, as in tutorials"}
    assert {result["batch"] for result in inference["results"]} == {1, 64, 1024}
    assert evaluation["results"]
    (trained,) = record["commands"]
    assert trained["correct"] > 250 and trained["seconds"] > 0 and trained["peak_bytes"] > 50 << 20
    assert len(record["starts"]) == 2 and min(start["infer"] for start in record["starts"]) > 0
    assert [one["pictures"] for one in record["memory"]] == [10, 100]
    assert min(one["peak_bytes"] for one in record["memory"]) > 50 << 20
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| Paddle, as in tutorials |" in page and "**Not every model reached 98.5 %" in page
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_contenders_that_differ_are_not_compared(common: dict[str, object]) -> None:
    suite = Suite("test", "test", [FIRST_WRITTEN, MATRIX_PRODUCT[0]], [128], rounds=1, turn_seconds=0.01)
    with pytest.raises(
        CompetitorError, match=r"matrix product, numpy: after two steps .* they do not compute the same"
    ):
        compete(suite, threads=1, common=common, peers=None)


def test_a_contender_that_cannot_start_is_named_and_the_others_go_on(common: dict[str, object]) -> None:
    missing = Competitor("missing", "no_such_module")
    suite = Suite("test", "test", [missing, FIRST_WRITTEN], [64, 32], rounds=3, turn_seconds=0.01)
    results, problems = compete(suite, threads=1, common=common, peers=None)
    assert [(result.batch, result.threads, len(result.rates)) for result in results] == [(64, 1, 3), (32, 1, 3)]
    assert len(problems) == 1 and problems[0].startswith("missing: ") and "no_such_module" in problems[0]


def test_a_resting_contender_is_stopped(common: dict[str, object]) -> None:
    player = Player(MATRIX_PRODUCT[0], Path(sys.executable), 1, common)
    try:
        player.ask(batch=16, steps=1)
        status = Path(f"/proc/{player.process.pid}/status").read_text()
        assert "State:\tT" in status
        assert os.sched_getaffinity(player.process.pid) == set(sorted(os.sched_getaffinity(0))[:1])
    finally:
        player.close()


def test_variables_that_steer_libraries_do_not_reach_contenders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    found = environment({"MALLOC_TOP_PAD_": "2"})
    assert "OMP_NUM_THREADS" not in found and found["MALLOC_TOP_PAD_"] == "2" and found["PATH"] == os.environ["PATH"]


def test_repeated_data_are_a_data_set(mnist: Mnist, tmp_path: Path) -> None:
    small = Mnist(mnist.train_images[:300], mnist.train_labels[:300], mnist.test_images, mnist.test_labels, {}, "")
    repeated = load_mnist(write_data(small, tmp_path / "data", 700))
    assert repeated.train_images.shape == (700, 28, 28) and repeated.test_images.shape == (10_000, 28, 28)
    np.testing.assert_array_equal(repeated.train_images[600:], mnist.train_images[:100])
    np.testing.assert_array_equal(repeated.train_labels[300:600], mnist.train_labels[:300])


def test_ratios_are_those_of_rounds(tmp_path: Path) -> None:
    # In the second of three rounds the machine was ten times slower for both.
    rates = {
        "Paddle, fused kernel": [40.0, 4.0, 44.0],
        "PyTorch eager": [10.0, 1.0, 10.0],
        "PyTorch compile": [8.0] * 3,
    }
    results = [
        {"label": label, "batch": 128, "threads": 2, "rates": of, "facts": {}, "peak_bytes": 1 << 20}
        for label, of in rates.items()
    ]
    machine = {"processor": "a processor", "cores": 2, "system": "a system"}
    record = {
        "environment": {"machine": machine, "python": "3.11", "commit": None},
        "load": [0.0, 0.0, 0.0],
        "minutes": 0.1,
        "contests": [{"name": "training", "title": "Training", "results": results}],
    }
    write_report(record, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| training conv_pool_bn: × PyTorch eager | ≥ 3.3 | 4.00 (4.00 to 4.20) | 3 | yes |" in page
    assert "| PyTorch eager | 10 (6 to 10) | 4.00 (4.00 to 4.20) | 1 MiB |" in page


def record_of(*commands: dict[str, object]) -> dict[str, Any]:
    """A benchmark's record with whole commands alone."""
    machine = {"processor": "a processor", "cores": 2, "system": "a system"}
    environment = {"machine": machine, "python": "3.11", "commit": None}
    return {"environment": environment, "load": [0.0], "minutes": 1, "contests": [], "commands": list(commands)}


@pytest.mark.parametrize(("theirs", "met"), [(9850, "yes"), (9849, "no")])
def test_seconds_count_only_if_every_model_is_good(theirs: int, met: str) -> None:
    ours = {"label": "Paddle, train.py", "seconds": 5.0, "correct": 9900}
    record = record_of(ours, {"label": "PyTorch, script", "seconds": 10.0, "correct": theirs})
    (row,) = goals_table(record).splitlines()[2:]
    assert row.endswith(f"| ≤ 0.6 | 0.50 (0.50 to 0.50) | 1 | {met} |")


def test_where_a_peer_is_faster_is_said() -> None:
    sizes = ((10_000, 3.3, 3.1), (60_000, 4.0, 8.0))
    images = [
        {"label": label, "images": images, "seconds": seconds, "peak_bytes": 1 << 20}
        for images, ours, theirs in sizes
        for label, seconds in (("Paddle, train.py", ours), ("PyTorch, script", theirs))
    ]
    rates = {"Paddle Inference": [10.0, 1.0], "ONNX Runtime": [20.0, 2.0], "PyTorch eager": [5.0, 0.5]}
    results = [
        {"label": label, "batch": 1, "rates": of, "facts": {}, "peak_bytes": 1 << 20} for label, of in rates.items()
    ]
    suites = [{"name": "inference", "title": "Inference", "results": results}]
    assert weaker({**record_of(), "images": images, "contests": suites}) == [
        "Inference, batch 1: ONNX Runtime is 2.00 × as fast.",
        "Command to saved model, one pass over 10,000 images: 3.3 s, the PyTorch script 3.1 s.",
    ]


def test_the_best_of_onnx_runtime_is_the_measure() -> None:
    labels = {"Paddle Inference": 30.0, "ONNX Runtime": 15.0, "ONNX Runtime, 64 at a time": 20.0}
    results = [{"label": label, "batch": 1024, "rates": [rate], "facts": {}} for label, rate in labels.items()]
    record = {**record_of(), "contests": [{"name": "inference", "title": "Inference", "results": results}]}
    (row,) = goals_table(record).splitlines()[2:]
    assert row == "| inference at batch 1024: × ONNX Runtime, 64 at a time | ≥ 1.2 | 1.50 (1.50 to 1.50) | 1 | yes |"


def test_images_at_a_time_do_not_change_the_answers(mnist: Mnist) -> None:
    model = load_model(MODEL)
    images = network_input(mnist.test_images[:10], ImageSpec(size=28, low=-1.0, high=1.0, fit="none"))
    whole, cut = (Predictor(model, batch=batch).probabilities(images) for batch in (PREDICTION_BATCH, 3))
    np.testing.assert_allclose(cut, whole, rtol=1e-5, atol=1e-6)


def test_quartiles() -> None:
    assert quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)


def test_every_part_that_can_be_asked_for_is_in_the_full_run() -> None:
    assert {suite.name for suite in QUICK} <= {suite.name for suite in SUITES}
    assert all((ROOT / f"benchmarks/competitors/{c.module}.py").exists() for one in SUITES for c in one.competitors)
