"""The settings of a run: what the command line offers, and what they come to together with a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from common.errors import UsageError, one_line
from common.guard import TIMEOUT_SECONDS
from common.project import model_folder
from common.ranges import Range, check_ranges
from common.signals import importing
from data.distortions import Distortions
from model.recipes import NETWORK_OPTIONS, NetworkName, Optimizer, Recipe, RecipeName, Schedule, recipe_for

RANGES = {
    "passes": Range(1, 10**6),
    "batch_size": Range(1, 10**6),
    "learning_rate": Range(0, 1e6, above=True),
    "final_rate": Range(0, 1),
    "warmup_steps": Range(0, 10**9),
    "weight_decay": Range(0, 1e6),
    "ema": Range(0, 1),
    "label_smoothing": Range(0, 1),
    "seed": Range(0, 2**31 - 1),  # what Paddle's generator takes
    "shards": Range(1, 1024),
    "threads": Range(1, 10**4),
    "validation_size": Range(0, 10**9),
    "shuffle_buffer": Range(1, 10**9),
    "log_every": Range(1, 10**9),
    "checkpoint_seconds": Range(0, 1e9, above=True),
    "timeout": Range(1, 86_400),
    "patience": Range(1, 10**6),
}
SMALL_SET_SHARE = 0.2  # of the training images, held out of a set that is too small for the recipe's number
NETWORKS_OWN = "(default: the network's)"


@dataclass(frozen=True)
class Settings:
    """Train a LeNet on MNIST, choose the best pass on validation images, and save its inference model.

    Options that are not given come from the network's recipe. The run's folder keeps everything: settings, log,
    checkpoints, best model, figures.
    """

    network: Annotated[NetworkName, arg(help_behavior_hint="(default: conv_pool_bn)")] = "conv_pool_bn"
    """Network to train; docs/networks.md describes each."""
    recipe: Annotated[RecipeName, arg(help_behavior_hint="(default: published)")] = "published"
    """Training settings: those published in the source (lenet5_numpy's has three), or the best known."""
    maps: Annotated[tuple[int, ...] | None, arg(metavar="N [N ...]", help_behavior_hint=NETWORKS_OWN)] = None
    """Feature maps of the convolutions, such as 20 50."""
    kernel_size: Annotated[int | tuple[int, int] | None, arg(metavar="N [N]", help_behavior_hint=NETWORKS_OWN)] = None
    """Side of the convolutions' kernels, pixels: one number for both, or two, such as 7 3."""
    pooling: Annotated[Literal["max", "mean"] | None, arg(metavar="max|mean", help_behavior_hint=NETWORKS_OWN)] = None
    """Kind of pooling."""
    squashing: Annotated[Literal["tanh", "sigmoid"] | None, arg(metavar="NAME", help_behavior_hint=NETWORKS_OWN)] = None
    """Activation of lenet5_1998: tanh, as scaled in the paper, or the sigmoid that its descriptions name."""
    train_rbf: bool = False
    """Learn the bitmaps of lenet5_1998's output units, which are fixed in the paper."""
    passes: Annotated[int | None, arg(metavar="N", aliases=("--epochs",))] = None
    """Number of passes, or epochs, over the training images."""
    patience: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Number of passes without a better validation, by --select-by, after which training stops early."""
    batch_size: Annotated[int | None, arg(metavar="N")] = None
    """Images per step."""
    optimizer: Annotated[Optimizer | None, arg(metavar="NAME")] = None
    """Update rule: adam, adamw, momentum or sgd."""
    learning_rate: Annotated[float | None, arg(metavar="X", aliases=("--lr",))] = None
    """Largest learning rate."""
    schedule: Annotated[Schedule | None, arg(metavar="NAME")] = None
    """Learning rate after the warm-up: constant, or half a cosine down to the final rate."""
    final_rate: Annotated[float | None, arg(metavar="X")] = None
    """Fraction of the learning rate that is left at the end of the cosine."""
    warmup_steps: Annotated[int | None, arg(metavar="N")] = None
    """Steps in which the learning rate rises from 0."""
    weight_decay: Annotated[float | None, arg(metavar="X")] = None
    """Weight decay of adamw: each step subtracts this fraction of a weight, times the learning rate."""
    ema: Annotated[float | None, arg(metavar="X")] = None
    """Decay per step of a moving average of the weights; the average is scored and saved. 0 disables it."""
    label_smoothing: Annotated[float | None, arg(metavar="X")] = None
    """Fraction of each label that is spread evenly over the classes."""
    seed: int = 1
    """Random seed of initial weights, order of images and distortions."""
    init_from: Annotated[Path | None, arg(metavar="RUN_DIR|MODEL_DIR", help_behavior_hint="")] = None
    """Folder of a run whose best model to start from, or of a model, instead of from random weights; for other classes
    its last layer starts anew."""
    rotation: Annotated[float | None, arg(metavar="X")] = None
    """Maximum rotation in degrees, either direction; 0 disables it."""
    scale: Annotated[float | None, arg(metavar="X")] = None
    """Maximum change of width and height, as a fraction; 0 disables it."""
    shear: Annotated[float | None, arg(metavar="X")] = None
    """Maximum slant in pixels a row, either direction; 0 disables it."""
    shift: Annotated[float | None, arg(metavar="X")] = None
    """Maximum shift in pixels, each direction; 0 disables it."""
    elastic_alpha: Annotated[float | None, arg(metavar="X")] = None
    """Strength of the elastic distortion (Simard et al. 2003), pixels; 0 disables it."""
    elastic_sigma: Annotated[float | None, arg(metavar="X")] = None
    """Smoothness of the elastic distortion, pixels."""
    data_dir: Annotated[
        Path | None, arg(name="data", aliases=("--data-dir",), metavar="PATH", help_behavior_hint="")
    ] = None
    """Labelled 28×28 images: a folder per class, IDX, NPZ, CSV or Parquet; otherwise MNIST, found or fetched."""
    prepare: Annotated[
        Literal["digit", "resize", "none"] | None,
        arg(metavar="digit|resize|none", help_behavior_hint="(default: none for 28×28 pixels, else digit)"),
    ] = None
    """Pictures of a folder become images: cut to their digit as infer.py does, resized, or as they are. The model reads
    pictures the same way."""
    strict: bool = False
    """Stop at a picture that cannot be used, instead of leaving it out."""
    validation_size: Annotated[int | float | None, arg(metavar="N|SHARE")] = None
    """Number of training images held out, the last ones in file order, or a fraction of them between 0 and 1. The best
    pass is chosen on them, and early stopping measures on them; 0 holds none out."""
    shuffle_buffer: Annotated[int | Literal["all"] | None, arg(metavar="N|all")] = None
    """Shuffling before each pass: of all images, or in a buffer of N as in the tutorials; 1 keeps the file's order."""
    select_on: Literal["validation", "test", "last"] = "validation"
    """Images that choose the best pass. test: as in the tutorials, which makes its score look better than it is. last:
    the last pass is taken, for a final training on all images with everything fixed beforehand."""
    select_by: Annotated[Literal["loss", "error"] | None, arg(metavar="loss|error")] = None
    """Measure of the best pass: the least loss, or the fewest errors."""
    engine: Literal["paddle", "numpy"] = "paddle"
    """Engine of the computation: Paddle's static programs, or NumPy alone (lenet5_numpy and conv_pool_bn)."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device; auto takes a GPU if one works, else the CPU; gpu without one is an error."""
    kernel: Literal["auto", "fused", "stock"] = "auto"
    """Operators of the convolution-pooling layers; auto takes the fused one on a CPU with a C++ compiler."""
    shards: Annotated[int, arg(metavar="V")] = 1
    """Parts of each batch, a power of two; up to V processes compute them, with the same bits (docs/scaling.md)."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all processors)")] = None
    """Threads of the fused operator, which does most of the work on a CPU."""
    timeout: float = TIMEOUT_SECONDS
    """Seconds for which one process of several may hang or stand still before it is ended, and the job with it."""
    run_dir: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """The run's folder; otherwise a new one under runs/, named by network, seed and time."""
    save_dir: Path = dataclasses.field(default_factory=model_folder)
    """Folder that the chosen model is published in when the run ends."""
    export: Annotated[Literal["onnx"] | None, arg(metavar="onnx", help_behavior_hint="")] = None
    """Save the chosen model as ONNX too, proven to answer like Paddle's (docs/onnx.md)."""
    resume: Annotated[Path | None, arg(metavar="RUN_DIR", help_behavior_hint="")] = None
    """Folder of a run to continue exactly where it stopped, with its own settings."""
    config: Annotated[Path | None, arg(metavar="RUN_DIR|run.json", help_behavior_hint="")] = None
    """Run whose settings are repeated, except its folders; other options override them."""
    log_every: int = 100
    """Batches from one row of steps.csv to the next; 1 logs each."""
    checkpoint_seconds: float = 60.0
    """Longest time that a crash may cost, seconds; a checkpoint is written at every pass too."""
    figures: Literal["all", "curves", "none"] = "all"
    """Figures that are drawn into the run's folder: curves after each pass, all at the end; see docs/figures.md."""
    live: bool = False
    """Show the curve of the loss, batch by batch, while training: in a terminal, or in a notebook by %run."""
    log_to: Annotated[
        tuple[Literal["visualdl", "tensorboard"], ...], arg(metavar="visualdl|tensorboard ...", help_behavior_hint="")
    ] = ()
    """Tools to log scalars, images and histograms for too, in visualdl/ and tensorboard/ of the run's folder."""
    profile: bool = False
    """Train for some steps, print where their time goes, and leave."""
    summary: bool = False
    """Print the network's layers, parameters, connections and multiply-adds, and leave."""

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)
        if self.shards & (self.shards - 1):
            raise UsageError(f"--shards {self.shards}: expected a power of two")
        for name in self.log_to:  # a run.json from elsewhere must not name other folders to write in
            if name not in ("visualdl", "tensorboard"):
                raise UsageError(f"--log-to {one_line(name, 60)}: expected visualdl or tensorboard")
        if isinstance(self.validation_size, float) and not 0 < self.validation_size < 1:
            raise UsageError(
                f"--validation-size {self.validation_size}: expected a whole number, or a share between 0 and 1"
            )
        if self.validation_size == 0 and self.select_on == "validation":
            raise UsageError(
                "--validation-size 0: nothing to choose the best pass on; hold some out, or --select-on last"
            )
        recipe = self.resolved_recipe()  # refuses one that the network does not have, and settings that make none
        if self.patience and not recipe.validation_size:
            raise UsageError(f"--patience {self.patience}: expected images held out to measure on, got none")
        if self.network_options():
            with importing():
                from model.networks import check_options  # here, so that --help does not wait for Paddle

            check_options(self.network, self.network_options())

    def network_options(self) -> dict[str, Any]:
        """The options that go to the network's class: those that were given."""
        given = {name: getattr(self, name) for name in NETWORK_OPTIONS}
        return {name: value for name, value in given.items() if value is not None and value is not False}

    def resolved_recipe(self) -> Recipe:
        """The network's recipe with the fields that were given put in."""
        recipe = recipe_for(self.network, self.recipe)
        given = self._given(dataclasses.fields(Recipe))
        if distortions := self._given(dataclasses.fields(Distortions)):
            given["distortions"] = dataclasses.replace(recipe.distortions or Distortions(), **distortions)
        return dataclasses.replace(recipe, **given)

    def recipe_for(self, images: int, own: int = 0) -> Recipe:
        """The recipe for a set of that many training images, with the number of images that are held out.

        A share is rounded, to at least one image. If none is named, `own` are held out, those that the set itself keeps
        apart; without such, and if the recipe's own number would leave nothing to train on, a fifth.
        """
        recipe, wanted = self.resolved_recipe(), self.validation_size
        if wanted is None and own:
            return dataclasses.replace(recipe, validation_size=own)
        if wanted is None and recipe.validation_size >= images:
            wanted = SMALL_SET_SHARE
        if isinstance(wanted, float):
            recipe = dataclasses.replace(recipe, validation_size=max(1, round(wanted * images)))
        return recipe

    def with_recipe(self) -> Settings:
        """The defaults of this network and recipe, each option of the recipe with its value."""
        recipe = recipe_for(self.network, self.recipe)
        values = {**vars(recipe), **vars(recipe.distortions or Distortions())}
        own = {field.name: values[field.name] for field in dataclasses.fields(Settings) if field.name in values}
        return Settings(network=self.network, recipe=self.recipe, **own)

    def _given(self, fields: Iterable[dataclasses.Field]) -> dict[str, Any]:
        """Values of the options among those fields that were given."""
        values = {field.name: getattr(self, field.name, None) for field in fields}
        return {name: value for name, value in values.items() if value is not None}


def to_json(settings: Settings) -> dict[str, Any]:
    """Settings as plain JSON; `from_json` gives them back."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Settings)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def from_json(values: dict[str, Any]) -> Settings:
    """Settings from what `to_json` wrote.

    Raises:
        TypeError: an unknown or missing name.
        UsageError: a value that no run can have.
    """
    paths = {"data_dir", "run_dir", "save_dir", "resume", "init_from", "config"}
    restored: dict[str, Any] = {
        name: Path(value) if name in paths and value is not None else value for name, value in values.items()
    }
    for name in ("maps", "kernel_size", "log_to"):
        if isinstance(restored.get(name), list):
            restored[name] = tuple(restored[name])
    return Settings(**restored)
