"""Profile of a training step: `train.py --profile`."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import model  # noqa: F401  prepares the process for Paddle; before anything imports it

# isort: split
import paddle
from rich.console import Console
from rich.table import Table

from common.console import print_line
from common.errors import UsageError, UserError, one_line
from common.prefetch import prefetch
from data.dataset import split
from model.device import choose_device
from model.engine import PaddleEngine
from model.kernels.build import threads
from model.networks import NETWORKS, with_classes
from model.ops.backend import resolve_backend
from model.program import NetworkConfig
from recognition.sets import load_data
from training.batches import pass_batches
from training.settings import Settings

WARM_UP, STEPS = 30, 200
MINIMUM_SHARE = 0.01  # of a step; what takes less is summed up


def print_profile(settings: Settings, console: Console) -> None:
    """Train for `STEPS` steps under Paddle's profiler and print what takes how long; nothing is saved.

    Raises:
        UsageError: there is nothing that Paddle's profiler could look into, or not enough steps.
    """
    if settings.engine != "paddle":
        raise UsageError(f"--profile: expected --engine paddle, got {settings.engine}")
    paddle.enable_static()
    data = load_data(settings.data_dir, console, settings.prepare, settings.strict)
    recipe = settings.recipe_for(len(data.train_labels), data.validation)
    training, _ = split(data, recipe.validation_size)
    device = choose_device(settings.device)

    def report(line: str) -> None:
        print_line(line, console)

    backend, reason = resolve_backend(settings.kernel, device.name, report)
    if reason:
        report(reason)
    config = NetworkConfig(settings.network, with_classes(settings.network_options(), len(data.classes)), backend)
    engine = PaddleEngine(config, recipe, device, settings.seed)
    image = NETWORKS[settings.network].image

    passes = (pass_batches(training, image, recipe, settings.seed, number) for number in itertools.count(1))
    with prefetch(itertools.islice(itertools.chain.from_iterable(passes), WARM_UP + STEPS)) as ready:
        for images, labels in itertools.islice(ready, WARM_UP):
            engine.train_step(images, labels, recipe.learning_rate)
        profiler = paddle.profiler.Profiler(
            targets=[paddle.profiler.ProfilerTarget.CPU], on_trace_ready=lambda profiler: None
        )
        try:
            profiler.start()
        except (OSError, RuntimeError) as error:  # the GPU package's, without a driver
            raise UserError(f"--profile: Paddle's profiler does not start here: {one_line(error, 160)}") from error
        began = waited = time.perf_counter()
        waiting = 0.0
        for images, labels in ready:
            waiting += time.perf_counter() - waited
            engine.train_step(images, labels, recipe.learning_rate)
            waited = time.perf_counter()
        engine.recent(1)
        total = time.perf_counter() - began
        profiler.stop()
    operators = _operator_seconds(profiler.profiler_result)
    rest = total - waiting - sum(operators.values())
    parts = {**operators, "waiting for images": waiting, "Python, feed and executor": max(rest, 0.0)}
    on = f" (threads: {threads()})" if backend == "fused" else ""
    report(
        f"{settings.network}, {backend} kernel{on}, {device.name}: {1e3 * total / STEPS:.2f} ms a step of "
        f"{recipe.batch_size}, {recipe.batch_size * STEPS / total:,.0f} images/s with the profiler on, {STEPS} steps"
    )
    console.print(_table(parts, total))


def _operator_seconds(result: Any) -> Counter[str]:
    """Seconds of each kind of operator in a profiler's result."""
    seconds: Counter[str] = Counter()
    for root in result.get_data().values():
        for node in _nodes(root):
            if node.type == paddle.base.core.TracerEventType.Operator:
                seconds[node.name.split(".")[-1].split(" ")[0]] += (node.end_ns - node.start_ns) / 1e9
    return seconds


def _nodes(node: Any) -> Iterator[Any]:
    """A node of the profiler's tree and all below it, but not what is inside an operator."""
    yield node
    if node.type != paddle.base.core.TracerEventType.Operator:
        for child in node.children_node:
            yield from _nodes(child)


def _table(parts: dict[str, float], total: float) -> Table:
    table = Table(box=None)
    table.add_column("what")
    table.add_column("ms a step", justify="right")
    table.add_column("share", justify="right")
    small = {name: seconds for name, seconds in parts.items() if seconds < MINIMUM_SHARE * total}
    large = {name: seconds for name, seconds in parts.items() if name not in small}
    for name, seconds in sorted(large.items(), key=lambda part: -part[1]):
        table.add_row(name, f"{1e3 * seconds / STEPS:.3f}", f"{100 * seconds / total:.1f} %")
    others = sum(small.values())
    table.add_row(f"{len(small)} others", f"{1e3 * others / STEPS:.3f}", f"{100 * others / total:.1f} %")
    return table
