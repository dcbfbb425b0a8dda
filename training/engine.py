"""The methods of an engine, which trains a network by Paddle's static programs or NumPy; and where one starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from common.errors import UserError, one_line
from data.dataset import DIGITS
from model.feature_maps import FeatureMaps
from model.saved_model import CARD, load_model
from results.checkpoint import BEST, load_checkpoint, under
from results.run_folder import RunFolder, describe_folder

LAST_LAYER = "output."  # of every network: the beginning of its parameters' names
EngineName = Literal["paddle", "numpy"]


class Engine(Protocol):
    """See model.engine.PaddleEngine for what each method does."""

    @property
    def trainable(self) -> int:
        """Number of values that the optimizer may change."""
        ...

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> object: ...
    def recent(self, steps: int) -> np.ndarray: ...
    def log_probabilities(self, images: np.ndarray) -> np.ndarray: ...
    def state(self) -> dict[str, np.ndarray]: ...
    def load_state(self, state: Mapping[str, np.ndarray]) -> None: ...
    def parameters(self) -> dict[str, np.ndarray]: ...
    def load_parameters(self, parameters: Mapping[str, np.ndarray]) -> None: ...


def start_from(engine: Engine, folder: Path, classes: Sequence[str] | None = None, rows: bool = False) -> list[str]:
    """Give an engine the parameters of a model, or of a run's best model so far, whichever engine trained it.

    Args:
        engine: gets the parameters.
        folder: of the run or the model.
        classes: names of the classes to come; if the model has others, its last layer is left out.
        rows: the network reads rows of digits.

    Returns:
        Lines for the user: each newer checkpoint of the run that was refused, and a last layer that is left out.

    Raises:
        UserError: the folder is no model and no run with a usable checkpoint, no pass of the run was completed, or its
            network is another; the engine keeps its parameters.
    """
    where = f"--init-from {folder}"
    try:
        if (folder / CARD).exists():
            model = load_model(folder, rows=rows)
            parameters, lines = FeatureMaps.of_model(model).parameters(), list[str]()
            known = model.card["labels"]
        else:
            parameters, lines = _best_of(folder)
            data = RunFolder(folder).read_record().get("data")
            known = data.get("classes", list(DIGITS)) if isinstance(data, dict) else list(DIGITS)
            if not isinstance(known, list):
                raise UserError(f"run.json: expected a list of names as data.classes, got {one_line(known, 60)}")
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if classes is not None and list(classes) != list(known):
        parameters |= {name: value for name, value in engine.parameters().items() if name.startswith(LAST_LAYER)}
        names = (f"{len(each)} ({one_line(', '.join(map(str, each)), 40)})" for each in (known, classes))
        lines.append("all layers but the last, which starts anew: classes {} became {}".format(*names))
    try:
        engine.load_parameters(parameters)
    except (UserError, ValueError) as error:  # NumPy's engine knows nothing of this project's errors
        raise UserError(f"{where}: {one_line(error)}; name a run or model of the same network and options") from error
    return [f"{where}: {line}" for line in lines]


def _best_of(run_dir: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Parameters of a run's best model so far, and why newer checkpoints were refused."""
    checkpoint, refused = load_checkpoint(RunFolder(run_dir).checkpoints)
    if checkpoint is None:
        raise UserError(
            f"expected the folder of a model, or of a run with its checkpoints, found {describe_folder(run_dir)}"
        )
    parameters = under(BEST, checkpoint.arrays)
    if not parameters:
        raise UserError("expected a run with at least one completed pass, found none")
    return parameters, list(refused)
