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
from model.program import RECENT, REMEMBERED_STEPS, NetworkConfig, Program, average, program_of, value_of
from model.recipes import Recipe
from model.world import World


@dataclass(frozen=True)
class Layout:
    """The places of a row: gradients, then running statistics, then loss and right answers."""

    gradients: Sequence[tuple[str, Sequence[int]]]
    statistics: Sequence[tuple[str, Sequence[int]]]

    @property
    def sizes(self) -> list[int]:
        """Numbers in each part of a row; the last two are loss and right answers."""
        return [*(math.prod(shape) for _, shape in (*self.gradients, *self.statistics)), 2]


def shard_program(config: NetworkConfig, recipe: Recipe) -> tuple[Program, Layout]:
    """Build the program of one shard, which fetches its row [n].

    It feeds `image`, `label`, `share` [1] (the shard's part of the batch) and `statistics`: the running statistics
    before the step, one after the other.
    """
    with program_of(config) as (programs, network, image):
        label, share = static.data("label", [None], "int64"), static.data("share", [1], "float32")
        running, feeds = _running(network), [image, label, share]
        if running:
            feeds.append(static.data("statistics", [sum(math.prod(each.shape) for each in running)], "float32"))
            pieces = paddle.split(feeds[-1], [math.prod(each.shape) for each in running])
            for each, piece in zip(running, pieces, strict=True):
                paddle.assign(paddle.reshape(piece, each.shape), output=each)
        scores = network(image)
        loss, log = softmax_loss(network.logits(scores), label, network.classes, recipe.label_smoothing)
        found = [(p, g) for p, g in static.append_backward(loss) if g is not None]
        parts = [*(g for _, g in found), *running]
        weighted = paddle.multiply(paddle.concat([paddle.reshape(part, [-1]) for part in parts]), share)
        # The loss is a mean, as gradients are; right answers are counted, but not those of an empty shard.
        counted = paddle.cast(paddle.greater_than(share, paddle.zeros([1])), "float32")
        row = paddle.concat([weighted, paddle.multiply(log, paddle.concat([share, counted]))])
        layout = Layout([(p.name, p.shape) for p, _ in found], [(each.name, each.shape) for each in running])
        return value_of(programs, network, feeds, {"row": row}), layout


def update_program(config: NetworkConfig, recipe: Recipe, shards: int, layout: Layout, world: World) -> Program:
    """Build the program that takes the step: it feeds `rows` [K, n], those of this process's K shards."""
    with program_of(config, feed=False) as (programs, network, _):
        fed = static.data("rows", [len(world.own(shards)), sum(layout.sizes)], "float32")
        # Each process sums its own shards first, if they are a whole branch of the tree: fewer rows travel.
        travelling = world.size if shards % world.size == 0 else shards
        own = world.own(travelling)
        rows = _paired(fed, len(own))
        if world.size > 2:  # the sum of two numbers is the same in either order: of two processes one row travels
            around = [paddle.zeros([count, rows.shape[1]]) for count in (own.start, travelling - own.stop)]
            rows = paddle.concat([part for part in (around[0], rows, around[1]) if part.shape[0]])
        if world.size > 1:
            distributed.all_reduce(rows)
        rows = _paired(rows, 1)
        # Where processes add each other's zeros, -0 has become 0; here it does so in any case.
        total = paddle.add(paddle.reshape(rows, [-1]), paddle.zeros([1]))
        entries = (*layout.gradients, *layout.statistics, ("log", [2]))
        pieces = paddle.split(total, layout.sizes)
        pieces = [paddle.reshape(piece, list(shape)) for piece, (_, shape) in zip(pieces, entries, strict=True)]
        by_name = {p.name: p for p in network.parameters()}
        gradients = [(by_name[name], piece) for (name, _), piece in zip(layout.gradients, pieces, strict=False)]
        for (name, _), piece in zip(layout.statistics, pieces[len(gradients) :], strict=False):
            paddle.assign(piece, output=by_name[name])
        append_to_recent(variable(RECENT, [REMEMBERED_STEPS, 2], 0.0), pieces[-1])
        apply_gradients(gradients, network.decayed(), recipe)
        average(network, recipe)
        return value_of(programs, network, [fed], {})


def _paired(rows: paddle.Tensor, count: int) -> paddle.Tensor:
    """Rows [K, n], neighbours added in pairs until `count` of them are left."""
    while rows.shape[0] > count:
        pairs = paddle.reshape(rows, [rows.shape[0] // 2, 2, rows.shape[1]])
        rows = paddle.add(pairs[:, 0], pairs[:, 1])
    return rows


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
        shard, self._layout = shard_program(config, recipe)
        super().__init__(config, recipe, device, seed, update_program(config, recipe, shards, self._layout, world))
        self._rows = np.zeros((len(world.own(shards)), sum(self._layout.sizes)), np.float32)
        self._shard = Session(shard, device.place, self._session.scope)  # its parameters are those of the other program

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        """See PaddleEngine; a process is given its `own_images` of the batch, and the labels of all."""
        self._set_learning_rate(learning_rate)
        statistics = self._statistics()
        bounds = [len(labels) * shard // self._shards for shard in range(self._shards + 1)]
        own = own_images(len(labels), self._shards, self._world)
        labels_of_own = labels[own]
        for row, shard in enumerate(self._world.own(self._shards)):
            # An empty shard computes the first image at hand, of which nothing counts.
            count = bounds[shard + 1] - bounds[shard]
            at = slice(bounds[shard] - own.start, bounds[shard + 1] - own.start) if count else slice(0, 1)
            share = np.array([count / len(labels)], np.float32)
            feed = {"image": images[at], "label": labels_of_own[at], "share": share}
            (self._rows[row],) = self._shard.run({**feed, **statistics})
        with self._world.guard.waiting():
            self._session.run({"rows": self._rows})
        self._evaluation_is_current = False

    def trial(self, images: np.ndarray, labels: np.ndarray) -> bytes:
        """The row of a shard, computed in vain: other bits show another processor, library or number of threads."""
        before = self.state()
        feed = {"image": images, "label": labels, "share": np.ones(1, np.float32), **self._statistics()}
        (row,) = self._shard.run(feed)
        self.load_state(before)
        return bytes(row.tobytes())

    def _statistics(self) -> dict[str, np.ndarray]:
        running = [self._session.get(name).reshape(-1) for name, _ in self._layout.statistics]
        return {"statistics": np.concatenate(running)} if running else {}
