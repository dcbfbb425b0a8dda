"""A run's setup: everything about it that does not change from its first step to its last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from common.errors import UsageError
from common.project import __version__
from data.dataset import DIGITS, Mnist, Subset, split
from data.plausibility import doubts
from data.row_sets import RowSet, rows_in_pass
from model.device import Device, choose_device
from model.engine import Exporter, PaddleEngine
from model.image import ImageSpec
from model.networks import NETWORKS, check_options, with_classes
from model.onnx import to_onnx
from model.ops.backend import Backend, resolve_backend
from model.program import NetworkConfig
from model.recipes import Recipe
from model.shards import ShardedEngine
from model.world import ALONE, World
from recognition import novelty
from recognition.kind import PictureKind, kind_doubts, kind_notes
from reference.engine import NumpyEngine
from reference.networks import NETWORKS as NUMPY_NETWORKS
from reference.optimizers import optimizer_of
from results.run_folder import RunFolder, environment
from training.callbacks.callback import Callback
from training.engine import Engine, EngineName, start_from
from training.same_run import continued, differences, expect_same_run, run_id
from training.settings import Settings, to_json


@dataclass(frozen=True)
class Setup:
    """The parts of a run.

    Attributes:
        settings: as the user gave them.
        folder: of the run.
        callbacks: called at every step and pass, in this order.
        recipe: the settings of training, resolved.
        image: the image that the network takes.
        data: all images.
        training: those to train on.
        validation: those held out, or rows made of them; may be empty.
        kind: what the training pictures look like; None if nothing is in them.
        doubts: lines about implausible data.
        device: where it computes.
        backend: of the engine's programs.
        engine: trains and scores the network.
        exporter: makes inference models of its parameters.
        record: run.json, but for the outcome.
        world: the processes that train it; all but the first work for the first.
    """

    settings: Settings
    folder: RunFolder
    callbacks: Sequence[Callback]
    recipe: Recipe
    image: ImageSpec
    data: Mnist
    training: Subset
    validation: Subset | RowSet
    kind: PictureKind | None
    doubts: Sequence[str]
    device: Device
    backend: Backend
    engine: Engine
    exporter: Exporter
    record: Mapping[str, Any]
    world: World = ALONE

    @cached_property
    def test(self) -> Subset | RowSet:
        """The test images, or rows made of them."""
        images = Subset(self.data.test_images, self.data.test_labels)
        return RowSet.of(images) if self.image.is_row else images

    @property
    def examples(self) -> int:
        """Training images, or rows, in a pass."""
        return rows_in_pass(len(self.training)) if self.image.is_row else len(self.training)

    @property
    def steps(self) -> int:
        """Batches in a pass."""
        return math.ceil(self.examples / self.recipe.batch_size)

    @cached_property
    def novelty(self) -> novelty.NoveltyDetector | None:
        """The detector of pictures without a digit, for which all passes take the same images; None for rows."""
        if isinstance(self.validation, RowSet):
            return None
        return novelty.fit(self.training.images, self.training.labels, self.validation.images)

    def report(self, line: str) -> None:
        """Report to all callbacks something that the user should know; one line."""
        report(self.callbacks, line)


def report(callbacks: Sequence[Callback], line: str) -> None:
    """Report to callbacks something that the user should know; one line."""
    for callback in callbacks:
        callback.on_message(line)


def prepare(
    settings: Settings,
    folder: RunFolder,
    callbacks: Sequence[Callback],
    data: Mnist,
    recorded: Mapping[str, Any],
    world: World = ALONE,
) -> Setup:
    """Set a run up, and report doubts about its data, its device and its backend.

    Args:
        settings: as the user gave them.
        folder: of the run.
        callbacks: called with what is found.
        data: all images.
        recorded: run.json as it was when a run that goes on began; empty for a new run.
        world: the processes that train it.

    Raises:
        UserError: what was asked for cannot be done, or is not what the run began with.
    """
    recipe = settings.recipe_for(len(data.train_labels), data.validation)
    training, validation = split(data, recipe.validation_size)
    kind = _kind(data, training)
    warnings = _warnings(data, training, validation, kind)
    for line in (*warnings, *size_notes(settings, recipe, data, len(training)), *kind_notes(kind)):
        report(callbacks, line)
    device = choose_device(settings.device)
    backend = _backend(settings, recorded, device, lambda line: report(callbacks, line))
    options = with_classes(settings.network_options(), len(data.classes))
    check_options(settings.network, options)
    config = NetworkConfig(settings.network, options, backend)
    engine = make_engine(settings.engine, config, recipe, device, settings.seed, settings.shards, world)
    exporter = Exporter(config)
    if settings.init_from and not recorded:
        for line in start_from(engine, settings.init_from, data.classes, NETWORKS[settings.network].image.is_row):
            report(callbacks, line)
    if settings.export:
        to_onnx(*exporter.files(engine.parameters()))  # what cannot be converted is reported now
    record: Mapping[str, Any] = _record(settings, folder, recipe, data, device, backend, engine)
    if recorded:
        record = _continued(folder, recorded, record, callbacks)
    return Setup(
        settings=settings,
        folder=folder,
        callbacks=callbacks,
        recipe=recipe,
        image=NETWORKS[settings.network].image,
        data=data,
        training=training,
        validation=RowSet.of(validation) if NETWORKS[settings.network].image.is_row else validation,
        kind=kind,
        doubts=warnings,
        device=device,
        backend=backend,
        engine=engine,
        exporter=exporter,
        record=record,
        world=world,
    )


def expect_rows(settings: Settings, data: Mnist) -> None:
    """Refuse options and data that a network that reads rows cannot take; other networks pass.

    Raises:
        UsageError: naming the option.
    """
    if not NETWORKS[settings.network].image.is_row:
        return
    refused = {
        "--shards": settings.shards > 1,
        "--label-smoothing": bool(settings.label_smoothing),
        "--rotation, --scale, --shear, --shift, --elastic-alpha": settings.resolved_recipe().distortions is not None,
    }
    for option, is_given in refused.items():
        if is_given:
            raise UsageError(f"{option}: the network {settings.network} reads rows, and has no such option")
    if data.classes != DIGITS:
        raise UsageError(f"--network {settings.network}: expected the ten digits, got {len(data.classes)} classes")


def _warnings(data: Mnist, training: Subset, validation: Subset, kind: PictureKind | None) -> list[str]:
    lines = [*doubts(data, training, validation)]
    if not data.cut:  # else the reader made them all alike
        framed = data.prepare == "digit"
        lines += kind_doubts(kind if framed else PictureKind.measure(training.images), data.test_images, framed)
    return [f"warning: {line}" for line in lines]


def size_notes(settings: Settings, recipe: Recipe, data: Mnist, training: int) -> Iterator[str]:
    """One line for each size that does not fit a small data set, with what helps; `training` images are trained on."""
    validation, chosen = len(data.train_labels) - training, settings.validation_size is not None or data.validation
    if recipe.validation_size != settings.resolved_recipe().validation_size and not chosen:
        yield f"validation images: {validation} of {training + validation}, a fifth, as the set is small"
    elif validation > training and not chosen:
        yield f"validation images: {validation}, more than the {training} to train on; try --validation-size 0.2"
    if recipe.batch_size > training:
        yield (
            f"--batch-size {recipe.batch_size}: more than the {training} training images, so that a pass is one step; "
            "try --batch-size 8 --passes 50"
        )


def _continued(
    folder: RunFolder, recorded: Mapping[str, Any], record: Mapping[str, Any], callbacks: Sequence[Callback]
) -> Mapping[str, Any]:
    """The record with which a run continues; reports what differs from when it began."""
    expect_same_run(folder, recorded, record)
    differing = list(differences(recorded, record))
    for line in differing:
        report(callbacks, line)
    return continued(recorded, record, differing)


def _kind(data: Mnist, training: Subset) -> PictureKind | None:
    """The kind of the training images; MNIST's if the reader cut them, or if pictures are not made alike when read."""
    return PictureKind() if data.cut or data.prepare != "digit" else PictureKind.measure(training.images)


