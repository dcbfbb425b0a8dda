"""A run of lenet_row: rows made of the digits, scored by rows and digits, resumed, and its model for rows alone."""

from __future__ import annotations

import csv
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from common.signals import Stopped, StopRequest
from data.dataset import Mnist, Subset
from data.row_sets import RowSet
from model.feature_maps import FeatureMaps
from model.onnx import OnnxPredictor, agreement_in
from model.predictor import Predictor
from model.saved_model import ModelError, load_model
from model.scoring import LONGEST_ANSWER, UNREAD
from results.log import read_results
from results.predictions import predictions_path, read_predictions
from results.records import Step
from results.run_folder import RunFolder
from results.runs import load_runs, sort_passes
from results.table import pass_record
from training.callbacks.callback import Callback
from training.export import export
from training.figures import draw_run
from training.loop import train
from training.settings import Settings


@pytest.fixture(scope="module")
def tiny(mnist: Mnist) -> Mnist:
    """320 training and 60 test images."""
    return replace(
        mnist,
        train_images=mnist.train_images[:320],
        train_labels=mnist.train_labels[:320],
        test_images=mnist.test_images[:60],
        test_labels=mnist.test_labels[:60],
    )


def settings(folder: Path, **given: object) -> Settings:
    own = {"maps": (2, 3), "passes": 2, "validation_size": 100, "batch_size": 8, "warmup_steps": 1, "figures": "none"}
    return Settings(network="lenet_row", save_dir=folder / "model", **(own | given))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tiny: Mnist, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("rows")
    train(settings(folder), RunFolder(folder / "run"), data=tiny)
    return RunFolder(folder / "run")


class StopAfter(Callback):
    """Asks for a stop after so many steps, as SIGTERM does."""

    def __init__(self, stop: StopRequest, steps: int) -> None:
        self.stop, self.left = stop, steps

    def on_step(self, step: Step) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop._number = signal.SIGTERM


def test_results_are_named_by_rows_and_digits(run: RunFolder) -> None:
    with run.results.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert "accuracy" not in [name for name in header if not name.endswith("row_accuracy")]
    assert {"train_row_accuracy", "validation_row_accuracy", "test_row_accuracy"} <= set(header)
    assert header[-2:] == ["validation_digit_error", "test_digit_error"] and len(lines) == 2
    rows, problems = read_results(run.results)
    assert problems == [] and len(rows) == 2
    of_tests = rows[-1]
    assert of_tests.test_total == 11 and of_tests.validation_total == 19  # 60 and 100 digits, 5.3 a row
    assert of_tests.test_digit_error is not None and of_tests.test_digit_error > 0


def test_answers_are_kept_row_by_row(run: RunFolder, tiny: Mnist) -> None:
    kept = read_predictions(predictions_path(run.path, 2))
    assert kept.answers.shape == kept.labels.shape == (11, LONGEST_ANSWER) and kept.right.shape == (11,)
    assert kept.labels.max() == UNREAD and np.isin(kept.labels, [*range(10), UNREAD]).all()


def test_its_model_is_for_rows_alone(run: RunFolder) -> None:
    model = load_model(run.path.parent / "model", rows=True)
    assert model.card["input"]["shape"] == [-1, 1, 32, -1] and model.novelty is None
    assert model.card["scores"]["test"]["digit_error"] > 0
    with pytest.raises(ModelError, match="expected a model that reads pictures of one digit, got one that reads rows"):
        load_model(model.folder)


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(run: RunFolder, tiny: Mnist, tmp_path: Path) -> None:
    stop, again = StopRequest(), RunFolder(tmp_path / "run")
    with pytest.raises(Stopped):
        train(settings(tmp_path), again, [StopAfter(stop, 3)], stop, tiny)
    train(settings(tmp_path, resume=again.path), again, data=tiny)
    assert load_model(tmp_path / "model", rows=True).parameters == load_model(run.model, rows=True).parameters


def test_compare_lists_it_beside_others(run: RunFolder) -> None:
    entries = sort_passes(load_runs([run.path])[0])
    record = pass_record(entries[0])
    assert record["test_total"] == 11 and record["network"] == "lenet_row"


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"shards": 2}, "--shards"),
        ({"label_smoothing": 0.1}, "--label-smoothing"),
        ({"rotation": 5.0}, "--rotation"),
    ],
)
def test_what_rows_cannot_have_is_refused(given: dict[str, object], option: str, tiny: Mnist, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{option}.* reads rows"):
        train(settings(tmp_path, **given), RunFolder(tmp_path / "run"), data=tiny)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="paddle2onnx has no wheel for Python 3.13")
def test_its_onnx_form_answers_alike_for_rows_of_any_width(run: RunFolder, tiny: Mnist, tmp_path: Path) -> None:
    """During training and afterwards; training does not notice."""
    train(settings(tmp_path, export="onnx"), RunFolder(tmp_path / "run"), data=tiny)
    model = load_model(tmp_path / "model", rows=True)
    found = agreement_in(model.card)
    assert (found.images, found.equal_answers) == (11, 11) and found.largest_difference < 1e-4
    assert model.parameters == load_model(run.model, rows=True).parameters and model.onnx
    rows = np.random.default_rng(1).uniform(-1, 1, (2, 1, 32, 90)).astype(np.float32)
    for width in (32, 90):
        runtimes = OnnxPredictor(model.onnx), Predictor(model)
        one, other = (runtime.probabilities(rows[..., :width]) for runtime in runtimes)
        assert one.shape == (2, (width - 20) // 2, 11)
        np.testing.assert_allclose(one, other, atol=1e-5)
    shutil.copytree(run.model, tmp_path / "later")
    assert "200 of 200 answers equal" in export(tmp_path / "later", None)
    assert load_model(tmp_path / "later", rows=True).onnx == model.onnx


def test_rows_to_test_on_are_the_same_in_every_run(tiny: Mnist) -> None:
    one, other = (RowSet.of(Subset(tiny.test_images, tiny.test_labels)) for _ in range(2))
    assert len(one) == 11 and np.array_equal(one.labels, other.labels)
    assert all(map(np.array_equal, one.images, other.images))
    assert len(RowSet.of(Subset(tiny.test_images[:0], tiny.test_labels[:0]))) == 0


def test_its_figures_are_those_of_the_logs(run: RunFolder, tiny: Mnist) -> None:
    draw_run(run, "all", tiny)
    assert {path.stem for path in run.figures.iterdir()} == {"curves", "learning_rate"}


def test_another_run_goes_on_from_its_model(run: RunFolder, tiny: Mnist, tmp_path: Path) -> None:
    begin = run.path.parent / "model"
    own = settings(tmp_path, passes=1, learning_rate=1e-30, ema=0.0, init_from=begin)
    train(own, RunFolder(tmp_path / "run"), data=tiny)
    first, second = (FeatureMaps.of_model(load_model(path, rows=True)) for path in (begin, tmp_path / "model"))
    np.testing.assert_array_equal(first.parameters()["output.weight"], second.parameters()["output.weight"])
