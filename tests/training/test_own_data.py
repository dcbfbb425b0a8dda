"""Training on data sets of other classes than the ten digits: the model, its card, and what cannot be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluate
import infer
from common.errors import UsageError, UserError
from data import sources
from data.dataset import Mnist
from data.load import load
from model.feature_maps import FeatureMaps
from model.image import network_input
from model.networks import DIGIT_NETWORKS, NETWORKS
from model.predictor import Predictor
from model.saved_model import ModelError, load_model, save_model
from recognition.preparation import resized
from recognition.reader import DigitReader
from recognition.sets import find_data, load_data
from results.predictions import predictions_path, read_predictions
from results.run_folder import RunFolder
from tests.data.test_load import WRITERS
from tests.scripts.test_old_folders import run_main
from training.callbacks.callback import Callback
from training.engine import EngineName
from training.loop import train
from training.settings import Settings, from_json, to_json

SAMPLE = Path(__file__).parents[1] / "samples" / "c93bf08" / "run" / "inference_model"


def trained(data: Mnist, folder: Path, **settings: object) -> Path:
    """A run of one pass on a data set; returns the published model's folder."""
    own = Settings(passes=1, validation_size=20, save_dir=folder / "model", figures="none", **settings)  # type: ignore[arg-type]
    train(own, RunFolder(folder / "run"), data=data)
    return folder / "model"


def with_classes(mnist: Mnist, classes: int, count: int = 120) -> Mnist:
    """MNIST's images under labels of as many classes."""
    kind = np.uint8 if classes <= 256 else np.uint16
    labels, tests = (np.arange(size).astype(kind) % classes for size in (count, 2 * classes))
    names = tuple(f"class {number}" for number in range(classes))
    parts = (mnist.train_images[:count], labels, mnist.test_images[: len(tests)], tests)
    return Mnist(*parts, {"data": str(classes)}, "here", names)


@pytest.mark.parametrize(("classes", "engine"), [(3, "paddle"), (26, "numpy"), (300, "paddle")])
def test_a_model_answers_by_the_names_of_its_classes(
    classes: int, engine: EngineName, mnist: Mnist, tmp_path: Path
) -> None:
    model = load_model(trained(with_classes(mnist, classes), tmp_path, engine=engine))
    assert model.card["labels"] == [f"class {number}" for number in range(classes)]
    assert RunFolder(tmp_path / "run").read_record()["data"]["classes"] == model.card["labels"]
    assert Predictor(model).probabilities(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, classes)
    kept = read_predictions(predictions_path(tmp_path / "run", 1))
    assert kept.labels.tolist() == [*range(classes)] * 2
    with pytest.raises(ModelError, match=f"expected 2 probabilities .* got .*{classes}"):
        Predictor(replace(model, card={**model.card, "labels": ["a", "b"]}))


@pytest.mark.parametrize("network", [name for name in DIGIT_NETWORKS if name not in ("conv_pool_bn", "lenet5_1998")])
def test_each_network_takes_other_classes(network: str, mnist: Mnist, tmp_path: Path) -> None:
    model = load_model(trained(with_classes(mnist, 5), tmp_path, network=network))
    side = NETWORKS[network].image.size
    assert Predictor(model).probabilities(np.zeros((1, 1, side, side), np.float32)).shape == (1, 5)


def test_bitmaps_exist_for_ten_digits_alone(mnist: Mnist, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="lenet5_1998: its bitmaps exist for the ten digits, and the data has 3 classes"
    ):
        trained(with_classes(mnist, 3), tmp_path, network="lenet5_1998")


@pytest.mark.parametrize("labels", [["0"], [str(number) for number in range(1001)], ["a", 2], ["a", "b", "b", "b"]])
def test_a_card_of_too_few_too_many_or_equal_labels_is_refused(labels: list[object], tmp_path: Path) -> None:
    good = load_model(SAMPLE)
    save_model(tmp_path / "model", replace(good, card={**good.card, "labels": labels}))
    expected = "expected labels, a list of 2 to 1000 printable names|expected a label of its own .*, got b twice"
    with pytest.raises(ModelError, match=expected):
        load_model(tmp_path / "model")


