"""NumPy's hand-written gradients beside Paddle's: steps of both engines from the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import paddle

from data.dataset import Subset
from model.device import choose_device
from model.feature_maps import FeatureMaps
from model.image import network_input
from model.networks import NETWORKS
from model.ops.backend import Backend
from model.program import NetworkConfig
from model.recipes import Optimizer, Recipe
from reference.networks import NETWORKS as NUMPY_NETWORKS
from reference.networks import Network
from training.engine import EngineName
from training.setup import make_engine

Arrays = Mapping[str, np.ndarray]

# What SGD takes away at this rate is so much larger than the weights that their rounding does not blur the gradient in
# it; a power of two, by which division is exact.
GRADIENT_RATE = 1024.0
ADAM_RATE = 1e-3
BATCH = 64
ENGINES: tuple[EngineName, ...] = ("numpy", "paddle")


@dataclass(frozen=True)
class Difference:
    """The distance between two arrays of one shape.

    Attributes:
        largest: absolute value among the elements of Paddle's.
        difference: largest absolute one between two elements at the same place.
    """

    largest: float
    difference: float

    @classmethod
    def between(cls, ours: np.ndarray, paddles: np.ndarray) -> Difference:
        """Compare NumPy's array with Paddle's.

        Raises:
            ValueError: they have different shapes.
        """
        if ours.shape != paddles.shape:
            raise ValueError(f"expected arrays of one shape, got {list(ours.shape)} and {list(paddles.shape)}")
        return cls(float(np.abs(paddles).max()), float(np.abs(ours - paddles).max()))


def compare_steps(network: str, backend: Backend, training: Subset, seed: int = 1) -> dict[str, dict[str, Difference]]:
    """Take a step by SGD and one by Adam, from the same weights, on the first training images, by both engines.

    Args:
        network: one that NumPy's engine has; the weights are those that it starts with.
        backend: of Paddle's programs.
        training: at least 64 images.
        seed: of the weights.

    Returns:
        By quantity, and there by name in the network: "gradient" of each parameter; "after" the step by Adam, each
        parameter and running statistic; "output" of each layer with these, in evaluation, and under the name "loss" the
        mean loss before the step. More steps by Adam would show less: it gives a gradient that is nothing but rounding
        the step of any other.
    """
    paddle.enable_static()
    spec = NETWORKS[network].image
    images = network_input(training.images[:BATCH], spec)
    labels = training.labels[:BATCH].astype(np.int64)
    config = NetworkConfig(network, backend=backend)
    numpys = NUMPY_NETWORKS[network](seed)
    arrays = numpys.parameters | numpys.statistics
    start = {name: array.copy() for name, array in arrays.items()}

    def step(engine_name: EngineName, optimizer: Optimizer, rate: float) -> tuple[np.ndarray, Arrays]:
        """Loss before a step, and what it leaves."""
        recipe = Recipe(optimizer=optimizer, learning_rate=rate)
        engine = make_engine(engine_name, config, recipe, choose_device("cpu"), seed)
        engine.load_parameters(start)
        engine.train_step(images, labels, rate)
        return engine.recent(1)[0, :1], engine.parameters()

    def gradients(after: Arrays) -> Arrays:
        return {name: (start[name] - after[name]) / GRADIENT_RATE for name in numpys.parameters}

    (loss, ours), (paddles_loss, paddles) = (step(name, "sgd", GRADIENT_RATE) for name in ENGINES)
    (_, ours_by_adam), (_, paddles_by_adam) = (step(name, "adam", ADAM_RATE) for name in ENGINES)
    for name, array in arrays.items():
        array[...] = ours_by_adam[name]
    outputs = {"loss": loss, **_outputs(numpys, images)}
    paddles_outputs = {"loss": paddles_loss, **FeatureMaps(config, ours_by_adam).of(images)}
    return {
        "output": _differences(outputs, paddles_outputs),
        "gradient": _differences(gradients(ours), gradients(paddles)),
        "after": _differences(ours_by_adam, paddles_by_adam),
    }


def _outputs(network: Network, images: np.ndarray) -> dict[str, np.ndarray]:
    """Output of each layer in evaluation, images first; as in `model`, a convolution's is that of its pooling."""
    outputs = {}
    x = np.ascontiguousarray(images.transpose(1, 2, 3, 0))
    for name, layer in network.layers.items():
        x = layer.forward(x, training=False)
        outputs[name.replace("pool", "conv")] = np.moveaxis(x, -1, 0)
    return outputs


def _differences(ours: Arrays, paddles: Arrays) -> dict[str, Difference]:
    return {name: Difference.between(ours[name], value) for name, value in paddles.items()}


ORACLE_HEADER = "| network | array | output | gradient | after a step by Adam |\n|---|---|---|---|---|"


def oracle_table(training: Subset) -> str:
    """NumPy's networks beside those of stock Paddle, in Markdown: largest difference, and the largest value."""
    rows = []
    for network in NUMPY_NETWORKS:
        compared = compare_steps(network, "stock", training)
        names = dict.fromkeys(name for arrays in compared.values() for name in arrays)
        for name in names:
            cells = (_cell(arrays.get(name)) for arrays in compared.values())
            rows.append(f"| `{network}` | {name} | {' | '.join(cells)} |")
    return "\n".join([ORACLE_HEADER, *rows])


def _cell(difference: Difference | None) -> str:
    return f"{difference.difference:.1e} of {difference.largest:.3g}" if difference else "–"
