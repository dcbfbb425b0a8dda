"""Programs are values: what they hold, and what running them leaves alone."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import paddle
import pytest

from common.errors import UsageError, UserError
from data.dataset import Mnist
from model.device import choose_device
from model.engine import Exporter, PaddleEngine
from model.image import ImageSpec, network_input
from model.networks import DIGIT_NETWORKS, NETWORKS, check_options
from model.predictor import Predictor
from model.program import NetworkConfig, evaluation_program, inference_program, training_program
from model.recipes import PUBLISHED, NetworkName
from model.saved_model import load_model
from tests.models import write_model

RECIPE = PUBLISHED["conv_pool_bn"]


def engine(seed: int = 1, **options: object) -> PaddleEngine:
    return PaddleEngine(NetworkConfig("conv_pool_bn", options), RECIPE, choose_device("cpu"), seed)


@pytest.fixture(scope="module")
def batch(mnist: Mnist) -> tuple[np.ndarray, np.ndarray]:
    images = network_input(mnist.train_images[:128], ImageSpec(size=28, low=-1.0, high=1.0, fit="none"))
    return images, mnist.train_labels[:128].astype(np.int64)


def digest(arrays: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        total.update(name.encode() + value.tobytes())
    return total.hexdigest()


def test_parameter_count_is_the_specification() -> None:
    program = training_program(NetworkConfig("conv_pool_bn"), RECIPE)
    assert program.trainable == 33_620
    parameters = engine().parameters()
    assert sum(value.size for value in parameters.values()) == 33_660  # with the 40 running statistics
    assert {name: value.shape for name, value in parameters.items() if name.endswith("weight")} == {
        "conv1.weight": (20, 1, 5, 5),
        "norm.weight": (20,),
        "conv2.weight": (50, 20, 5, 5),
        "output.weight": (800, 10),
    }


def test_the_three_programs_share_parameters_by_name() -> None:
    choice = NetworkConfig("conv_pool_bn")
    training, evaluation, inference = (
        training_program(choice, RECIPE),
        evaluation_program(choice),
        inference_program(choice),
    )
    assert dict(training.parameters) == dict(evaluation.parameters) == dict(inference.parameters)
    assert list(training.feeds) == ["image", "label"]
    assert list(evaluation.feeds) == list(inference.feeds) == ["image"]


def test_a_program_cannot_be_changed() -> None:
    program = evaluation_program(NetworkConfig("conv_pool_bn"))
    with pytest.raises(AttributeError):
        program.main = None  # type: ignore[misc]
    with pytest.raises(TypeError):
        program.fetches["more"] = None  # type: ignore[index]


def test_steps_learn(batch: tuple[np.ndarray, np.ndarray]) -> None:
    trained = engine()
    for _ in range(20):
        trained.train_step(*batch, 1e-3)
    losses = trained.recent(20)[:, 0]
    assert losses[-1] < 0.5 * losses[0]


def test_recent_tells_each_steps_loss_and_right_answers_before_its_update(batch: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = batch
    trained = engine()
    silent = {"output.weight": np.zeros((800, 10), np.float32), "output.bias": np.zeros(10, np.float32)}
    trained.load_parameters({**trained.parameters(), **silent})
    trained.train_step(images, labels, 1e-3)
    loss, right = trained.recent(1)[0]
    assert loss == pytest.approx(np.log(10), abs=1e-5)  # equal scores for ten digits
    assert right == np.count_nonzero(labels == 0)  # of equals, the first


def test_evaluation_changes_nothing_and_sees_trained_weights(batch: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = batch
    trained = engine()
    fresh = trained.log_probabilities(images)
    for _ in range(3):
        trained.train_step(images, labels, 1e-3)
    before = digest(trained.state())
    first, second = trained.log_probabilities(images), trained.log_probabilities(images)
    assert digest(trained.state()) == before
    assert np.array_equal(first, second)
    assert not np.allclose(first, fresh)


def test_evaluation_normalises_with_running_statistics(batch: tuple[np.ndarray, np.ndarray]) -> None:
    """An image's answer must not depend on the batch it is in."""
    images, labels = batch
    trained = engine()
    for _ in range(3):
        trained.train_step(images, labels, 1e-3)
    assert np.allclose(trained.log_probabilities(images)[:5], trained.log_probabilities(images[:5]), atol=1e-5)


def test_same_seed_same_bits_other_seed_other_bits(batch: tuple[np.ndarray, np.ndarray]) -> None:
    digests = []
    for seed in (1, 1, 2):
        trained = engine(seed)
        trained.train_step(*batch, 1e-3)
        digests.append(digest(trained.state()))
    assert digests[0] == digests[1] != digests[2]


def test_learning_rate_is_that_of_the_step(batch: tuple[np.ndarray, np.ndarray]) -> None:
    """Adam's first update is the learning rate in size, whatever the gradient."""
    for rate in (1e-3, 2e-2):
        trained = engine()
        before = trained.parameters()["output.bias"]
        trained.train_step(*batch, rate)
        assert np.abs(trained.parameters()["output.bias"] - before).max() == pytest.approx(rate, rel=1e-2)