def test_every_format_trains_the_same_weights(mnist: Mnist, tmp_path: Path) -> None:
    images = (mnist.train_images[:200], mnist.train_labels[:200], mnist.test_images[:50], mnist.test_labels[:50])
    sums = {}
    for number, (name, write) in enumerate(WRITERS.items()):
        data = load(write(tmp_path / f"data{number}", images))
        parameters = load_model(trained(data, tmp_path / str(number))).parameters
        sums[name] = hashlib.sha256(parameters).hexdigest()
    assert len(set(sums.values())) == 1, sums


def test_the_model_reads_a_picture_as_its_training_did(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes that differ by where the ink is: cut to a digit they would be the same."""
    monkeypatch.setenv(sources.CACHE_VARIABLE, str(tmp_path / "cache"))
    for number in range(60):
        paper = np.full((80, 80), 255, np.uint8)
        left = 4 if number % 2 else 48
        paper[26:54, left : left + 28] -= mnist.test_images[number]
        path = tmp_path / "data" / ("right", "left")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paper).save(path)
    data = load_data(tmp_path / "data", way="resize")
    own = Settings(passes=6, batch_size=8, validation_size=8, save_dir=tmp_path / "model", figures="none")
    train(own, RunFolder(tmp_path / "run"), data=data)
    model = load_model(tmp_path / "model")
    assert model.card["prepare"] == RunFolder(tmp_path / "run").read_record()["data"]["prepare"] == "resize"
    assert model.card["data_split"] == data.split and find_data(tmp_path / "data").was_trained_on(model.card)
    assert model.card["data_prepared"] == RunFolder(tmp_path / "run").read_record()["data"]["prepared"] == "resize"
    reader = DigitReader.load(tmp_path / "model")
    answers = reader.answer_all(sorted((tmp_path / "data" / "left").iterdir())[:10])
    assert [answer.digits[0][0] for answer in answers] == ["left"] * 10
    assert run_main(infer, monkeypatch, "--model-dir", tmp_path / "model", tmp_path / "data" / "right") == 0
    assert capsys.readouterr().out.count(" right ") >= 25
    score = "--data", tmp_path / "data", "--part", "all", "--format", "json"
    assert run_main(evaluate, monkeypatch, tmp_path / "model", *score) == 0
    assert json.loads(capsys.readouterr().out)["correct"] >= 55
    picture = next((tmp_path / "data" / "left").iterdir())
    with pytest.raises(UsageError, match="--lines: expected a model of handwriting, got one trained with --prepare"):
        run_main(infer, monkeypatch, "--model-dir", tmp_path / "model", "--lines", picture)


def test_a_model_of_pictures_as_they_are_takes_no_other(mnist: Mnist, tmp_path: Path) -> None:
    model = trained(replace(with_classes(mnist, 3), prepare="none"), tmp_path)
    reader = DigitReader.load(model)
    images = mnist.test_images[:2]
    np.testing.assert_array_equal(reader.inputs(images), network_input(images, load_model(model).image))
    assert reader.answer(mnist.test_images[0]).digits[0][0].startswith("class ")
    with pytest.raises(UserError, match="expected a picture of 28×28 pixels, got 40×30; resize it"):
        reader.answer(np.zeros((40, 30), np.uint8))


@pytest.mark.parametrize(
    ("asked", "images", "held_out"),
    [
        (None, 60_000, 5000),
        (None, 5001, 5000),
        (None, 5000, 1000),
        (None, 40, 8),
        (0.1, 200, 20),
        (0.001, 9, 1),
        (7, 9, 7),
    ],
)
def test_images_are_held_out_by_number_or_share(asked: float | None, images: int, held_out: int) -> None:
    settings = Settings(validation_size=asked)
    assert from_json(json.loads(json.dumps(to_json(settings)))) == settings
    assert settings.recipe_for(images).validation_size == held_out


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_a_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(UsageError, match="expected a whole number, or a share between 0 and 1"):
        Settings(validation_size=share)


class Said(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_message(self, message: str) -> None:
        self.lines.append(message)


def test_a_small_set_needs_no_option(mnist: Mnist, tmp_path: Path) -> None:
    said = Said()
    settings = Settings(passes=1, save_dir=tmp_path / "model", figures="none")
    train(settings, RunFolder(tmp_path / "run"), [said], data=with_classes(mnist, 5, 40))
    assert load_model(tmp_path / "model").card["scores"]["validation"]["total"] == 8
    assert "validation images: 8 of 40, a fifth, as the set is small" in said.lines
    assert [line for line in said.lines if line.startswith("--batch-size 128: more than the 32 training images")]


@pytest.mark.parametrize(("engine", "source"), [("paddle", "model"), ("numpy", "run")])
def test_another_run_goes_on_from_a_model_of_other_classes(
    engine: EngineName, source: str, mnist: Mnist, tmp_path: Path
) -> None:
    """Without a step that changes anything, all layers but the last are the model's."""
    trained(with_classes(mnist, 5), tmp_path / "a", engine=engine)
    begin = tmp_path / "a" / source
    said = Said()
    own = Settings(engine=engine, passes=1, learning_rate=1e-30, validation_size=20, init_from=begin, figures="none")
    own = replace(own, save_dir=tmp_path / "b" / "model")
    train(own, RunFolder(tmp_path / "b" / "run"), [said], data=with_classes(mnist, 7))
    first, second = (FeatureMaps.of_model(load_model(tmp_path / name / "model")).parameters() for name in ("a", "b"))
    assert first["output.weight"].shape[1] == 5 and second["output.weight"].shape[1] == 7
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        np.testing.assert_array_equal(first[name], second[name])
    (line,) = [line for line in said.lines if line.startswith("--init-from")]
    assert line.startswith(f"--init-from {begin}: all layers but the last, which starts anew: classes 5 (class 0, ")
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="expected the folder of a model, or of a run with its checkpoints, found a"):
        trained(with_classes(mnist, 7), tmp_path / "d", init_from=tmp_path / "c")
    with pytest.raises(UserError, match=r"expected .*got .*; name a run or model of the same network and options"):
        trained(with_classes(mnist, 7), tmp_path / "e", init_from=begin, network="lenet_tanh")


