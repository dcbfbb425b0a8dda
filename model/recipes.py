"""Training settings per network, as published and the best known, and the learning rate of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from common.errors import UsageError
from data.distortions import Distortions

NetworkName = Literal[
    "conv_pool_bn", "lenet5_1998", "two_branch", "lenet5_relu", "lenet_tanh", "lenet5_numpy", "lenet_row"
]
RecipeName = Literal["published", "published-sgd", "published-momentum", "best"]
NETWORK_OPTIONS = ("maps", "kernel_size", "pooling", "squashing", "train_rbf")  # of train.py, for networks' classes
Optimizer = Literal["adam", "adamw", "momentum", "sgd"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class EarlyStopping:
    """The Theano tutorial's rule: stop after this many steps, unless the validation error still falls by enough.

    Attributes:
        patience: steps that are done in any case.
        increase: an error that falls by enough makes the patience this many times the steps done so far.
        threshold: a new error falls by enough when it is below this fraction of the best one before.
    """

    patience: int = 10_000
    increase: float = 2.0
    threshold: float = 0.995


@dataclass(frozen=True)
class Recipe:
    """A set of training settings; each default is Adam's plain use, as in the fluid tutorial.

    Attributes:
        optimizer: which update rule.
        learning_rate: the largest of a run, for the mean of a batch's losses.
        batch_size: images per step.
        passes: times through the training images.
        shuffle_buffer: "all": the images are shuffled together before each pass; N: in a buffer of N, as in the
            fluid tutorial; 1: file order.
        validation_size: images held out of the training images, the last ones in file order.
        select_by: what makes a pass the best one: least loss, or fewest errors.
        early_stopping: when to stop before `passes`; None for never.
        momentum: of the optimizer "momentum": v ← momentum · v + g, w ← w - rate · v.
        weight_decay: of the optimizer "adamw": w ← w - rate · decay · w beside Adam's step; not for biases and scales.
        schedule: of the learning rate, after the warm-up: constant, or half a cosine down to `final_rate`.
        final_rate: of "cosine": the share of the learning rate that is left at its end.
        warmup_steps: steps in which the learning rate rises from 0 in a straight line.
        ema: decay per step of an exponential moving average of the weights, which is then what is scored and saved;
            0 for none.
        label_smoothing: part of each label that is spread evenly over the classes (Szegedy et al. 2016).
        distortions: of the training images; None for none.
    """

    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    passes: int = 10
    shuffle_buffer: int | Literal["all"] = "all"
    validation_size: int = 5000
    select_by: Literal["loss", "error"] = "loss"
    early_stopping: EarlyStopping | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    final_rate: float = 0.0
    warmup_steps: int = 0
    ema: float = 0.0
    label_smoothing: float = 0.0
    distortions: Distortions | None = None

    def __post_init__(self) -> None:
        if self.weight_decay and self.optimizer != "adamw":
            raise UsageError(f"--weight-decay {self.weight_decay:g}: expected --optimizer adamw, got {self.optimizer}")
        if not 0 <= self.final_rate <= 1:
            raise UsageError(f"--final-rate {self.final_rate:g}: expected 0 to 1")
        if self.final_rate and self.schedule != "cosine":
            raise UsageError(f"--final-rate {self.final_rate:g}: expected --schedule cosine, got {self.schedule}")
        if self.warmup_steps < 0:
            raise UsageError(f"--warmup-steps {self.warmup_steps}: expected at least 0")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"--weight-decay {self.weight_decay:g}: expected at least 0")
        for name in ("ema", "label_smoothing", "momentum"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UsageError(f"--{name.replace('_', '-')} {value:g}: expected 0 to less than 1")


# As each source states them (docs/networks.md).
PUBLISHED: dict[NetworkName, Recipe] = {
    # The fluid tutorial shuffles in a buffer of 512 (`--shuffle-buffer 512`); the full shuffle is the default here.
    "conv_pool_bn": Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128, passes=10),
    # The paper's stochastic diagonal Levenberg-Marquardt takes one image a step and goes from the rate 5e-4 to 1e-5 in
    # 20 passes: Adam instead, the rate chosen on validation; the passes are kept, and that the rate falls.
    "lenet5_1998": Recipe(optimizer="adam", learning_rate=3e-3, batch_size=64, passes=20, schedule="cosine"),
    "two_branch": Recipe(optimizer="adam", learning_rate=2e-3, batch_size=256, passes=15),
    # The PyTorch note names no optimizer, and its loader does not shuffle by default: Adam and a full shuffle are ours.
    "lenet5_relu": Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128, passes=500),
    # 100 steps a pass, in file order; the Theano tutorial chooses and stops by the validation error.
    "lenet_tanh": Recipe(
        optimizer="sgd",
        learning_rate=0.1,
        batch_size=500,
        passes=200,
        shuffle_buffer=1,
        validation_size=10_000,
        select_by="error",
        early_stopping=EarlyStopping(patience=10_000, increase=2.0, threshold=0.995),
    ),
    # The NumPy report names no learning rate for Adam, and no schedule: chosen on validation, as is that errors choose
    # the pass. (By its σ of the initial weights, five times He's, losses are large and of no use: at a constant 1e-3
    # the pass of least loss has 98.1 %.) Its 20,000 steps are 23 passes of 860 steps, in whole passes.
    "lenet5_numpy": Recipe(
        optimizer="adam", learning_rate=5e-3, batch_size=64, passes=23, schedule="cosine", select_by="error"
    ),
    # The paper trains its rows by another rule and gives no settings for it; these are ours. A pass has as many rows
    # as hold the training digits once.
    "lenet_row": Recipe(
        optimizer="adam",
        learning_rate=2e-3,
        batch_size=32,
        passes=46,
        schedule="cosine",
        warmup_steps=300,
        ema=0.999,
    ),
}

# The NumPy report trains in two more ways, at the rate 1e-4 for the sum of a batch's gradients: 64e-4 for their mean.
PUBLISHED_SGD: dict[NetworkName, Recipe] = {
    "lenet5_numpy": Recipe(optimizer="sgd", learning_rate=64e-4, batch_size=64, passes=23),
}
PUBLISHED_MOMENTUM: dict[NetworkName, Recipe] = {
    "lenet5_numpy": Recipe(optimizer="momentum", learning_rate=64e-4, momentum=0.99, batch_size=64, passes=23),
}

# What makes most of conv_pool_bn, chosen on validation (docs/networks.md shows how). Where the rate falls to 0, the
# network learns its images by heart in the end, distorted as they are: of 10,000 held out, one run read 41 wrong after
# 80 passes of 120, and 57 after the last. The weight decay looks large, but a step takes only rate · decay = 9e-4 of a
# weight away.
_BEST = Recipe(
    optimizer="adamw",
    learning_rate=3e-3,
    batch_size=128,
    passes=100,
    weight_decay=0.3,
    schedule="cosine",
    final_rate=0.3,
    warmup_steps=500,
    ema=0.9995,
    distortions=Distortions(rotation=12.0, scale=0.12, shear=0.15, shift=2.0, elastic_alpha=8.0),
)
# With the decay of an earlier form of that recipe, lenet5_relu learned its training images less well than it read
# validation images. The other networks therefore get less of everything; they have had no ablation of their own.
_BEST_OF_OTHERS = replace(
    _BEST,
    passes=40,
    weight_decay=0.1,
    final_rate=0.0,
    ema=0.998,
    distortions=Distortions(rotation=12.0, scale=0.12, shear=0.15, shift=2.0),
)
BEST: dict[NetworkName, Recipe] = {
    "conv_pool_bn": _BEST,
    "lenet5_1998": _BEST_OF_OTHERS,
    "two_branch": _BEST_OF_OTHERS,
    "lenet5_relu": _BEST_OF_OTHERS,
    "lenet_tanh": _BEST_OF_OTHERS,
    "lenet5_numpy": _BEST_OF_OTHERS,
}

RECIPES: dict[RecipeName, dict[NetworkName, Recipe]] = {
    "published": PUBLISHED,
    "published-sgd": PUBLISHED_SGD,
    "published-momentum": PUBLISHED_MOMENTUM,
    "best": BEST,
}


def recipe_for(network: NetworkName, name: RecipeName) -> Recipe:
    """The recipe of that name for a network.

    Raises:
        UsageError: the network has none of that name.
    """
    if network not in RECIPES[name]:
        expected = ", ".join(recipe for recipe in RECIPES if network in RECIPES[recipe])
        raise UsageError(f"--recipe {name}: the network {network} has no such recipe; expected one of {expected}")
    return RECIPES[name][network]


def learning_rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Learning rate of a step.

    Args:
        recipe: with the schedule.
        step: of the run, from 0.
        total_steps: of the run; a cosine would reach its end at the step after the last.
    """
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (step - recipe.warmup_steps) / (total_steps - recipe.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return recipe.learning_rate * (recipe.final_rate + (1 - recipe.final_rate) * cosine)
