"""Training on data sets of other classes than the ten digits: the model, its card, and what cannot be."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from data.dataset import Mnist
from data.load import load
from model.networks import NETWORKS
from model.predictor import Predictor
from model.saved_model import ModelError, load_model, save_model
from results.predictions import predictions_path, read_predictions
from results.run_folder import RunFolder
from tests.data.test_load import WRITERS
from training.engine import EngineName
from training.loop import train
from training.settings import Settings

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


@pytest.mark.parametrize("network", [name for name in NETWORKS if name not in ("conv_pool_bn", "lenet5_1998")])
def test_each_network_takes_other_classes(network: str, mnist: Mnist, tmp_path: Path) -> None:
    model = load_model(trained(with_classes(mnist, 5), tmp_path, network=network))
    side = NETWORKS[network].image.size
    assert Predictor(model).probabilities(np.zeros((1, 1, side, side), np.float32)).shape == (1, 5)


def test_bitmaps_exist_for_ten_digits_alone(mnist: Mnist, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="lenet5_1998: its bitmaps exist for the ten digits, and the data has 3 classes"
    ):
        trained(with_classes(mnist, 3), tmp_path, network="lenet5_1998")


@pytest.mark.parametrize("labels", [["0"], [str(number) for number in range(1001)], ["a", 2]])
def test_a_card_of_too_few_or_too_many_labels_is_refused(labels: list[object], tmp_path: Path) -> None:
    good = load_model(SAMPLE)
    save_model(tmp_path / "model", replace(good, card={**good.card, "labels": labels}))
    with pytest.raises(ModelError, match="expected labels, a list of 2 to 1000 printable names"):
        load_model(tmp_path / "model")


def test_every_format_trains_the_same_weights(mnist: Mnist, tmp_path: Path) -> None:
    images = (mnist.train_images[:200], mnist.train_labels[:200], mnist.test_images[:50], mnist.test_labels[:50])
    sums = {}
    for number, (name, write) in enumerate(WRITERS.items()):
        data = load(write(tmp_path / f"data{number}", images))
        parameters = load_model(trained(data, tmp_path / str(number))).parameters
        sums[name] = hashlib.sha256(parameters).hexdigest()
    assert len(set(sums.values())) == 1, sums
