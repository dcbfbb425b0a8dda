"""The main job as users run it, on a small part of MNIST."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.files import sha256
from data.dataset import Mnist, Subset, load_mnist
from data.distortions import Distortions
from model.device import choose_device
from model.networks import NETWORKS
from model.predictor import Predictor
from model.program import NetworkConfig
from model.recipes import PUBLISHED, EarlyStopping, NetworkName, learning_rate
from model.saved_model import load_model
from model.scoring import evaluate
from reference.engine import NumpyEngine
from reference.networks import NETWORKS as NUMPY_NETWORKS
from reference.networks import lenet5_numpy
from reference.optimizers import SGD
from results.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from results.log import read_results, read_steps
from results.records import Row, Step, best_row
from results.run_folder import RunFolder
from tests.conftest import Script
from training import loop
from training.callbacks.callback import Callback
from training.engine import EngineName, start_from
from training.loop import TrainingError, train
from training.settings import Settings
from training.setup import make_engine


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
    """Also in a process that was forked (tests/launcher.py) and in a new one, as that of `small_run`."""
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--passes", 3, "--log-every", 1)
    places = ("--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    result = script("train.py", *arguments, *places, "--figures", "none")
    assert result.returncode == 0, result.stderr
    for name in ("inference.pdmodel", "inference.pdiparams"):
        assert (tmp_path / "model" / name).read_bytes() == (small_run / "model" / name).read_bytes()
    checkpoints = [load_checkpoint(folder / "run" / "checkpoints")[0] for folder in (small_run, tmp_path)]
    assert checkpoints[0].arrays.keys() == checkpoints[1].arrays.keys()
    for name, value in checkpoints[0].arrays.items():
        assert np.array_equal(value, checkpoints[1].arrays[name]), name


def test_publishing_says_what_it_replaces(small_run: Path, small_data: Path, script: Script, tmp_path: Path) -> None:
    shutil.copytree(small_run / "model", tmp_path / "model")
    arguments = ("--data-dir", small_data, "--validation-size", 2500, "--passes", 1, "--figures", "none")
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


def test_a_folder_that_cannot_be_written_is_found_before_the_first_pass(
    script: Script, small_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    arguments = ("--data-dir", small_data, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "file" / "model")
    result = script("train.py", *arguments)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "--save-dir" in result.stderr
    assert not (tmp_path / "run").exists()


def test_diverging_training_stops_and_keeps_the_best_model(small_data: Path, script: Script, tmp_path: Path) -> None:
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--optimizer", "sgd", "--learning-rate", 1e6)
    places = ("--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    result = script("train.py", *arguments, *places, "--figures", "none")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1
    assert "learning rate 1e+06" in result.stderr and "last finite loss" in result.stderr
    assert not (tmp_path / "model").exists()
    assert read_results(tmp_path / "run" / "results.csv") == ([], [])
    assert not (tmp_path / "run" / "inference_model").exists()


def test_training_that_diverges_later_keeps_the_best_model(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rises(recipe: object, step: int, steps: int) -> float:
        return 1e-3 if step < 16 else 1e30

    monkeypatch.setattr(loop, "learning_rate", rises)
    settings = Settings(data_dir=small_data, validation_size=560, passes=50, save_dir=tmp_path / "model")
    with pytest.raises(TrainingError, match=r"pass 2 .* at learning rate 1e\+30 .*the best model, pass 1, is in"):
        train(settings, RunFolder(tmp_path / "run"))
    assert [row.pass_number for row in read_results(tmp_path / "run" / "results.csv")[0]] == [1]
    assert load_model(tmp_path / "run" / "inference_model").card["pass"] == 1
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--passes", 0), "--passes 0: expected at least 1"),
        (("--passes", "many"), "--passes"),
        (("--pases", 3), "--pases"),
        (("--network", "alexnet"), "alexnet"),
        (("--learning-rate", -1), "--learning-rate"),
        (("--learning-rate", "nan"), "--learning-rate"),
        (("--validation-size", 0), "--select-on last"),
        (("--validation-size", 60000), "validation"),
        (("--kernel-size", 12), "--kernel-size 12"),
        (("--shuffle-buffer", 0), "--shuffle-buffer"),
        (("--shuffle-buffer", "x"), "--shuffle-buffer: expected whole numbers or all, got x (see --help)"),
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
    arguments = ("--device", "gpu", "--data-dir", small_data, "--validation-size", 560)
    result = script("train.py", *arguments, "--run-dir", tmp_path / "run")
    assert result.returncode == 1 and result.stderr.startswith("error: --device gpu:")


class _Listener(Callback):
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


def test_options_reach_the_run(small_data: Path, tmp_path: Path) -> None:
    network: dict[str, Any] = {"maps": (6, 16), "kernel_size": (7, 3), "pooling": "mean"}
    first_losses = []
    for shuffle_buffer in ("all", 512, 1):
        listener = _Listener()
        settings = Settings(
            **network,
            data_dir=small_data,
            validation_size=560,
            passes=1,
            batch_size=150,
            learning_rate=0.002,
            shuffle_buffer=shuffle_buffer,
            log_every=4,
            save_dir=tmp_path / "model",
        )
        folder = RunFolder(tmp_path / f"buffer_{shuffle_buffer}")
        train(settings, folder, [listener])
        first_losses.append(listener.steps[0].loss)
    assert len(set(first_losses)) == 3
    assert [step.step for step in listener.steps] == list(range(1, 15))
    logged, _ = read_steps(folder.steps)
    assert [step.step for step in logged] == [4, 8, 12] and {step.learning_rate for step in logged} == {0.002}
    # Weights and biases of 1 → 6 maps by 7×7 and 6 → 16 by 3×3, two numbers a map normalised, 16 maps of 4×4 → 10.
    parameters = (6 * 49 + 6) + (16 * 6 * 9 + 16) + (2 * 6) + (16 * 16 * 10 + 10)
    record = folder.read_record()
    assert record["parameters"] == parameters
    assert load_model(tmp_path / "model").card["options"] == {
        name: json.loads(json.dumps(v)) for name, v in network.items()
    }


def test_what_is_given_goes_over_the_recipe() -> None:
    recipes = [Settings(shuffle_buffer=buffer).resolved_recipe().shuffle_buffer for buffer in (None, 512, "all")]
    assert recipes == ["all", 512, "all"]


def test_numpy_engine_trains_and_publishes_a_model_that_paddle_reads(
    small_data: Path, script: Script, tmp_path: Path
) -> None:
    arguments = ("--engine", "numpy", "--network", "lenet5_numpy", "--data-dir", small_data, "--validation-size", 560)
    places = ("--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    result = script("train.py", *arguments, "--passes", 2, "--figures", "none", *places)
    assert result.returncode == 0, result.stderr
    assert load_model(tmp_path / "model").card["network"] == "lenet5_numpy"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["engine"] == "numpy"


def few(data: Mnist) -> Mnist:
    """Of a data set, 320 images to train on and 64 to hold out, and 64 to test on."""
    return dataclasses.replace(
        data,
        train_images=data.train_images[:384],
        train_labels=data.train_labels[:384],
        test_images=data.test_images[:64],
        test_labels=data.test_labels[:64],
    )


@pytest.mark.parametrize("network", NUMPY_NETWORKS)
@pytest.mark.parametrize("source", get_args(EngineName))
def test_weights_move_between_the_engines(
    network: NetworkName, source: EngineName, mnist: Mnist, tmp_path: Path
) -> None:
    """Whichever trained a run, both begin with the scores that it ended with."""
    data = few(mnist)
    own = Settings(network=network, engine=source, validation_size=64, passes=1, save_dir=tmp_path / "model")
    train(own, RunFolder(tmp_path / "run"), data=data)
    (row,) = read_results(tmp_path / "run" / "results.csv")[0]
    for name in get_args(EngineName):
        engine = make_engine(name, NetworkConfig(network), own.resolved_recipe(), choose_device("cpu"), seed=2)
        assert start_from(engine, tmp_path / "run") == []
        scores = evaluate(engine, NETWORKS[network].image, Subset(data.test_images, data.test_labels))
        assert (scores.loss, scores.correct) == (pytest.approx(row.test_loss, rel=1e-5), row.test_correct)


@pytest.fixture(scope="module")
def tiny_run(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of lenet5_numpy with two checkpoints."""
    folder = tmp_path_factory.mktemp("tiny")
    settings = Settings(network="lenet5_numpy", validation_size=64, passes=2, save_dir=folder / "model")
    train(settings, RunFolder(folder / "run"), data=few(mnist))
    return folder / "run"


