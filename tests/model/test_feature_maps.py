"""The outputs of a network's layers: those that lead to the saved model's answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data.dataset import Mnist
from model.device import choose_device
from model.engine import PaddleEngine
from model.feature_maps import FeatureMaps
from model.image import ImageSpec, network_input
from model.networks import DIGIT_NETWORKS, NETWORKS
from model.predictor import Predictor
from model.program import NetworkConfig
from model.recipes import Recipe
from model.saved_model import ModelError, load_model
from tests.conftest import MODEL


def test_the_released_models_layers(mnist: Mnist) -> None:
    model = load_model(MODEL)
    images = network_input(mnist.test_images[:3], ImageSpec(size=28, low=-1.0, high=1.0, fit="none"))
    layers = FeatureMaps.of_model(model).of(images)
    shapes = {name: output.shape for name, output in layers.items()}
    assert shapes == {"conv1": (3, 20, 12, 12), "norm": (3, 20, 12, 12), "conv2": (3, 50, 4, 4), "output": (3, 10)}
    odds = np.exp(layers["output"])
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), Predictor(model).probabilities(images), atol=1e-5)


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_every_network_from_its_parameters(name: str) -> None:
    """What the last layer puts out decides the digit: the largest score, or the least distance from the prototypes."""
    choice = NetworkConfig(name)
    engine = PaddleEngine(choice, Recipe(), choose_device("cpu"), seed=1)
    size = NETWORKS[name].image.size
    images = np.random.default_rng(0).random((2, 1, size, size), np.float32)
    layers = FeatureMaps(choice, engine.parameters()).of(images)
    assert all(len(output) == 2 and np.isfinite(output).all() for output in layers.values())
    scores = list(layers.values())[-1] * (-1 if name == "lenet5_1998" else 1)
    assert scores.argmax(1).tolist() == engine.log_probabilities(images).argmax(1).tolist()


@pytest.mark.parametrize("change", [{"network": "no_such"}, {"options": {"maps": [3, 5]}}, {"options": None}])
def test_a_card_that_does_not_fit_is_told_in_one_line(change: dict[str, object], tmp_path: Path) -> None:
    model = load_model(MODEL)
    with pytest.raises(ModelError) as caught:
        FeatureMaps.of_model(dataclasses.replace(model, card={**model.card, **change})).of(
            np.zeros((1, 1, 28, 28), np.float32)
        )
    assert "\n" not in str(caught.value)