def test_a_model_of_the_same_classes_keeps_its_last_layer(mnist: Mnist, tmp_path: Path) -> None:
    model = trained(with_classes(mnist, 5), tmp_path / "a")
    own = Settings(passes=1, learning_rate=1e-30, validation_size=20, init_from=model, figures="none")
    train(replace(own, save_dir=tmp_path / "b"), RunFolder(tmp_path / "run"), data=with_classes(mnist, 5))
    first, second = (FeatureMaps.of_model(load_model(path)).parameters() for path in (model, tmp_path / "b"))
    np.testing.assert_array_equal(first["output.weight"], second["output.weight"])


def test_pictures_that_fill_their_images_are_no_doubt_if_taken_as_they_are(mnist: Mnist, tmp_path: Path) -> None:
    """Training and test images of Fashion-MNIST's kind; no line about MNIST's frame, which they do not get."""
    data = replace(with_classes(mnist, 3), prepare="none")
    large = [np.stack([resized(image[4:24, 4:24]) for image in part]) for part in (data.train_images, data.test_images)]
    said = Said()
    settings = Settings(passes=1, validation_size=20, save_dir=tmp_path / "model", figures="none")
    train(
        settings, RunFolder(tmp_path / "run"), [said], data=replace(data, train_images=large[0], test_images=large[1])
    )
    assert [line for line in said.lines if "of 28 pixels" in line or "framed" in line] == []
