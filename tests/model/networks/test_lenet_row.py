"""lenet_row: rows in, digits out; its loss, its decoding, its saved model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import static

from data.dataset import Mnist
from data.rows import RowMaker, batch
from model.decoding import NONE, aligned, greedy, losses, placed, search
from model.device import choose_device
from model.engine import Exporter, PaddleEngine
from model.image import network_input
from model.kernels.build import load_fused
from model.networks import NETWORKS
from model.ops.backend import Backend
from model.ops.ctc import ctc_loss
from model.predictor import Predictor
from model.program import NetworkConfig
from model.recipes import PUBLISHED
from model.saved_model import SavedModel

RECIPE = replace(PUBLISHED["lenet_row"], ema=0.0)
SMALL = {"maps": (3, 4)}


def engine(form: Backend = "stock") -> PaddleEngine:
    return PaddleEngine(NetworkConfig("lenet_row", SMALL, form), RECIPE, choose_device("cpu"), 1)


@pytest.fixture(scope="module")
def rows(mnist: Mnist) -> tuple[np.ndarray, np.ndarray]:
    """Eight rows as the network takes them, and their labels."""
    made = RowMaker(mnist.train_images[:500], mnist.train_labels[:500], 1, 1)
    images, labels = batch(*made.rows(range(8)))
    return network_input(images, NETWORKS["lenet_row"].image), labels


def log_probabilities(columns: int, seed: int = 0) -> np.ndarray:
    """Of random columns, [T, 11]."""
    scores = np.random.default_rng(seed).normal(0, 2, (columns, 11))
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(digit for digit, _ in itertools.groupby(path) if digit != NONE)


def ways(log_probability: np.ndarray) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every path through the columns, with its log-probability."""
    for path in itertools.product(range(11), repeat=len(log_probability)):
        yield path, sum(column[digit] for column, digit in zip(log_probability, path, strict=True))


