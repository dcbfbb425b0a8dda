"""The networks of the literature are built as docs/networks.md describes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import static

from common.errors import UsageError
from data.dataset import Mnist
from model.device import choose_device
from model.engine import PaddleEngine
from model.image import network_input
from model.kernels.build import load_fused
from model.networks import DIGIT_NETWORKS, NETWORKS, check_options
from model.networks.bitmaps import HEIGHT, WIDTH, digit_bitmaps
from model.networks.lenet5_1998 import C3_READS, RUBBISH_PENALTY, SQUASHINGS, PartialConv
from model.networks.lenet5_numpy import TRAINING_MEAN
from model.program import NetworkConfig
from model.recipes import PUBLISHED, RECIPES, Recipe, learning_rate, recipe_for

COUNTS = {
    "conv_pool_bn": 33_620,
    "lenet5_1998": 60_000,
    "two_branch": 64_122,
    "lenet5_relu": 61_706,
    "lenet_tanh": 431_080,
    "lenet5_numpy": 44_426,
}


def engine(
    name: Any, recipe: Recipe | None = None, seed: int = 1, backend: Any = "stock", **options: Any
) -> PaddleEngine:
    return PaddleEngine(NetworkConfig(name, options, backend), recipe or PUBLISHED[name], choose_device("cpu"), seed)


@cache
def untouched(name: str) -> PaddleEngine:
    """An engine that several tests look at and none trains."""
    return engine(name)


def batch(name: str, mnist: Mnist, count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    image = NETWORKS[name].image
    images = network_input(mnist.train_images[:count], image)
    return images, mnist.train_labels[:count].astype(np.int64)


def load(trained: PaddleEngine, parameters: Mapping[str, np.ndarray]) -> PaddleEngine:
    """Put values of any type in the place of some of the parameters."""
    given = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    trained.load_parameters({**trained.parameters(), **given})
    return trained


# Every network


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_trainable_parameters_are_the_sheets(name: str) -> None:
    assert untouched(name).training.trainable == COUNTS[name]


@pytest.mark.parametrize(
    ("name", "size", "low", "high", "fit"),
    [
        ("conv_pool_bn", 28, -1, 1, "none"),
        ("lenet5_1998", 32, -0.1, 1.175, "pad"),
        ("two_branch", 32, 0, 1, "resize"),
        ("lenet5_relu", 32, -1, 1, "resize"),
        ("lenet_tanh", 28, 0, 255 / 256, "none"),
        ("lenet5_numpy", 28, -0.13066, 0.86934, "none"),
    ],
)
def test_pictures_are_the_sheets(name: str, size: int, low: float, high: float, fit: str) -> None:
    image = NETWORKS[name].image
    assert (image.size, image.fit) == (size, fit)
    assert (image.low, image.high) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_a_few_steps_learn(name: Any, mnist: Mnist) -> None:
    images, labels = batch(name, mnist)
    trained = engine(name)
    for _ in range(40):
        trained.train_step(images, labels, PUBLISHED[name].learning_rate)
    before, after = (
        -trained.log_probabilities(images)[np.arange(64), labels].mean() for trained in (untouched(name), trained)
    )
    assert after < 0.7 * before


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_fused_and_stock_operators_agree(name: str, mnist: Mnist) -> None:
    """Same loss, same updated parameters after two steps of plain descent."""
    if reason := load_fused(lambda line: None):
        pytest.skip(reason)
    images, labels = batch(name, mnist)
    recipe = Recipe(optimizer="sgd", learning_rate=1e-3)
    stock, fused = (engine(name, recipe, backend=backend) for backend in ("stock", "fused"))
    for trained in (stock, fused):
        for _ in range(2):
            trained.train_step(images, labels, 1e-3)
    assert fused.recent(2) == pytest.approx(stock.recent(2), rel=1e-5)
    ours, theirs = fused.parameters(), stock.parameters()
    for inner in theirs:
        np.testing.assert_allclose(ours[inner], theirs[inner], rtol=1e-4, atol=2e-5, err_msg=inner)


@pytest.mark.parametrize("name", [name for name in DIGIT_NETWORKS if name != "lenet5_1998"])
def test_maps_kernels_and_pooling_can_be_chosen(name: str, mnist: Mnist) -> None:
    """The Theano tutorial: other numbers of maps, 7×7 and then 3×3 kernels, the mean instead of the maximum."""
    options: dict[str, Any] = {"maps": (3, 4), "kernel_size": (7, 3), "pooling": "mean"}
    check_options(name, options)
    trained = engine(name, **options)
    shapes = [value.shape for inner, value in trained.parameters().items() if value.ndim == 4]
    assert shapes[:2] == [(3, 1, 7, 7), (4, 3, 3, 3)]
    images, labels = batch(name, mnist)
    trained.train_step(images, labels, 1e-3)
    assert np.isfinite(trained.recent(1)).all()
    other = engine(name, maps=(3, 4), kernel_size=(7, 3))
    other.load_parameters(trained.parameters())
    if name != "lenet_tanh":  # whose last layer starts at 0
        assert not np.allclose(other.log_probabilities(images), trained.log_probabilities(images), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("two_branch", {"kernel_size": 11}, "--kernel-size 11: expected 1 to 10"),
        ("lenet_tanh", {"kernel_size": (7, 12)}, "--kernel-size 7 12: expected 1 to 9, or two"),
        ("lenet_tanh", {"kernel_size": (0, 3)}, "--kernel-size 0 3"),
        ("lenet5_1998", {"maps": (6, 16)}, "--maps: the network lenet5_1998 has no such option"),
        ("two_branch", {"train_rbf": True}, "--train-rbf: the network two_branch has no such option"),
        ("lenet6", {}, "--network lenet6: expected one of conv_pool_bn"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_options(name, options)


# Initial values


def assert_uniform(values: np.ndarray, bound: float) -> None:
    """Uniform within ±bound: no value beyond, one near it, and the standard deviation bound / √3."""
    assert np.abs(values).max() <= bound * 1.0001
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=3 / math.sqrt(values.size) + 0.02)


@pytest.mark.parametrize("name", ["two_branch", "lenet5_relu"])
def test_pytorchs_networks_start_as_pytorch_does(name: str) -> None:
    """Weights and biases uniform within ±1/√fan_in."""
    parameters = untouched(name).parameters()
    fan_in = {"conv1": 25, "conv2": 150, "conv2a": 150, "conv2b": 150, "conv3": 400, "full1": 120, "output": 84}
    for inner, value in parameters.items():
        layer, _, kind = inner.partition(".")
        bound = fan_in[layer] ** -0.5
        if kind == "weight":
            assert_uniform(value, bound)
        else:
            assert 0 < np.abs(value).max() <= bound * 1.0001


def test_lenet_tanh_starts_as_document_003_says() -> None:
    parameters = untouched("lenet_tanh").parameters()
    assert_uniform(parameters["conv1.weight"], math.sqrt(6 / (25 + 20 * 25 / 4)))
    assert_uniform(parameters["conv2.weight"], math.sqrt(6 / (20 * 25 + 50 * 25 / 4)))
    assert_uniform(parameters["full1.weight"], math.sqrt(6 / (800 + 500)))
    for inner in ("conv1.bias", "conv2.bias", "full1.bias", "output.weight", "output.bias"):
        assert not parameters[inner].any(), inner


def test_lenet5_numpy_starts_as_document_004_says() -> None:
    seeds = [engine("lenet5_numpy", seed=seed).parameters() for seed in range(1, 4)]
    sigma = {"conv1": math.sqrt(2), "conv2": math.sqrt(2 / 6), "full1": math.sqrt(2 / 256), "full2": math.sqrt(2 / 120)}
    for inner, expected in sigma.items():
        weights = np.concatenate([parameters[f"{inner}.weight"].ravel() for parameters in seeds])
        assert weights.std() == pytest.approx(expected, rel=0.1)
    biases = np.concatenate([p[f"{layer}.bias"] for p in seeds for layer in (*sigma, "output")])
    assert biases.std() == pytest.approx(1, rel=0.1) and abs(biases.mean()) < 0.15


def test_lenet5_1998_starts_within_the_papers_bound() -> None:
    """Uniform within ±2.4 / fan-in, the fan-in of a C3 map being what it reads."""
    parameters = untouched("lenet5_1998").parameters()
    bounds = {"c3.weight1": 2.4 / 75, "c3.weight2": 2.4 / 100, "c3.weight3": 2.4 / 150, "c5.weight": 2.4 / 400}
    for inner, bound in {**bounds, "c1.weight1": 2.4 / 25, "f6.weight": 2.4 / 120, "s4.coefficient": 0.6}.items():
        assert_uniform(parameters[inner], bound)


def test_seeds_differ_and_equal_layers_do_not_start_equal() -> None:
    first, second = untouched("two_branch").parameters(), engine("two_branch", seed=2).parameters()
    assert not np.allclose(first["conv1.weight"], second["conv1.weight"])
    assert not np.allclose(first["conv2a.weight"], first["conv2b.weight"])


# Single networks against NumPy


def test_two_branches_are_added(mnist: Mnist) -> None:
    """Branches exchanged: the same answers. One branch made silent: other answers."""
    images, _ = batch("two_branch", mnist)
    own = untouched("two_branch").parameters()
    other = {"conv2a": "conv2b", "conv2b": "conv2a"}
    exchanged = {".".join((other.get(n.split(".")[0], n.split(".")[0]), n.split(".")[1])): v for n, v in own.items()}
    silent = {name: v * 0 if "conv2b" in name else v for name, v in own.items()}
    expected = untouched("two_branch").log_probabilities(images)
    changed = engine("two_branch")
    assert np.allclose(load(changed, exchanged).log_probabilities(images), expected, atol=1e-5)
    assert not np.allclose(load(changed, silent).log_probabilities(images), expected, atol=1e-3)


def test_lenet5_relu_has_no_activation_between_c5_and_f6(mnist: Mnist) -> None:
    """C5's signs turned over, and F6's weights with them: nothing changes, as it would with a ReLU between."""
    images, _ = batch("lenet5_relu", mnist)
    own = untouched("lenet5_relu").parameters()
    turned = {n: -v if n.startswith("conv3") or n == "full1.weight" else v for n, v in own.items()}
    expected = untouched("lenet5_relu").log_probabilities(images)
    assert np.allclose(load(engine("lenet5_relu"), turned).log_probabilities(images), expected, atol=1e-5)


def test_lenet_tanh_pools_before_it_squashes() -> None:
    """With the mean, the document's order shows: tanh of the mean, not the mean of tanh."""
    side = 28
    random = np.random.default_rng(1)
    image = random.normal(0, 3, (1, 1, side, side)).astype(np.float32)
    trained = engine("lenet_tanh", maps=(1, 1), kernel_size=1, pooling="mean")
    one = np.ones((1, 1, 1, 1))
    first = np.zeros((500, 10))
    first[:, 0] = 1
    load(trained, {"conv1.weight": one, "conv2.weight": one, "full1.weight": np.eye(49, 500), "output.weight": first})
    x = image[0, 0]
    for _ in range(2):
        x = np.tanh(x.reshape(len(x) // 2, 2, len(x) // 2, 2).mean(axis=(1, 3)))
    score = np.tanh(x).sum()
    expected = score - np.log(np.exp(score) + 9)
    assert trained.log_probabilities(image)[0, 0] == pytest.approx(expected, abs=1e-4)


def test_lenet5_numpys_mean_is_that_of_the_training_images(mnist: Mnist) -> None:
    assert pytest.approx(mnist.train_images.mean(dtype=np.float64) / 255, abs=1e-12) == TRAINING_MEAN
    image = NETWORKS["lenet5_numpy"].image
    assert image.low + TRAINING_MEAN * (image.high - image.low) == pytest.approx(0, abs=1e-12)


def test_log_probabilities_have_no_floor(mnist: Mnist) -> None:
    """Paddle's log_softmax ends at -64 on the CPU."""
    images, _ = batch("lenet5_numpy", mnist)
    trained = load(
        engine("lenet5_numpy"),
        {"output.bias": np.array([500] + [0] * 9, np.float32), "output.weight": np.zeros((84, 10))},
    )
    assert trained.log_probabilities(images)[0].tolist() == [0.0] + [-500.0] * 9


# LeNet-5 of 1998


def test_bitmaps_are_ten_different_drawings_of_plus_and_minus_one() -> None:
    bitmaps = digit_bitmaps()
    assert bitmaps.shape == (10, 84) and (WIDTH, HEIGHT) == (7, 12)
    assert set(np.unique(bitmaps)) == {-1.0, 1.0}
    apart = [np.count_nonzero(bitmaps[i] != bitmaps[j]) for i in range(10) for j in range(i)]
    assert min(apart) >= 10
    seven = bitmaps[7].reshape(HEIGHT, WIDTH)
    assert (seven[0] == -1).all() and (seven[1] == 1).all() and (seven[2] == [-1] * 5 + [1] * 2).all()


def test_bitmaps_stay_unless_they_are_to_be_trained(mnist: Mnist) -> None:
    images, labels = batch("lenet5_1998", mnist)
    for trained, fixed in ((engine("lenet5_1998"), True), (engine("lenet5_1998", train_rbf=True), False)):
        trained.train_step(images, labels, 1e-3)
        assert np.array_equal(trained.parameters()["output.weight"], digit_bitmaps()) == fixed
    assert trained.training.trainable == 60_840


def test_sigmoids_start_with_the_papers_slopes() -> None:
    """1.7159 · 2/3 over 1/4: weights are 4.58 times larger, but for F6, which keeps the paper's function."""
    parameters = engine("lenet5_1998", squashing="sigmoid").parameters()
    assert_uniform(parameters["c5.weight"], 2.4 / 400 * 1.7159 * 2 / 3 * 4)
    assert_uniform(parameters["f6.weight"], 2.4 / 120)


def test_c3_reads_as_the_papers_table() -> None:
    """Each map of S2 feeds ten of C3; six maps read 3 neighbours, six 4, three 4 others, one all."""
    assert [len(reads) for reads in C3_READS] == [3] * 6 + [4] * 9 + [6]
    assert [sum(s2 in reads for reads in C3_READS) for s2 in range(6)] == [10] * 6
    assert len(set(C3_READS)) == 16
    written = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
    assert ["".join(map(str, reads)) for reads in C3_READS] == written.split()


def run_layer(build: Callable[[], tuple[paddle.Tensor, ...]], **feeds: np.ndarray) -> list[np.ndarray]:
    """Build variables in a program of its own and fetch them, all parameters as they start with seed 1."""
    main, startup, scope = static.Program(), static.Program(), static.Scope()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        fetches = build()
    executor = static.Executor(paddle.CPUPlace())
    paddle.seed(1)
    executor.run(startup, scope=scope)
    return executor.run(main, feed=feeds, fetch_list=list(fetches), scope=scope)


def test_a_map_of_c3_depends_on_the_maps_it_reads_and_on_no_other() -> None:
    def build() -> tuple[paddle.Tensor, ...]:
        layer = PartialConv(6, C3_READS, 5, SQUASHINGS["tanh"])
        return (layer(static.data("maps", [None, 6, 14, 14], "float32")),)

    maps = np.random.default_rng(1).normal(size=(1, 6, 14, 14)).astype(np.float32)
    changed = [maps] + [np.where(np.arange(6).reshape(6, 1, 1) == s2, maps + 1, maps) for s2 in range(6)]
    (out,) = run_layer(build, maps=np.concatenate(changed))
    for s2 in range(6):
        depends = [bool(np.any(out[1 + s2, c3] != out[0, c3])) for c3 in range(16)]
        assert depends == [s2 in reads for reads in C3_READS]


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
def test_c3_has_no_weight_outside_its_table(optimizer: Any, mnist: Mnist) -> None:
    """Steps of optimizers with memory, decay and all move every weight inside, and outside there is exactly 0."""
    recipe = Recipe(optimizer=optimizer, learning_rate=1e-2, weight_decay=0.1 if optimizer == "adamw" else 0.0)
    trained = engine("lenet5_1998", recipe)
    before = trained.parameters()
    for _ in range(3):
        trained.train_step(*batch("lenet5_1998", mnist), 1e-2)
    after = trained.parameters()
    weights = ["c3.weight1", "c3.weight2", "c3.weight3"]
    assert sum(after[name].size for name in [*weights, "c3.bias"]) == 1_516
    assert all((after[name] != before[name]).all() for name in weights)

    def build() -> tuple[paddle.Tensor, ...]:
        layer = PartialConv(6, C3_READS, 5, SQUASHINGS["tanh"])
        for name, parameter in zip(weights, layer.weights, strict=True):
            paddle.assign(paddle.assign(after[name]), output=parameter)
        return (layer.dense_weight(),)

    (dense,) = run_layer(build)
    kernels = iter(np.concatenate([after[name] for name in weights]))
    for c3, reads in enumerate(C3_READS):
        for s2 in range(6):
            expected = next(kernels) if s2 in reads else np.zeros((5, 5))
            assert np.array_equal(dense[c3, s2], expected)


def test_squashing_functions() -> None:
    """The paper's constants make f(±1) = ±1; the other is the logistic function."""
    a = np.array([-3, -1, -0.1, 0, 0.5, 1, 10], np.float32)

    def build() -> tuple[paddle.Tensor, ...]:
        variable = static.data("a", [7], "float32")
        return tuple(SQUASHINGS[name](variable) for name in ("tanh", "sigmoid"))

    scaled, sigmoid = run_layer(build, a=a)
    assert scaled == pytest.approx(1.7159 * np.tanh(2 / 3 * a), abs=1e-6)
    assert scaled[[1, 5]] == pytest.approx([-1, 1], abs=1e-4)
    assert sigmoid == pytest.approx(1 / (1 + np.exp(-a)), abs=1e-6)


@pytest.mark.parametrize("squashing", ["tanh", "sigmoid"])
def test_lenet5_1998_is_the_papers_network_in_numpy(squashing: str, mnist: Mnist) -> None:
    """Every layer, the penalties and the criterion, written down once more, without any shortcut of the program."""
    images, labels = batch("lenet5_1998", mnist, 8)
    trained = engine("lenet5_1998", squashing=squashing)
    p = {name: value.astype(np.float64) for name, value in trained.parameters().items()}

    def f(a: np.ndarray) -> np.ndarray:
        return 1.7159 * np.tanh(2 / 3 * a) if squashing == "tanh" else 1 / (1 + np.exp(-a))

    def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(2, 3))
        return np.einsum("ncyxij,mcij->nmyx", windows, weight) + bias[:, None, None]

    def subsample(x: np.ndarray, layer: str) -> np.ndarray:
        n, m, h, w = x.shape
        total = x.reshape(n, m, h // 2, 2, w // 2, 2).sum(axis=(3, 5))
        return f(total * p[f"{layer}.coefficient"][:, None, None] + p[f"{layer}.bias"][:, None, None])

    table = np.zeros((16, 6, 5, 5))
    kernels = iter(np.concatenate([p["c3.weight1"], p["c3.weight2"], p["c3.weight3"]]))
    for c3, reads in enumerate(C3_READS):
        for s2 in reads:
            table[c3, s2] = next(kernels)
    x = subsample(f(conv(images.astype(np.float64), p["c1.weight1"][:, None], p["c1.bias"])), "s2")
    x = subsample(f(conv(x, table, p["c3.bias"])), "s4")
    x = f(conv(x, p["c5.weight"], p["c5.bias"]))[:, :, 0, 0]
    x = 1.7159 * np.tanh(2 / 3 * (x @ p["f6.weight"] + p["f6.bias"]))
    y = np.square(x[:, None] - digit_bitmaps()).sum(axis=2)
    # Equation 9: y of the right class + log(e^-j + Σ e^-y), here for every class.
    expected = -(y + np.log(np.exp(-RUBBISH_PENALTY) + np.exp(-y).sum(axis=1, keepdims=True)))
    assert trained.log_probabilities(images) == pytest.approx(expected, rel=1e-4)
    trained.train_step(images, labels, 1e-3)
    assert trained.recent(1)[0, 0] == pytest.approx(-expected[np.arange(8), labels].mean(), rel=1e-4)


# Training settings


def test_label_smoothing_is_part_of_what_is_minimised_not_of_what_is_told(mnist: Mnist) -> None:
    """One plain step of the output's biases, against the gradient written down: softmax - smoothed label."""
    images, labels = batch("lenet_tanh", mnist)
    for smoothing in (0.0, 0.2):
        trained = engine("lenet_tanh", Recipe(optimizer="sgd", learning_rate=1.0, label_smoothing=smoothing))
        trained.train_step(images, labels, 1.0)
        target = (1 - smoothing) * np.eye(10)[labels] + smoothing / 10
        assert trained.parameters()["output.bias"] == pytest.approx((target - 0.1).mean(axis=0), abs=1e-6)
        assert trained.recent(1)[0, 0] == pytest.approx(math.log(10), abs=1e-5)


def test_momentum_is_the_recipes(mnist: Mnist) -> None:
    """Equal gradients twice: the second step is (1 + momentum) times the first."""
    images, labels = batch("lenet_tanh", mnist)
    trained = engine("lenet_tanh", Recipe(optimizer="momentum", momentum=0.75))
    load(trained, {"output.bias": np.linspace(-1, 1, 10)})
    biases = [trained.parameters()["output.bias"].astype(np.float64)]
    for _ in range(2):
        trained.train_step(images, labels, 1e-3)
        biases.append(trained.parameters()["output.bias"].astype(np.float64))
    assert np.abs(biases[2] - biases[1]) == pytest.approx(1.75 * np.abs(biases[1] - biases[0]), rel=2e-2)


def test_adamw_decays_weights_and_spares_biases_and_scales(mnist: Mnist) -> None:
    """Two runs that differ in the decay alone: after one step weights differ by rate · decay · weight."""
    images, labels = batch("conv_pool_bn", mnist)
    start = engine("conv_pool_bn").parameters()
    ends = []
    for decay in (0.0, 0.5):
        trained = engine("conv_pool_bn", Recipe(optimizer="adamw", weight_decay=decay))
        trained.load_parameters(start)
        trained.train_step(images, labels, 1e-2)
        ends.append(trained.parameters())
    for name, value in start.items():
        decayed = 1e-2 * 0.5 * value if name in ("conv1.weight", "conv2.weight", "output.weight") else 0 * value
        assert ends[0][name] - ends[1][name] == pytest.approx(decayed, abs=1e-6), name


def test_weight_decay_is_adamws() -> None:
    with pytest.raises(UsageError, match="expected --optimizer adamw, got sgd"):
        Recipe(optimizer="sgd", weight_decay=0.1)


def test_learning_rate_of_each_step() -> None:
    assert {learning_rate(Recipe(learning_rate=0.1), step, 10) for step in range(10)} == {0.1}
    recipe = Recipe(learning_rate=0.4, schedule="cosine", warmup_steps=4)
    rates = [learning_rate(recipe, step, 12) for step in range(12)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[8] == pytest.approx(0.2)
    assert rates[11] == pytest.approx(0.2 * (1 + math.cos(math.pi * 7 / 8))) and rates[11] > 0
    assert learning_rate(recipe, 12, 12) == pytest.approx(0)
    to_a_tenth = replace(recipe, final_rate=0.1)
    assert learning_rate(to_a_tenth, 4, 12) == pytest.approx(0.4)
    assert learning_rate(to_a_tenth, 8, 12) == pytest.approx(0.22)
    assert learning_rate(to_a_tenth, 12, 12) == pytest.approx(0.04)
    for wrong in ({"final_rate": 1.5}, {"final_rate": 0.1, "schedule": "constant"}):
        with pytest.raises(UsageError, match="--final-rate"):
            replace(recipe, **wrong)


def test_published_recipes_are_the_sheets() -> None:
    told = {
        name: (r.optimizer, r.learning_rate, r.batch_size, r.passes)
        for name, r in PUBLISHED.items()
        # One's published way of training is not to be had, and the other has none.
        if name not in ("lenet5_1998", "lenet_row")
    }
    assert told == {
        "conv_pool_bn": ("adam", 1e-3, 128, 10),
        "two_branch": ("adam", 2e-3, 256, 15),
        "lenet5_relu": ("adam", 1e-3, 128, 500),
        "lenet_tanh": ("sgd", 0.1, 500, 200),
        "lenet5_numpy": ("adam", 5e-3, 64, 23),  # a rate that the document does not name
    }
    assert set(PUBLISHED) == set(NETWORKS) and PUBLISHED["lenet5_1998"].passes == 20


def test_document_004_has_two_more_recipes_and_no_one_else() -> None:
    sgd, momentum = (recipe_for("lenet5_numpy", name) for name in ("published-sgd", "published-momentum"))
    assert sgd.optimizer == "sgd" and sgd.learning_rate == pytest.approx(1e-4 * sgd.batch_size)
    assert (momentum.optimizer, momentum.momentum, momentum.learning_rate) == ("momentum", 0.99, sgd.learning_rate)
    assert abs(math.ceil(55_000 / 64) * sgd.passes - 20_000) < 860 / 2
    assert set(RECIPES["published-sgd"]) == {"lenet5_numpy"}
    with pytest.raises(UsageError, match=r"--recipe published-sgd: .* expected one of published, best$"):
        recipe_for("two_branch", "published-sgd")
