"""NumPy's LeNet-5 against central differences, against stock Paddle, and at work."""

from __future__ import annotations

import ast
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import paddle
import pytest
from paddle import nn, static

from data.dataset import Mnist, Subset
from docs.tables.oracle import compare_steps
from model.image import ImageSpec, network_input
from model.networks import build_network
from model.ops.backend import Backend
from reference.engine import CHUNK, NumpyEngine
from reference.layers import (
    Array,
    BatchNorm,
    Conv,
    FullyConnected,
    Layer,
    MaxPool,
    MeanPool,
    ReLU,
    Tanh,
    cross_entropy,
    log_softmax,
)
from reference.networks import NETWORKS, Network, conv_pool_bn, lenet5_numpy
from reference.optimizers import SGD, Adam, Momentum, Optimizer
from tests.model.operators import need_fused


def random_numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def batch(size: int, seed: int = 0) -> tuple[Array, Array]:
    """Noise in which the label can be seen: images [N, 1, 28, 28] float32, labels [N]."""
    labels = np.arange(size) % 10
    images = 0.5 * random_numbers(size, 1, 28, 28, seed=seed).astype(np.float32)
    images[np.arange(size), 0, 2 * labels + 3] += 1
    return images, labels


# ---------------------------------------------------------------------------------------------- central differences


