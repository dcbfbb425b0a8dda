"""Training by shards: the bits of one process on any number of them, and those of no shards with one."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import paddle
import pytest

from data.dataset import Mnist
from model.device import choose_device
from model.engine import PaddleEngine
from model.image import network_input
from model.networks import NETWORKS
from model.ops.backend import backend
from model.ops.optimizer import variable
from model.ops.shard_row import assign_pieces, restart, sum_rows, write_row
from model.program import NetworkConfig
from model.recipes import RECIPES
from model.shards import ROWS, ShardedEngine, own_images
from model.world import ALONE, World
from tests.conftest import ROOT
from tests.model.operators import need_fused, small_program

STEPS, BATCH, LAST = 4, 40, 5  # the last batch leaves some of 8 shards without an image


def digest(state: Mapping[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(name.encode() + value.tobytes() for name, value in state.items())).hexdigest()


def batches(name: str, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    spec = NETWORKS[name].image
    inputs = network_input(images, spec)
    for step in range(STEPS):
        own = slice(step * BATCH, step * BATCH + (BATCH if step < STEPS - 1 else LAST))
        yield inputs[own], labels[own].astype(np.int64)


def trained(engine: PaddleEngine, name: str, mnist: Mnist, world: World = ALONE) -> PaddleEngine:
    for images, labels in batches(name, mnist.train_images, mnist.train_labels):
        engine.train_step(images[own_images(len(labels), 8, world)], labels, 1e-3)
    return engine


def engine(name: Any, recipe: Any, backend: Any, shards: int = 0) -> PaddleEngine:
    config, settings, device = NetworkConfig(name, {}, backend), RECIPES[recipe][name], choose_device("cpu")
    if not shards:
        return PaddleEngine(config, settings, device, seed=1)
    return ShardedEngine(config, settings, device, 1, shards, World())


@pytest.mark.parametrize(("name", "recipe"), [("conv_pool_bn", "best"), ("lenet5_1998", "published")])
def test_one_shard_is_training_without_shards_bit_for_bit(name: str, recipe: str, mnist: Mnist) -> None:
    need_fused()
    whole, one = (trained(engine(name, recipe, "fused", shards), name, mnist) for shards in (0, 1))
    assert digest(one.state()) == digest(whole.state())
    np.testing.assert_array_equal(one.recent(STEPS), whole.recent(STEPS))


def test_shards_of_one_image_more_or_less_weigh_what_they_should(mnist: Mnist) -> None:
    """Without batch normalisation, shards change the rounding alone."""
    whole, parts = (trained(engine("lenet5_numpy", "published-sgd", "stock", n), "lenet5_numpy", mnist) for n in (0, 4))
    for name, value in whole.parameters().items():
        np.testing.assert_allclose(parts.parameters()[name], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts.recent(STEPS), whole.recent(STEPS), rtol=1e-5)


def test_an_empty_shard_has_no_right_answer(mnist: Mnist) -> None:
    """Five images in eight shards, each answered right; an empty shard computes one of them again."""
    parts = engine("lenet5_numpy", "published-sgd", "stock", 8)
    images = network_input(mnist.train_images[:5], NETWORKS["lenet5_numpy"].image)
    answers = parts.log_probabilities(images).argmax(axis=1)
    parts.train_step(images, answers, 0.0)
    assert parts.recent(1)[0][1] == 5


def test_running_statistics_are_the_mean_of_the_shards(mnist: Mnist) -> None:
    """Each shard moves the old statistics towards its own; the mean of equal shards is that of the whole batch."""
    whole, parts = (engine("conv_pool_bn", "published", "stock", shards) for shards in (0, 4))
    images, labels = next(batches("conv_pool_bn", mnist.train_images, mnist.train_labels))
    for each in (whole, parts):
        each.train_step(images, labels, 0.0)
    np.testing.assert_allclose(parts.parameters()["norm._mean"], whole.parameters()["norm._mean"], rtol=1e-5, atol=1e-7)


def test_no_zero_is_negative_in_one_process_either() -> None:
    """Processes add each other's zeros, of which -0 becomes 0; a single one has none to add."""
    for shards in (1, 2):
        alone = engine("conv_pool_bn", "published", "stock", shards)
        assert isinstance(alone, ShardedEngine)
        alone._session.set(ROWS, np.full_like(alone._session.get(ROWS), -0.0))
        alone._session.run({})
        assert not np.signbit(alone.parameters()["norm._mean"]).any()


