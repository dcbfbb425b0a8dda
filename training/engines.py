"""What trains a network: Paddle's static programs, or NumPy alone; the loop drives either by the same methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from common.errors import UsageError, UserError
from model.device import Device
from model.engine import PaddleEngine
from model.program import NetworkChoice
from model.recipes import Recipe
from reference.engine import NumpyEngine
from reference.networks import NETWORKS as NUMPY_NETWORKS
from reference.optimizers import SGD, Adam, Momentum, Optimizer
from training.checkpoint import load_checkpoint

EngineName = Literal["paddle", "numpy"]

BEST = "best/"  # prefix of the best model's parameters in a checkpoint


class Engine(Protocol):
    """See model.engine.PaddleEngine for what each method does."""

    @property
    def trainable(self) -> int:
        """How many numbers the optimizer may change."""
        ...

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> object: ...  # noqa: D102
    def recent(self, steps: int) -> np.ndarray: ...  # noqa: D102
    def log_probabilities(self, images: np.ndarray) -> np.ndarray: ...  # noqa: D102
    def state(self) -> dict[str, np.ndarray]: ...  # noqa: D102
    def load_state(self, state: Mapping[str, np.ndarray]) -> None: ...  # noqa: D102
    def parameters(self) -> dict[str, np.ndarray]: ...  # noqa: D102
    def load_parameters(self, parameters: Mapping[str, np.ndarray]) -> None: ...  # noqa: D102


def make_engine(name: EngineName, choice: NetworkChoice, recipe: Recipe, device: Device, seed: int) -> Engine:
    """The engine of that name, with parameters that start from the seed.

    Raises:
        UsageError: NumPy's engine lacks the network, or something that the recipe asks for.
    """
    if name == "paddle":
        return PaddleEngine(choice, recipe, device, seed)
    if choice.name not in NUMPY_NETWORKS:
        raise UsageError(f"--engine numpy: expected one of the networks {', '.join(NUMPY_NETWORKS)}, got {choice.name}")
    if recipe.ema or recipe.label_smoothing or recipe.optimizer == "adamw":
        raise UsageError("--engine numpy: it has no weight average, label smoothing or AdamW; take another recipe")
    network = NUMPY_NETWORKS[choice.name](seed, **choice.options)
    return NumpyEngine(network, _numpy_optimizer(recipe, network.parameters))


def _numpy_optimizer(recipe: Recipe, parameters: Mapping[str, Any]) -> Optimizer:
    if recipe.optimizer == "adam":
        return Adam(parameters)
    if recipe.optimizer == "momentum":
        return Momentum(parameters, recipe.momentum)
    return SGD(parameters)


def best_parameters(run_dir: Path) -> dict[str, np.ndarray]:
    """Parameters of a run's best model so far, by their names in the network, whichever engine trained it.

    Raises:
        UserError: the folder has no usable checkpoint, or no pass of the run was completed.
    """
    checkpoint, _ = load_checkpoint(run_dir / "checkpoints")
    found = under(BEST, checkpoint.arrays) if checkpoint else {}
    if not found:
        raise UserError(f"--init-from {run_dir}: expected a run with at least one completed pass, found none")
    return found


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, which is taken off."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