def make_engine(
    name: EngineName,
    config: NetworkConfig,
    recipe: Recipe,
    device: Device,
    seed: int,
    shards: int = 1,
    world: World = ALONE,
) -> Engine:
    """The engine of that name, with parameters that start from the seed.

    Raises:
        UsageError: NumPy's engine lacks the network, or something that the recipe asks for.
    """
    if name == "paddle" and shards > 1:
        return ShardedEngine(config, recipe, device, seed, shards, world)
    if name == "paddle":
        return PaddleEngine(config, recipe, device, seed)
    if shards > 1:
        raise UsageError(f"--engine numpy --shards {shards}: expected --engine paddle with shards")
    if config.name not in NUMPY_NETWORKS:
        raise UsageError(f"--engine numpy: expected one of the networks {', '.join(NUMPY_NETWORKS)}, got {config.name}")
    if recipe.ema or recipe.label_smoothing or recipe.optimizer == "adamw":
        raise UsageError("--engine numpy: it has no weight average, label smoothing or AdamW; take another recipe")
    network = NUMPY_NETWORKS[config.name](seed, **config.options)
    return NumpyEngine(network, optimizer_of(recipe.optimizer, network.parameters, recipe.momentum))


def _backend(settings: Settings, recorded: Mapping[str, Any], device: Device, report: Callable[[str], None]) -> Backend:
    """The backend that the run takes; reports why it, or the device, is not the fastest."""
    without_fused = recorded.get("kernel") == "stock" or settings.engine == "numpy"
    backend, why_stock = resolve_backend("stock" if without_fused else settings.kernel, device.name, report)
    for reason in (device.reason and f"computing on the CPU: {device.reason}", why_stock):
        if reason:
            report(reason)
    return backend


def _record(
    settings: Settings, folder: RunFolder, recipe: Recipe, data: Mnist, device: Device, backend: Backend, engine: Engine
) -> dict[str, Any]:
    plain = to_json(replace(settings, resume=None))
    return {
        "run": folder.name,
        "id": run_id(folder.name, plain, data.sums),
        "settings": plain,
        "recipe": asdict(recipe),
        "device": device.name,
        "engine": settings.engine,
        "kernel": backend,
        "parameters": engine.trainable,
        "data": {
            "source": data.source,
            "sha256": data.sums,
            "format": data.format,
            "classes": list(data.classes),
            "split": dict(data.split),
            "prepare": data.prepare,
            "prepared": data.prepared,
        },
        "version": __version__,
        "environment": environment(),
    }