def test_state_restores_exactly(batch: tuple[np.ndarray, np.ndarray]) -> None:
    first = engine()
    for _ in range(2):
        first.train_step(*batch, 1e-3)
    second = engine(seed=7)
    second.load_state(first.state())
    for trained in (first, second):
        trained.train_step(*batch, 5e-4)
    assert digest(first.state()) == digest(second.state())


def test_state_of_another_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"expected float32.* got float32"):
        engine().load_state(engine(maps=(4, 6)).state())


def test_weight_average_is_what_is_scored_and_saved(batch: tuple[np.ndarray, np.ndarray]) -> None:
    """After each step the average moves towards the weights, at first by 9 / (9 + t) of the way, then by 1 - decay."""
    decay = 0.32
    plain, averaged = (
        engine(),
        PaddleEngine(NetworkConfig("conv_pool_bn"), dataclasses.replace(RECIPE, ema=decay), choose_device("cpu"), 1),
    )
    expected = plain.parameters()
    assert digest(expected) == digest(averaged.parameters())
    for t in range(1, 7):
        for trained in (plain, averaged):
            trained.train_step(*batch, 1e-2)
        rate = max(9 / (9 + t), 1 - decay)
        expected = {name: value + (1 - rate) * (expected[name] - value) for name, value in plain.parameters().items()}
    assert rate == 1 - decay
    for name, value in averaged.parameters().items():
        assert np.allclose(value, expected[name], atol=1e-6), name
    plain.load_parameters(averaged.parameters())
    assert np.allclose(plain.log_probabilities(batch[0]), averaged.log_probabilities(batch[0]), atol=1e-5)


def test_options_change_the_network() -> None:
    assert engine(maps=(4, 6), kernel_size=3).parameters()["output.weight"].shape == (6 * 5 * 5, 10)


@pytest.mark.parametrize("kernel_size", [1, 9])
def test_every_allowed_kernel_size_runs(kernel_size: int, batch: tuple[np.ndarray, np.ndarray]) -> None:
    check_options("conv_pool_bn", {"kernel_size": kernel_size})
    trained = engine(kernel_size=kernel_size)
    trained.train_step(*batch, 1e-3)
    assert np.isfinite(trained.recent(1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 10}, "--kernel-size 10: expected 1 to 9"),
        ({"maps": (20,)}, "--maps 20: expected 2 numbers"),
        ({"maps": (20, 0)}, "--maps 20 0: expected 2 numbers of at least 1"),
        ({"colour": 1}, "no such option"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_options("conv_pool_bn", options)


def test_pooling_kinds_differ(batch: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = batch
    assert not np.allclose(
        engine(pooling="max").log_probabilities(images), engine(pooling="mean").log_probabilities(images)
    )


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_saved_model_answers_as_the_evaluation_program(name: NetworkName, mnist: Mnist, tmp_path) -> None:
    image = NETWORKS[name].image
    trained = PaddleEngine(NetworkConfig(name), PUBLISHED[name], choose_device("cpu"), 1)
    images = network_input(mnist.test_images[:300], image)
    card = {
        "input": {"shape": [-1, 1, image.size, image.size], "low": image.low, "high": image.high, "fit": image.fit},
        "labels": list("0123456789"),
    }
    program, parameters = Exporter(NetworkConfig(name)).files(trained.parameters())
    write_model(tmp_path / "model", program, parameters, card)
    predicted = Predictor(load_model(tmp_path / "model")).log_probabilities(images)
    # Below e^-80 the saved model's probabilities come to the end of float32's range.
    expected = trained.log_probabilities(images)
    assert np.allclose(np.maximum(predicted, -80), np.maximum(expected, -80), atol=1e-4)


def test_saved_program_tells_no_paths_of_this_machine() -> None:
    program, _ = Exporter(NetworkConfig("conv_pool_bn")).files(engine().parameters())
    assert b"/model/" not in program and b".py" not in program


def test_gpu_without_one_is_an_error() -> None:
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        assert choose_device("gpu").name == "gpu"
        return
    with pytest.raises(UserError, match="--device gpu"):
        choose_device("gpu")
    assert choose_device("auto").reason


@pytest.mark.parametrize(("given", "number"), [("", 0), ("3", 3), ("2,3", 2)])
def test_a_process_computes_on_the_gpu_that_the_launcher_gave_it(
    given: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAGS_selected_gpus", given)
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle, "CUDAPlace", lambda gpu: f"GPU {gpu}")
    monkeypatch.setattr("model.device._why_no_gpu", lambda: "")
    assert choose_device("auto").place == f"GPU {number}"


def test_repeated_runs_are_paddles_own(batch: tuple[np.ndarray, np.ndarray]) -> None:
    """Whatever is spared, the bits are those of Executor.run, for other batch sizes too."""
    images, labels = batch
    spared, plain = engine(), engine()
    values = plain._session
    for size in (128, 128, 40, 128):
        feed = {"image": images[:size], "label": labels[:size]}
        spared.train_step(images[:size], labels[:size], RECIPE.learning_rate)
        values.executor.run(values.program.main, feed=feed, fetch_list=[], scope=values.scope)
    assert digest(spared.state()) == digest(plain.state())