@pytest.mark.parametrize("engine", get_args(EngineName))
@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"network": "conv_pool_bn"}, r"conv1\.bias: expected \S*\[20\], got \S*\[6\]"),
        ({"network": "lenet5_numpy", "maps": (3, 4)}, r"conv1\.bias: expected \S*\[3\], got \S*\[6\]"),
    ],
)
def test_a_run_of_another_network_is_no_beginning(
    engine: EngineName, settings: dict[str, Any], difference: str, tiny_run: Path
) -> None:
    given = Settings(**settings, engine=engine)
    choice = NetworkConfig(given.network, given.network_options())
    own = make_engine(engine, choice, given.resolved_recipe(), choose_device("cpu"), seed=1)
    before = own.parameters()
    with pytest.raises(UserError, match=f"^--init-from {tiny_run}: .*{difference}; name a run"):
        start_from(own, tiny_run)
    for name, value in own.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_what_is_no_run_to_begin_from_is_called_what_it_is(tiny_run: Path, tmp_path: Path) -> None:
    engine = NumpyEngine(network := lenet5_numpy(seed=1), SGD(network.parameters))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    ignored = shutil.ignore_patterns("checkpoints")
    shutil.copytree(tiny_run, tmp_path / "logs", ignore=ignored)  # as in docs/experiments/published/
    shutil.copytree(tiny_run, tmp_path / "damaged")
    for manifest in (tmp_path / "damaged" / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()
    shutil.copytree(tiny_run, tmp_path / "odd")
    (tmp_path / "odd" / "run.json").write_text('{"settings": {}, "data": {"classes": 5}}')
    save_checkpoint(
        tmp_path / "begun" / "checkpoints", Checkpoint("0000-000000", {}, {"passes": 0, "steps": 0}, b""), ""
    )
    for name, found in {
        "missing": "found nothing of that name",
        "file": "found a file",
        "folder": "found a folder that is no run",
        "logs": "found the record of a run without its checkpoints",
        "damaged": "no usable checkpoint: .*manifest.json",
        "odd": "expected a list of names as data.classes, got 5",
        "begun": "at least one completed pass, found none",
    }.items():
        with pytest.raises(UserError, match=f"^--init-from {tmp_path / name}: .*{found}"):
            start_from(engine, tmp_path / name)


def test_a_refused_checkpoint_of_the_run_to_begin_from_is_told(
    tiny_run: Path, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "0002-000000"
    (newest / "progress.json").write_text("{}")
    told: list[str] = []
    monkeypatch.setattr(_Listener, "on_message", lambda self, line: told.append(line))
    settings = Settings(
        network="lenet5_numpy",
        engine="numpy",
        validation_size=64,
        passes=1,
        init_from=tmp_path / "run",
        save_dir=tmp_path / "model",
    )
    train(settings, RunFolder(tmp_path / "next"), [_Listener()], data=few(mnist))
    start = f"--init-from {tmp_path / 'run'}: checkpoint {newest} refused: progress.json does not match"
    assert any(line.startswith(start) for line in told)


def test_early_stopping_ends_the_run(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a patience of one pass's steps and no way to improve by enough, the second pass is the last."""
    rule = EarlyStopping(patience=33, increase=1.0, threshold=0.0)
    recipe = dataclasses.replace(PUBLISHED["conv_pool_bn"], early_stopping=rule, select_by="error")
    monkeypatch.setitem(PUBLISHED, "conv_pool_bn", recipe)
    settings = Settings(data_dir=small_data, validation_size=560, passes=9, save_dir=tmp_path / "model")
    train(settings, RunFolder(tmp_path / "run"))
    rows, _ = read_results(tmp_path / "run" / "results.csv")
    assert len(rows) == 2
    errors = [row.validation_total - row.validation_correct for row in rows]
    assert best_row(rows).pass_number == 1 + errors.index(min(errors))


def test_no_early_stopping_where_nothing_is_held_out(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience of a pass and a half would stop a run that never sees its error fall."""
    rule = EarlyStopping(patience=6, increase=2.0, threshold=0.995)
    recipe = dataclasses.replace(PUBLISHED["conv_pool_bn"], early_stopping=rule)
    monkeypatch.setitem(PUBLISHED, "conv_pool_bn", recipe)
    settings = Settings(validation_size=0, select_on="last", passes=3, batch_size=96, save_dir=tmp_path / "model")
    assert train(settings, RunFolder(tmp_path / "run"), data=few(mnist)).best_pass == 3


def test_schedule_and_distortions_reach_the_steps(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PUBLISHED["conv_pool_bn"]
    losses = []
    for name, distortions in (("plain", None), ("distorted", Distortions(rotation=30, shift=3))):
        recipe = dataclasses.replace(plain, schedule="cosine", warmup_steps=8, distortions=distortions)
        monkeypatch.setitem(PUBLISHED, "conv_pool_bn", recipe)
        listener = _Listener()
        settings = Settings(data_dir=small_data, validation_size=560, passes=2, save_dir=tmp_path / "model")
        train(settings, RunFolder(tmp_path / name), [listener])
        rates = [step.learning_rate for step in listener.steps]
        assert rates == [learning_rate(recipe, step, 32) for step in range(32)]
        assert max(rates) == plain.learning_rate and rates[0] < rates[7] > rates[-1]
        losses.append(listener.steps[-1].loss)
    assert losses[1] > losses[0]


def test_last_pass_without_choosing(small_data: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=small_data, validation_size=0, select_on="last", passes=3, save_dir=tmp_path / "model")
    assert train(settings, RunFolder(tmp_path / "run")).best_pass == 3
    card = load_model(tmp_path / "model").card
    assert card["selected_on"] == "last" and "validation" not in card["scores"]


def test_threads_are_an_option_and_change_no_bit(
    small_run: Path, small_data: Path, script: Script, tmp_path: Path
) -> None:
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--passes", 3, "--log-every", 1, "--threads", 1)
    places = ("--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model")
    result = script("train.py", *arguments, *places, "--figures", "none")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["environment"]["arithmetic"]["CONV_POOL_THREADS"] == "1"
    if record["kernel"] != "fused":
        pytest.skip("stock operators add in another order with another number of threads")
    parameters = [(folder / "model" / "inference.pdiparams").read_bytes() for folder in (small_run, tmp_path)]
    assert parameters[0] == parameters[1]