def test_it_answers_every_two_pixels_at_every_width() -> None:
    trained = engine()
    for width in (32, 50, 200):
        answers = trained.log_probabilities(np.zeros((2, 1, 32, width), np.float32))
        assert answers.shape == (2, (width - 20) // 2, 11)
        assert np.allclose(np.exp(answers).sum(axis=2), 1, atol=1e-5)


def test_the_layers_that_add_to_what_they_read_add_nothing_at_first(rows: tuple[np.ndarray, np.ndarray]) -> None:
    trained = engine()
    before = trained.log_probabilities(rows[0])
    first = trained.parameters()
    assert not any(first[f"{norm}.weight"].any() for norm in ("norm5", "norm6"))
    trained.load_parameters(first | {name: first[name] + 1 for name in ("conv5.weight", "conv6.weight")})
    assert np.array_equal(trained.log_probabilities(rows[0]), before)
    trained.train_step(*rows, 1e-3)
    assert all(trained.parameters()[f"{norm}.weight"].any() for norm in ("norm5", "norm6"))


def test_its_loss_is_that_of_all_ways_to_place_the_digits() -> None:
    log_probability = log_probabilities(4)
    for digits in ((), (3,), (3, 3), (1, 2, 1)):
        of_ways = [value for path, value in ways(log_probability) if collapsed(path) == digits]
        labels = np.array([[*digits, *[-1] * (3 - len(digits))]])
        assert losses(log_probability[None], labels)[0] == pytest.approx(-np.logaddexp.reduce(of_ways))
    assert losses(log_probability[None], np.array([[1, 1, 1]]))[0] == np.inf  # needs five columns


def test_the_programs_loss_and_count_of_right_rows_are_those_of_the_decoder() -> None:
    scores = np.stack([log_probabilities(9, seed) for seed in range(6)]).astype(np.float32)
    labels = np.full((6, 11), -1)
    for number in range(6):
        read = [one.digit for one in greedy(scores[number])]
        labels[number, : len(read)] = read
    labels[4:, 0] = (labels[4:, 0] + 1) % 10  # two rows are wrong
    main = static.Program()
    with static.program_guard(main, static.Program()):
        fetches = [*ctc_loss(static.data("scores", [-1, -1, 11]), static.data("label", [-1, -1], "int64"))]
    loss, row = static.Executor(paddle.CPUPlace()).run(
        main, feed={"scores": scores, "label": labels}, fetch_list=fetches
    )
    assert loss == pytest.approx(losses(scores, labels).mean(), rel=1e-5)
    assert row == pytest.approx([float(loss), 4], rel=1e-5)


def test_the_search_finds_the_likeliest_row() -> None:
    """Over all ways to place it; the likeliest single way may be another row's."""
    differing = 0
    for seed in range(8):
        log_probability = log_probabilities(3, seed) / 1.5
        log_probability -= np.log(np.exp(log_probability).sum(axis=1, keepdims=True))
        totals: dict[tuple[int, ...], float] = {}
        for path, value in ways(log_probability):
            totals[collapsed(path)] = np.logaddexp(totals.get(collapsed(path), -np.inf), value)
        best = max(totals, key=lambda digits: totals[digits])
        found = search(log_probability, beams=2000)
        assert found[0][0] == best and found[0][1] == pytest.approx(totals[best])
        differing += best != tuple(one.digit for one in greedy(log_probability))
    assert differing


def test_digits_are_placed_on_their_columns() -> None:
    sure = np.full((9, 11), -6.0)
    for time, digit in enumerate([NONE, 5, 5, NONE, 5, 2, 2, 2, NONE]):
        sure[time, digit] = -0.1
    for spans in (greedy(sure), placed(sure, [5, 5, 2])):
        assert [(one.digit, one.start, one.end) for one in spans] == [(5, 1, 3), (5, 4, 5), (2, 5, 8)]
    assert placed(sure, [1] * 6) == [] and placed(sure, []) == []  # six equal digits need eleven columns


def test_errors_are_counted_as_least_changes() -> None:
    assert aligned([1, 2, 3], [1, 2, 3]) == (0, [1, 2, 3])
    assert aligned([1, 7, 3], [1, 2, 3]) == (1, [1, 2, 3])
    assert aligned([1, 9, 2], [1, 2]) == (1, [1, NONE, 2])
    assert aligned([2], [1, 2, 3]) == (2, [2])
    assert aligned([], [4, 4]) == (2, []) and aligned([8], []) == (1, [NONE])


def test_the_fused_backend_trains_alike(rows: tuple[np.ndarray, np.ndarray]) -> None:
    if reason := load_fused():
        pytest.skip(reason)
    stock, fused = engine(), engine("fused")
    fused.load_parameters(stock.parameters())
    for trained in (stock, fused):
        for _ in range(3):
            trained.train_step(*rows, 1e-3)
    assert np.allclose(stock.recent(3), fused.recent(3), rtol=1e-3)


def test_it_learns_a_few_rows(rows: tuple[np.ndarray, np.ndarray]) -> None:
    trained = engine()
    for _ in range(30):
        trained.train_step(*rows, 5e-3)
    recent = trained.recent(30)[:, 0]
    assert recent[-3:].mean() < 0.5 * recent[:3].mean()


def test_the_saved_program_answers_alike(rows: tuple[np.ndarray, np.ndarray]) -> None:
    trained = engine()
    spec = NETWORKS["lenet_row"].image
    card = {"labels": list("0123456789"), "input": {"shape": spec.shape, "low": -1, "high": 1, "fit": "row"}}
    files = Exporter(NetworkConfig("lenet_row", SMALL)).files(trained.parameters())
    predictor = Predictor(SavedModel(Path("rows"), card, *files))
    for width in (40, rows[0].shape[3]):
        images = np.ascontiguousarray(rows[0][..., :width])
        assert np.allclose(predictor.log_probabilities(images), trained.log_probabilities(images), atol=1e-3)