def central_difference(loss: Callable[[], float], array: Array, step: float = 1e-6) -> Array:
    """∂loss/∂array, number by number."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + step
        above = loss()
        array[place] = kept - step
        gradient[place] = (above - loss()) / (2 * step)
        array[place] = kept
    return gradient


LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "conv": (lambda: Conv(random_numbers(3, 2, 3, 3), random_numbers(3)), (2, 6, 5, 4)),
    "max_pool": (lambda: MaxPool(2), (2, 4, 6, 3)),
    "max_pool with a rest": (lambda: MaxPool(3), (2, 7, 8, 3)),
    "mean_pool": (lambda: MeanPool(2), (2, 4, 6, 3)),
    "mean_pool with a rest": (lambda: MeanPool(3), (2, 7, 8, 3)),
    "batch_norm": (lambda: BatchNorm(random_numbers(2), random_numbers(2)), (2, 3, 4, 3)),
    "full": (lambda: FullyConnected(random_numbers(7, 4), random_numbers(4)), (7, 3)),
    "full on maps": (lambda: FullyConnected(random_numbers(12, 4), random_numbers(4)), (3, 2, 2, 3)),
    "relu": (ReLU, (2, 3, 4, 3)),
    "tanh": (Tanh, (2, 3, 4, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_gradients_are_central_differences(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), random_numbers(*shape, seed=1)
    dy = random_numbers(*layer.forward(x, training=True).shape, seed=2)

    def loss() -> float:
        return float(np.sum(layer.forward(x, training=True) * dy))

    dx = layer.input_gradient(dy)
    gradients = layer.parameter_gradients(dy)
    assert gradients.keys() == layer.parameters.keys()
    np.testing.assert_allclose(dx, central_difference(loss, x), rtol=1e-6, atol=1e-8)
    for parameter, gradient in gradients.items():
        expected = central_difference(loss, layer.parameters[parameter])
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_loss_gradient_is_a_central_difference() -> None:
    logits, labels = 3 * random_numbers(10, 4), np.array([3, 0, 9, 3])
    _, summed_gradient = cross_entropy(logits, labels)
    expected = central_difference(lambda: 4 * cross_entropy(logits, labels)[0], logits)
    np.testing.assert_allclose(summed_gradient, expected, rtol=1e-6, atol=1e-8)


def test_loss_of_extreme_logits_is_finite_and_exact() -> None:
    """Where the NumPy report takes the logarithm of a probability that is 0 in floating point."""
    logits = np.array([[1e4, -1e4], [0, -1e4], [0, 0]], np.float32)
    assert cross_entropy(logits, np.array([1, 2]))[0] == pytest.approx((1e4 + 0) / 2)
    assert cross_entropy(logits, np.array([0, 1]))[0] == pytest.approx((0 + 1e4) / 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_gradients_are_central_differences(name: str) -> None:
    """Along one random direction per parameter array, so that every number of every array takes part.

    The step is short, so that none of the 69,000 maxima changes its mind within it.
    """
    network = NETWORKS[name](seed=1, dtype=np.float64)
    images, labels = batch(6)
    images = images.astype(np.float64)

    def loss() -> float:
        return cross_entropy(network.forward(images, training=True), labels)[0]

    _, summed_gradient = cross_entropy(network.forward(images, training=True), labels)
    gradients = network.backward(summed_gradient / len(labels))
    assert gradients.keys() == network.parameters.keys()
    step = 1e-8
    for parameter, array in network.parameters.items():
        direction = random_numbers(*array.shape, seed=3)
        kept = array.copy()
        array[...] = kept + step * direction
        above = loss()
        array[...] = kept - step * direction
        slope = (above - loss()) / (2 * step)
        array[...] = kept
        assert np.sum(gradients[parameter] * direction) == pytest.approx(slope, rel=1e-5, abs=1e-6), parameter


# ------------------------------------------------------------------------------------- errors of the NumPy report


def correlation_with_rotated_kernels(weight: Array, dy: Array, axes: tuple[int, int], padding: int) -> Array:
    """The NumPy report's way to the input gradient, in its [N, C, H, W]; with (0, 1) and k it is the document's own."""
    k = weight.shape[2]
    rotated = np.rot90(weight, 2, axes)
    padded = np.pad(dy, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    return np.einsum("ocij,nohwij->nchw", rotated, windows)


def test_conv_input_gradient_is_the_correlation_with_kernels_rotated_in_space_and_padding_of_k_less_1() -> None:
    weight, x = random_numbers(4, 3, 5, 5), random_numbers(3, 12, 12, 2, seed=1)
    layer = Conv(weight, np.zeros(4))
    dy = random_numbers(*layer.forward(x, training=True).shape, seed=2)
    dx = layer.input_gradient(dy).transpose(3, 0, 1, 2)
    images_first = dy.transpose(3, 0, 1, 2)
    np.testing.assert_allclose(dx, correlation_with_rotated_kernels(weight, images_first, (2, 3), 4), atol=1e-12)
    documents = correlation_with_rotated_kernels(weight, images_first, (0, 1), 5)[:, :, :12, :12]
    assert np.abs(dx - documents).max() > 1


def test_scoring_needs_no_more_memory_for_more_images() -> None:
    engine = NumpyEngine(network := lenet5_numpy(seed=0), SGD(network.parameters))

    def peak(count: int) -> int:
        images = np.zeros((count, 1, 28, 28), np.float32)
        tracemalloc.start()
        answers = engine.log_probabilities(images)
        high = tracemalloc.get_traced_memory()[1] - answers.nbytes
        tracemalloc.stop()
        assert answers.shape == (count, 10)
        return high

    few = peak(500)
    assert few < 32 * 2**20
    assert peak(5000) < few + 2**16


def test_nothing_but_numpy_is_imported() -> None:
    for file in Path(sys.modules["reference"].__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign = {m.split(".")[0] for m in modules} - sys.stdlib_module_names - {"numpy", "reference"}
            assert not foreign, file


# ------------------------------------------------------------------------------------------------------ stock Paddle


def paddle_lenet5_numpy() -> nn.Layer:
    return nn.Sequential(
        ("conv1", nn.Conv2D(1, 6, 5)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2D(2)),
        ("conv2", nn.Conv2D(6, 16, 5)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2D(2)),
        ("flatten", nn.Flatten()),
        ("full1", nn.Linear(256, 120)),
        ("relu3", nn.ReLU()),
        ("full2", nn.Linear(120, 84)),
        ("relu4", nn.ReLU()),
        ("output", nn.Linear(84, 10)),
    )


def paddle_conv_pool_bn(pool: type[nn.Layer] = nn.MaxPool2D) -> nn.Layer:
    return nn.Sequential(
        ("conv1", nn.Conv2D(1, 20, 5)),
        ("relu1", nn.ReLU()),
        ("pool1", pool(2)),
        ("norm", nn.BatchNorm2D(20)),
        ("conv2", nn.Conv2D(20, 50, 5)),
        ("relu2", nn.ReLU()),
        ("pool2", pool(2)),
        ("flatten", nn.Flatten()),
        ("output", nn.Linear(800, 10)),
    )


TWINS: dict[str, tuple[Callable[[], Network], Callable[[], nn.Layer]]] = {
    "lenet5_numpy": (lambda: lenet5_numpy(seed=4), paddle_lenet5_numpy),
    "lenet5_numpy, He": (lambda: lenet5_numpy(seed=4, initialisation="he"), paddle_lenet5_numpy),
    "conv_pool_bn": (lambda: conv_pool_bn(seed=4), paddle_conv_pool_bn),
    "conv_pool_bn, mean": (
        lambda: conv_pool_bn(seed=4, pooling="mean"),
        lambda: paddle_conv_pool_bn(nn.AvgPool2D),
    ),
}

RATE = 1e-3

OPTIMIZERS: dict[str, tuple[Callable[[dict[str, Array]], Optimizer], Callable[[], paddle.optimizer.Optimizer]]] = {
    "SGD": (SGD, lambda: paddle.optimizer.SGD(RATE)),
    "Momentum": (lambda p: Momentum(p, 0.99), lambda: paddle.optimizer.Momentum(RATE, 0.99)),
    "Adam": (Adam, lambda: paddle.optimizer.Adam(RATE)),
    "Adam, large epsilon": (lambda p: Adam(p, epsilon=0.01), lambda: paddle.optimizer.Adam(RATE, epsilon=0.01)),
}


@dataclass
class Step:
    """What one step computed, and the parameters and running statistics that it left behind."""

    losses: Array
    gradients: dict[str, Array]
    left: dict[str, Array]


def numpy_steps(network: Network, optimizer: Optimizer, batches: list[tuple[Array, Array]]) -> Iterator[Step]:
    for images, labels in batches:
        logits = network.forward(images, training=True)
        # On CPU, Paddle takes differences of logits above 64 for 64, in the loss that it states, not in its gradients.
        stated = np.maximum(logits - logits.max(axis=0), -64)
        losses = -log_softmax(stated)[labels, np.arange(len(labels))]
        _, summed_gradient = cross_entropy(logits, labels)
        gradients = network.backward(summed_gradient / len(labels))
        optimizer.step(gradients, RATE)
        yield Step(losses, gradients, {n: a.copy() for n, a in (network.parameters | network.statistics).items()})


def paddle_steps(
    build: Callable[[], nn.Layer],
    build_optimizer: Callable[[], paddle.optimizer.Optimizer],
    start: dict[str, Array],
    batches: list[tuple[Array, Array]],
) -> Iterator[Step]:
    """Steps of a static program of stock layers, from the parameters and running statistics `start`."""
    main, startup, scope = static.Program(), static.Program(), static.Scope()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        network = build()
        image, label = static.data("image", [None, 1, 28, 28]), static.data("label", [None], "int64")
        losses = nn.functional.cross_entropy(network(image), label, reduction="none")
        _, pairs = build_optimizer().minimize(paddle.mean(losses))
    variables = {name: v.name for name, v in [*network.named_parameters(), *network.named_buffers()]}
    names = {variable: name for name, variable in variables.items()}
    assert variables.keys() == start.keys()
    place = paddle.CPUPlace()
    executor = static.Executor(place)
    executor.run(startup, scope=scope)
    for name, variable in variables.items():
        scope.find_var(variable).get_tensor().set(start[name], place)
    for images, labels in batches:
        feed = {"image": images, "label": labels}
        values, *gradients = executor.run(main, feed, [losses, *(g for _, g in pairs)], scope=scope)
        yield Step(
            values.ravel(),
            {names[parameter.name]: g for (parameter, _), g in zip(pairs, gradients, strict=True)},
            {name: np.array(scope.find_var(variable).get_tensor()) for name, variable in variables.items()},
        )


def compare(what: str, ours: Array, paddles: Array) -> None:
    """Agreement to 1e-5; where an array holds values above 1 (the published initialisation), to 1e-5 of the largest."""
    largest, difference = np.abs(paddles).max(), np.abs(ours - paddles).max()
    print(f"{what:28} largest value {largest:9.3g}   largest difference {difference:.1e}")
    assert ours.shape == paddles.shape
    assert difference <= 1e-5 * max(1, largest), what


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        *((name, optimizer) for name in ("lenet5_numpy", "conv_pool_bn") for optimizer in OPTIMIZERS),
        ("lenet5_numpy, He", "SGD"),
        ("conv_pool_bn, mean", "SGD"),
    ],
)
def test_steps_are_those_of_stock_paddle(name: str, optimizer: str) -> None:
    """Two steps: the second one starts with the optimizer's memory filled. `pytest -rP` shows the differences."""
    build, build_paddle = TWINS[name]
    make_optimizer, make_paddles = OPTIMIZERS[optimizer]
    network = build()
    start = {name: array.copy() for name, array in (network.parameters | network.statistics).items()}
    batches = [batch(32, seed=1), batch(32, seed=2)]
    ours = numpy_steps(network, make_optimizer(network.parameters), batches)
    paddles = paddle_steps(build_paddle, make_paddles, start, batches)
    for step, (our, their) in enumerate(zip(ours, paddles, strict=True), start=1):
        print(f"step {step}")
        compare("losses", our.losses, their.losses)
        assert our.gradients.keys() == their.gradients.keys()
        for parameter, gradient in their.gradients.items():
            compare(f"gradient of {parameter}", our.gradients[parameter], gradient)
        for parameter, value in their.left.items():
            compare(f"new {parameter}", our.left[parameter], value)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("backend", get_args(Backend))