def test_shards_begin_and_rows_are_written_and_summed_alike_by_both_backends() -> None:
    """Bit for bit; the second shard is empty, so that its right answers do not count."""
    need_fused()
    rng = np.random.default_rng(1)
    shapes, shares = ((3, 5), (7,), (1,)), (0.25, 0.0, 0.5, 0.25)
    of_shards = [[rng.standard_normal(shape).astype(np.float32) for shape in (*shapes, (2,))] for _ in shares]

    def results(form: Any) -> dict[str, np.ndarray]:
        def program(shard: Any, **parts: Any) -> dict[str, Any]:
            *values, log = parts.values()
            mean = variable("mean", [3], 2.0)
            restart(shard, [mean], variable("before", [3], 0.0))
            paddle.assign(mean + 1, output=mean)
            rows = variable("rows", [4, 25], 0.0)
            write_row(rows, shard, [paddle.reshape(v, s) for v, s in zip(values, shapes, strict=True)], log)
            sums = sum_rows(paddle.assign(rows), 2)
            flat = paddle.split(paddle.reshape(sum_rows(paddle.assign(rows), 1), [-1]), [23, 2])[0]
            assign_pieces(flat, [variable(f"piece{n}", shape, 0.0) for n, shape in enumerate(shapes)])
            return {"sums": sums}

        feeds = [
            {"shard": np.array([shares[n], n], np.float32), **dict(zip("abcd", each, strict=True))}
            for n, each in enumerate(of_shards)
        ]
        with backend(form):
            session = small_program(program, feeds[0])
        for feed in feeds:
            (sums,) = session.run(feed)
        return {"sums": sums, **session.state()}

    stock, fused = results("stock"), results("fused")
    flat = [np.concatenate([part.reshape(-1) for part in each]) for each in of_shards]
    np.testing.assert_array_equal(stock["rows"][2], flat[2] * np.array([0.5] * 24 + [1], np.float32))
    assert stock["rows"][1][-1] == 0
    assert stock["before"].tolist() == [2] * 3 and stock["mean"].tolist() == [3] * 3, "as if there were one shard"
    for name in stock:
        np.testing.assert_array_equal(fused[name], stock[name], name)


def test_a_state_goes_on_with_shards_and_without(mnist: Mnist) -> None:
    """The state is that of training without shards: same names, same shapes."""
    first = trained(engine("conv_pool_bn", "published", "stock", 4), "conv_pool_bn", mnist)
    again = engine("conv_pool_bn", "published", "stock", 4)
    again.load_state(first.state())
    assert digest(trained(again, "conv_pool_bn", mnist).state()) == digest(
        trained(first, "conv_pool_bn", mnist).state()
    )
    engine("conv_pool_bn", "published", "stock").load_state(first.state())


def test_every_shard_has_one_owner() -> None:
    for size in (1, 2, 3, 5, 8):
        owned = [shard for rank in range(size) for shard in World(rank, size).own(8)]
        assert owned == list(range(8))


PROCESS = """
import sys
import model
from model.world import join
world = join()
import numpy as np
from data.dataset import load_mnist
from model.device import choose_device
from model.program import NetworkConfig
from model.recipes import RECIPES
from model.shards import ShardedEngine
from tests.model.test_shards import digest, trained
mnist = load_mnist()
name, recipe, backend = sys.argv[1:]
if backend == "fused":
    from model.kernels.build import load_fused
    assert not load_fused()
engine = ShardedEngine(NetworkConfig(name, {}, backend), RECIPES[recipe][name], choose_device("cpu"), 1, 8, world)
print(digest(trained(engine, name, mnist, world).state()), world.sum(np.full(3, world.rank + 1, np.float32)).tolist())
"""


def processes(size: int, *arguments: str) -> list[str]:
    """The last line that each of `size` processes prints, which the launcher would start so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ends = ",".join(f"127.0.0.1:{port + rank}" for rank in range(size))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PADDLE_TRAINER_ID": str(rank),
                "PADDLE_TRAINERS_NUM": str(size),
                "PADDLE_TRAINER_ENDPOINTS": ends,
                "PADDLE_CURRENT_ENDPOINT": ends.split(",")[rank],
                "PADDLE_MASTER": f"127.0.0.1:{port + size}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    printed = [process.communicate(timeout=900) for process in started]
    assert [process.returncode for process in started] == [0] * size, printed
    return [out.splitlines()[-1] for out, _ in printed]


def test_two_processes_have_the_bits_of_one(mnist: Mnist) -> None:
    alone = trained(engine("conv_pool_bn", "best", "stock", 8), "conv_pool_bn", mnist)
    assert processes(2, "conv_pool_bn", "best", "stock") == [f"{digest(alone.state())} [3.0, 3.0, 3.0]"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"), [("conv_pool_bn", "published"), ("two_branch", "best"), ("lenet_tanh", "published")]
)
@pytest.mark.parametrize("size", [3, 4])
def test_more_processes_have_the_bits_of_one(name: str, recipe: str, size: int, mnist: Mnist) -> None:
    need_fused()
    alone = trained(engine(name, recipe, "fused", 8), name, mnist)
    assert {line.split()[0] for line in processes(size, name, recipe, "fused")} == {digest(alone.state())}
