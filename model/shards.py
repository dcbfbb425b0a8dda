"""Data-parallel training whose weights do not depend on the number of processes.

A batch is always cut into V shards. Each process computes its own shards one after another; the gradients, losses,
right answers and running statistics of a shard, weighted by its share of the batch, are one row [n]. Rows are summed
as a tree of neighbours. Each process sums its own branch; an all_reduce, to which a process gives zeros for the
branches of others, makes all known to all (adding zero is exact); everybody sums the branches and takes the same step.
Batch normalisation uses the statistics of a shard, as "ghost" batch normalisation does (Hoffer, Hubara and Soudry
2017, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import distributed, static

from model.device import Device
from model.engine import PaddleEngine, Session
from model.networks import Network
from model.ops.batch_norm import BatchNorm
from model.ops.loss import append_to_recent, softmax_loss
from model.ops.optimizer import apply_gradients, variable
from model.ops.shard_row import assign_pieces, restart, sum_rows, write_row
from model.program import RECENT, REMEMBERED_STEPS, NetworkConfig, Program, average, program_of, value_of
from model.recipes import Recipe
from model.world import World

ROWS = "rows"  # variable [K, n]: the rows of this process's K shards
BEFORE = "statistics_before"  # variable: the running statistics before the step, one after the other


@dataclass(frozen=True)
class Layout:
    """The variables whose numbers are a row, by name; behind them are loss and right answers."""

    gradients: Sequence[str]
    statistics: Sequence[str]
    size: int


def shard_program(config: NetworkConfig, recipe: Recipe, own: int) -> tuple[Program, Layout]:
    """Build the program that computes one of this process's `own` shards and writes its row [n] of `ROWS`.

    It feeds `image`, `label` and `shard` [2]: its share of the batch, and the number of its row. Row 0 comes first.
    """
    with program_of(config) as (programs, network, image):
        label, shard = static.data("label", [None], "int64"), static.data("shard", [2], "float32")
        running = _running(network)
        if running:
            restart(shard, running, variable(BEFORE, [_numbers(running)], 0.0))
        scores = network(image)
        loss, log = softmax_loss(network.logits(scores), label, network.classes, recipe.label_smoothing)
        found = [(p, g) for p, g in static.append_backward(loss) if g is not None]
        parts = [*(g for _, g in found), *running]
        layout = Layout([p.name for p, _ in found], [each.name for each in running], _numbers(parts) + 2)
        write_row(variable(ROWS, [own, layout.size], 0.0), shard, parts, log)
        return value_of(programs, network, [image, label, shard], {}), layout


def update_program(config: NetworkConfig, recipe: Recipe, shards: int, layout: Layout, world: World) -> Program:
    """Build the program that takes the step, by the rows of all processes' shards; it feeds and fetches nothing."""
    with program_of(config, feed=False) as (programs, network, _):
        # Each process sums its own shards first, if they are a whole branch of the tree: fewer rows travel.
        travelling = world.size if shards % world.size == 0 else shards
        own = world.own(travelling)
        rows = sum_rows(variable(ROWS, [len(world.own(shards)), layout.size], 0.0), len(own))
        if world.size > 2:  # the sum of two numbers is the same in either order: of two processes one row travels
            around = [paddle.zeros([count, rows.shape[1]]) for count in (own.start, travelling - own.stop)]
            rows = paddle.concat([part for part in (around[0], rows, around[1]) if part.shape[0]])
        if world.size > 1:
            distributed.all_reduce(rows)
        rows = sum_rows(rows, 1)
        # Where processes add each other's zeros, -0 has become 0; here it does so in any case.
        total = paddle.add(paddle.reshape(rows, [-1]), paddle.zeros([1]))
        by_name = {p.name: p for p in network.parameters()}
        parameters, running = ([by_name[name] for name in names] for names in (layout.gradients, layout.statistics))
        sizes = [_numbers(parameters), _numbers(running), 2]
        gradients, *statistics, log = paddle.split(total, [size for size in sizes if size])
        if running:
            assign_pieces(statistics[0], running)
            variable(BEFORE, [_numbers(running)], 0.0)  # only this startup runs: it makes the variables of both
        append_to_recent(variable(RECENT, [REMEMBERED_STEPS, 2], 0.0), log)
        apply_gradients(parameters, gradients, network.decayed(), recipe)
        average(network, recipe)
        return value_of(programs, network, [], {})


def _numbers(variables: Sequence[paddle.Tensor]) -> int:
    return sum(math.prod(each.shape) for each in variables)


def _running(network: Network) -> list[paddle.Tensor]:
    """Running mean and variance of each batch normalisation."""
    layers = [layer for layer in network.sublayers() if isinstance(layer, BatchNorm)]
    return [each for layer in layers for each in (layer._mean, layer._variance)]


def own_images(count: int, shards: int, world: World) -> slice:
    """The images, of a batch of `count`, that a process makes and computes: those of its shards, but never none."""
    own = world.own(shards)
    first, end = count * own.start // shards, count * own.stop // shards
    return slice(first, end) if end > first else slice(0, 1)


class ShardedEngine(PaddleEngine):
    """Trains by shards, alone or with other processes; see `PaddleEngine` for what each method does."""

    def __init__(
        self, config: NetworkConfig, recipe: Recipe, device: Device, seed: int, shards: int, world: World
    ) -> None:
        self._world, self._shards = world, shards
        if device.name == "gpu":
            paddle.set_flags({"FLAGS_cudnn_deterministic": True})  # else its sums are in any order
        shard, self._layout = shard_program(config, recipe, len(world.own(shards)))
        super().__init__(config, recipe, device, seed, update_program(config, recipe, shards, self._layout, world))
        self._shard = Session(shard, device.place, self._session.scope)  # its parameters are those of the other program

    def state(self) -> dict[str, np.ndarray]:
        """See PaddleEngine; without what a step leaves behind that no later one reads."""
        return {name: value for name, value in super().state().items() if name not in (ROWS, BEFORE)}

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        """See PaddleEngine; a process is given its `own_images` of the batch, and the labels of all."""
        self._set_learning_rate(learning_rate)
        bounds = [len(labels) * shard // self._shards for shard in range(self._shards + 1)]
        own = own_images(len(labels), self._shards, self._world)
        labels_of_own = labels[own]
        for row, shard in enumerate(self._world.own(self._shards)):
            # An empty shard computes the first image at hand, of which nothing counts.
            count = bounds[shard + 1] - bounds[shard]
            at = slice(bounds[shard] - own.start, bounds[shard + 1] - own.start) if count else slice(0, 1)
            self._compute(images[at], labels_of_own[at], count / len(labels), row)
        with self._world.guard.waiting():
            self._session.run({})
        self._evaluation_is_current = False

    def trial(self, images: np.ndarray, labels: np.ndarray) -> bytes:
        """The row of a shard, computed in vain: other bits show another processor, library or number of threads."""
        before = self.state()
        self._compute(images, labels, 1.0, 0)
        self.load_state(before)
        return self._session.get(ROWS)[0].tobytes()

    def _compute(self, images: np.ndarray, labels: np.ndarray, share: float, row: int) -> None:
        self._shard.run({"image": images, "label": labels, "shard": np.array([share, row], np.float32)})