def test_a_step_of_the_engine_is_that_of_paddles_engine(name: str, backend: Backend, mnist: Mnist) -> None:
    """Of the project's own networks, with real images, by SGD and by Adam."""
    if backend == "fused":
        need_fused()
    compared = compare_steps(name, backend, Subset(mnist.train_images, mnist.train_labels))
    network = NETWORKS[name](seed=1)
    assert compared["gradient"].keys() == network.parameters.keys()
    assert compared["after"].keys() == network.parameters.keys() | network.statistics.keys()
    layers = {array.split(".")[0] for array in network.parameters}
    assert compared["output"].keys() == layers | {"loss"}
    too_large = {
        (what, array): one
        for what, arrays in compared.items()
        for array, one in arrays.items()
        if not one.difference <= 1e-5 * one.largest
    }
    assert not too_large


@pytest.mark.parametrize("k", [2, 3])
def test_equal_maxima_are_treated_as_in_paddle(k: int) -> None:
    """Values 0, 1, 2 only, so that nearly every window has several maxima; 7 columns leave a rest."""
    x = np.random.Generator(np.random.Philox(0)).integers(0, 3, (4, 3, 8, 7)).astype(np.float32)
    dy = random_numbers(4, 3, 8 // k, 7 // k, seed=1).astype(np.float32)
    main = static.Program()
    with static.program_guard(main), paddle.utils.unique_name.guard():
        image, weights = static.data("x", list(x.shape)), static.data("dy", list(dy.shape))
        image.stop_gradient = False
        y = nn.MaxPool2D(k)(image)
        (dx,) = static.gradients(paddle.sum(y * weights), image)
    paddles = static.Executor(paddle.CPUPlace()).run(main, {"x": x, "dy": dy}, [y, dx])
    layer = MaxPool(k)
    np.testing.assert_array_equal(
        layer.forward(x.transpose(1, 2, 3, 0), training=True).transpose(3, 0, 1, 2), paddles[0]
    )
    np.testing.assert_array_equal(layer.input_gradient(dy.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2), paddles[1])


def test_evaluation_is_that_of_stock_paddle() -> None:
    """With running statistics that are neither 0 nor 1, and more images than a chunk holds."""
    network = conv_pool_bn(seed=4)
    network.statistics["norm._mean"][:] = random_numbers(20)
    network.statistics["norm._variance"][:] = np.square(random_numbers(20, seed=1)) + 0.1
    engine = NumpyEngine(network, SGD(network.parameters))
    images, _ = batch(CHUNK + 6)
    main, startup, scope = static.Program(), static.Program(), static.Scope()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        layers = paddle_conv_pool_bn()
        layers.eval()
        probability = nn.functional.softmax(layers(static.data("image", [None, 1, 28, 28])))
    executor = static.Executor(paddle.CPUPlace())
    executor.run(startup, scope=scope)
    for name, variable in [*layers.named_parameters(), *layers.named_buffers()]:
        scope.find_var(variable.name).get_tensor().set(engine.parameters()[name], paddle.CPUPlace())
    (paddles,) = executor.run(main, {"image": images}, [probability], scope=scope)
    np.testing.assert_allclose(np.exp(engine.log_probabilities(images)), paddles, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------- at work


def engine_of(name: str, seed: int = 0, summed_gradients: bool = False, make: Any = Adam) -> NumpyEngine:
    network = NETWORKS[name](seed=seed)
    return NumpyEngine(network, make(network.parameters), summed_gradients)


def test_parameter_counts() -> None:
    """Those that docs/networks.md states."""
    counts = {n: sum(a.size for a in build(seed=0).parameters.values()) for n, build in NETWORKS.items()}
    assert counts == {"lenet5_numpy": 44_426, "conv_pool_bn": 33_620}


@pytest.mark.parametrize("name", NETWORKS)
def test_options_are_those_of_the_network_in_model(name: str) -> None:
    options = {"maps": (3, 4), "kernel_size": (7, 3), "pooling": "mean"}
    with static.program_guard(static.Program(), static.Program()), paddle.utils.unique_name.guard():
        layers = build_network(name, options)
        shapes = {n: tuple(v.shape) for n, v in [*layers.named_parameters(), *layers.named_buffers()]}
    network = NETWORKS[name](seed=0, **options)
    assert {n: a.shape for n, a in (network.parameters | network.statistics).items()} == shapes
    assert network.forward(batch(3)[0]).shape == (10, 3)


def test_initialisation_has_the_stated_spread() -> None:
    published, he = lenet5_numpy(seed=0).parameters, lenet5_numpy(seed=0, initialisation="he").parameters
    uniform = conv_pool_bn(seed=0).parameters
    assert published["conv2.weight"].std() == pytest.approx(np.sqrt(2 / 6), rel=0.05)
    assert published["full1.weight"].std() == pytest.approx(np.sqrt(2 / 256), rel=0.05)
    assert published["full1.bias"].std() == pytest.approx(1, rel=0.2)
    assert he["conv2.weight"].std() == pytest.approx(np.sqrt(2 / 150), rel=0.05)
    assert not he["full1.bias"].any()
    for layer, fan_in in (("conv2", 500), ("output", 800)):
        assert np.abs(uniform[f"{layer}.weight"]).max() == pytest.approx(fan_in**-0.5, rel=0.01)
        assert 0 < np.abs(uniform[f"{layer}.bias"]).max() <= fan_in**-0.5


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "conv_pool_bn" else ()) for name in NETWORKS]
)
def test_it_learns_real_digits(name: str, mnist: Mnist) -> None:
    images = network_input(mnist.train_images[:512], ImageSpec(size=28, low=-1, high=1, fit="none"))
    labels = mnist.train_labels[:512].astype(np.int64)
    engine = engine_of(name)
    history = [engine.train_step(images[i : i + 64], labels[i : i + 64], 1e-3) for i in [*range(0, 512, 64)] * 15]
    assert history[0][1] < 32
    np.testing.assert_allclose(engine.recent(8), history[-8:], rtol=1e-6)
    assert engine.recent(0).shape == (0, 2)
    assert np.mean([loss for loss, _ in history[-8:]]) < 0.2
    right = engine.log_probabilities(images).argmax(axis=1) == labels
    assert right.sum() > 490
    assert sum(correct for _, correct in history[-8:]) > 480


