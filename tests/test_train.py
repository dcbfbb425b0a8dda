"""The main job as users run it, on a small part of MNIST."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.files import sha256
from mnist.dataset import Subset, load_mnist
from model.inference import Predictor, load_model
from model.networks import NETWORKS
from tests.conftest import Script
from training.checkpoint import load_checkpoint
from training.evaluation import evaluate
from training.events import Handler
from training.loop import train
from training.results import Row, Step, best_row, read_results, read_steps
from training.run import RunFolder
from training.settings import Settings


def test_headline_is_the_model_on_disk(small_run: Path, small_data: Path) -> None:
    rows, _ = read_results(small_run / "run" / "results.csv")
    best = best_row(rows)
    data = load_mnist(small_data)
    test = Subset(data.test_images, data.test_labels)
    scores = evaluate(Predictor(load_model(small_run / "model")), NETWORKS["conv_pool_bn"].image, test)
    assert best is not None and scores.correct == best.test_correct
    output = (small_run / "output.txt").read_text()
    assert f"best pass {best.pass_number}, chosen on validation" in output
    assert f"{scores.correct}/500" in output


def test_results_log_has_a_row_a_pass_and_the_best_by_validation_loss(small_run: Path) -> None:
    rows, problems = read_results(small_run / "run" / "results.csv")
    assert not problems and [row.pass_number for row in rows] == [1, 2, 3]
    losses = [row.validation_loss for row in rows]
    assert [row.best for row in rows] == [loss == min(losses[: n + 1]) for n, loss in enumerate(losses)]
    assert all(row.validation_total == 560 and row.test_total == 500 for row in rows)


def test_steps_log_sums_to_the_pass(small_run: Path) -> None:
    """train_loss is the mean over images: 15 batches of 128 and a last one of 80."""
    rows, _ = read_results(small_run / "run" / "results.csv")
    steps, _ = read_steps(small_run / "run" / "steps.csv")
    sizes = np.array([128] * 15 + [80])
    for row in rows:
        own = [step for step in steps if step.pass_number == row.pass_number]
        assert [step.step for step in own] == list(range(1, 17))
        assert row.train_loss == pytest.approx(np.dot([step.loss for step in own], sizes) / sizes.sum())
        assert row.train_accuracy == pytest.approx(np.dot([step.accuracy for step in own], sizes) / sizes.sum())


def test_run_folder_tells_what_the_run_was(small_run: Path, small_data: Path) -> None:
    record = json.loads((small_run / "run" / "run.json").read_text())
    assert record["settings"]["seed"] == 1 and record["recipe"]["passes"] == 3
    assert record["data"]["sha256"] == {p.name: sha256(p.read_bytes()) for p in small_data.iterdir()}
    assert record["environment"]["packages"]["numpy"] == np.__version__
    with Image.open(small_run / "run" / "figures" / "curves.png") as curves:
        assert min(curves.size) > 200


def test_nothing_but_the_run_is_on_the_screen(small_run: Path) -> None:
    assert (small_run / "errors.txt").read_text() == ""
    lines = (small_run / "output.txt").read_text().splitlines()
    while lines[0].startswith(("compiling", "computing on", "stock")):
        lines.pop(0)
    assert lines[0].startswith("pass")
    assert [line.split()[0] for line in lines[1:4]] == ["1/3", "2/3", "3/3"]
    assert all("\x1b" not in line for line in lines)


def test_same_seed_same_model_bytes(small_run: Path, small_data: Path, script: Script, tmp_path: Path) -> None:
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--passes", 3, "--log-every", 1)
    result = script("train.py", *arguments, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    for name in ("inference.pdmodel", "inference.pdiparams"):
        assert (tmp_path / "model" / name).read_bytes() == (small_run / "model" / name).read_bytes()
    checkpoints = [load_checkpoint(folder / "run" / "checkpoints")[0] for folder in (small_run, tmp_path)]
    assert checkpoints[0].arrays.keys() == checkpoints[1].arrays.keys()
    for name, value in checkpoints[0].arrays.items():
        assert np.array_equal(value, checkpoints[1].arrays[name]), name


def test_publishing_says_what_it_replaces(small_run: Path, small_data: Path, script: Script, tmp_path: Path) -> None:
    shutil.copytree(small_run / "model", tmp_path / "model")
    arguments = ("--data-dir", small_data, "--validation-size", 2500, "--passes", 1)
    result = script("train.py", *arguments, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    card = json.loads((small_run / "model" / "card.json").read_text())
    scores = card["scores"]["test"]
    assert f"replacing conv_pool_bn, pass {card['pass']} of run, {scores['correct']}/500" in result.stdout


def test_a_folder_of_other_things_is_never_replaced(script: Script, small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = script("train.py", "--data-dir", small_data, "--run-dir", tmp_path / "run", "--save-dir", tmp_path)
    assert result.returncode == 2 and "--save-dir" in result.stderr
    assert (tmp_path / "thesis.txt").exists() and not (tmp_path / "run").exists()


def test_diverging_training_stops_and_keeps_the_best_model(small_data: Path, script: Script, tmp_path: Path) -> None:
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--learning-rate", 1e30, "--passes", 50)
    result = script("train.py", *arguments, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1
    assert "learning rate 1e+30" in result.stderr and "last finite loss" in result.stderr
    assert not (tmp_path / "model").exists()
    rows, _ = read_results(tmp_path / "run" / "results.csv")
    if rows:
        assert load_model(tmp_path / "run" / "inference_model").card["pass"] == best_row(rows).pass_number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--passes", 0), "--passes 0: expected at least 1"),
        (("--passes", "many"), "--passes"),
        (("--pases", 3), "--pases"),
        (("--network", "alexnet"), "alexnet"),
        (("--learning-rate", -1), "--learning-rate"),
        (("--learning-rate", "nan"), "--learning-rate"),
        (("--validation-size", 0), "--select-on test"),
        (("--validation-size", 60000), "validation"),
        (("--kernel-size", 12), "--kernel-size 12"),
        (("--shuffle-buffer", 0), "--shuffle-buffer"),
        (("--resume", "no/such/run"), "run.json"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[object, ...], message: str, script: Script, tmp_path: Path) -> None:
    result = script("train.py", *arguments, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    assert result.returncode == (1 if "--resume" in arguments else 2)
    assert len(result.stderr.splitlines()) == 1 and message in result.stderr
    assert result.stdout == "" and not (tmp_path / "model").exists()


def test_gpu_that_is_not_there_is_an_error(script: Script, small_data: Path, tmp_path: Path) -> None:
    import paddle

    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        pytest.skip("this machine has a GPU")
    result = script("train.py", "--device", "gpu", "--data-dir", small_data, "--run-dir", tmp_path / "run")
    assert result.returncode == 1 and result.stderr.startswith("error: --device gpu:")


class _Listener(Handler):
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.rows: list[Row] = []

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def on_pass(self, row: Row) -> None:
        self.rows.append(row)


def test_a_users_handler_hears_every_step_and_pass(small_data: Path, tmp_path: Path) -> None:
    listener = _Listener()
    settings = Settings(
        data_dir=small_data, validation_size=560, passes=2, select_on="test", save_dir=tmp_path / "model"
    )
    outcome = train(settings, RunFolder(tmp_path / "run"), [listener])
    assert [(step.pass_number, step.step) for step in listener.steps] == [(p, s) for p in (1, 2) for s in range(1, 17)]
    assert [row.pass_number for row in listener.rows] == [1, 2]
    losses = [row.test_loss for row in listener.rows]
    assert outcome.best_pass == 1 + losses.index(min(losses))
    assert load_model(tmp_path / "model").card["selected_on"] == "test"


def test_what_is_given_goes_over_the_recipe() -> None:
    recipes = [Settings(shuffle_buffer=buffer).resolved_recipe().shuffle_buffer for buffer in (None, 512, "all")]
    assert recipes == ["all", 512, "all"]