@pytest.mark.parametrize("name", NETWORKS)
def test_same_seed_same_bits_and_a_state_continues_exactly(name: str) -> None:
    batches = [batch(16, seed=i) for i in range(4)]
    whole, again, other = engine_of(name, seed=5), engine_of(name, seed=5), engine_of(name, seed=6)
    losses = [whole.train_step(*b, 1e-3) for b in batches]
    first = [again.train_step(*b, 1e-3) for b in batches[:2]]
    other.load_state(again.state())
    assert losses == first + [other.train_step(*b, 1e-3) for b in batches[2:]]
    for array, value in other.state().items():
        np.testing.assert_array_equal(value, whole.state()[array], err_msg=array)


def test_parameters_and_state_are_copies() -> None:
    engine = engine_of("conv_pool_bn")
    parameters, state = engine.parameters(), engine.state()
    before = state["conv1.weight"].copy()
    engine.train_step(*batch(16), 1e-3)
    np.testing.assert_array_equal(parameters["conv1.weight"], before)
    np.testing.assert_array_equal(state["conv1.weight"], before)
    assert state["steps"] == 0
    engine.load_parameters(parameters)
    np.testing.assert_array_equal(engine.parameters()["conv1.weight"], before)
    assert engine.state()["steps"] == 1


def test_summed_gradients_are_the_mean_ones_times_the_batch() -> None:
    mean, summed = (engine_of("lenet5_numpy", summed_gradients=s, make=SGD) for s in (False, True))
    assert mean.train_step(*batch(16), 16e-5) == summed.train_step(*batch(16), 1e-5)
    for name, value in mean.parameters().items():
        np.testing.assert_allclose(value, summed.parameters()[name], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("norm._mean"), r"norm\._mean: expected \[20\], got no such array"),
        (lambda p: p.update(full1=np.zeros(3)), r"full1: expected no such array, got \[3\]"),
        (lambda p: p.update({"output.bias": np.zeros(9)}), r"output\.bias: expected \[10\], got \[9\]"),
    ],
)
def test_arrays_of_another_network_are_refused_and_nothing_is_changed(
    change: Callable[[dict[str, Array]], object], message: str
) -> None:
    engine = engine_of("conv_pool_bn")
    given = {name: array + 1 for name, array in engine.parameters().items()}
    change(given)
    before = engine.parameters()
    with pytest.raises(ValueError, match=message):
        engine.load_parameters(given)
    with pytest.raises(ValueError, match="another network"):
        engine.load_state(given)
    for name, value in engine.parameters().items():
        np.testing.assert_array_equal(value, before[name])
