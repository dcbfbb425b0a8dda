"""The state of a run: all that changes from step to step, and that a checkpoint holds."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import one_line
from common.ranges import is_count, is_number
from model.calibration import are_card_entries


@dataclass
class Progress:
    """The counters of a run: all that a checkpoint holds beside the arrays.

    Attributes:
        passes: passes that are done, evaluated and logged.
        steps: steps done of the pass after them.
        loss: sum over these steps' images, nats.
        correct: right answers among these steps' images.
        images: how many images these steps had.
        seconds: training time of these steps.
        last_finite_loss: of the latest step, mean, nats per image.
        best_pass: the best so far; 0 before there is one.
        best_measure: what it was chosen by: loss, nats per image, or error, a fraction.
        best_answers: SHA-256 of its answers to the test images, one byte each.
        best_confidence: what its card records of its probabilities (model.calibration.card_entries).
        patience: early stopping's step to stop at, as things stand; None before the first pass.
        lowest_error: of the validation images so far, for early stopping.
    """

    passes: int = 0
    steps: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0
    last_finite_loss: float | None = None
    best_pass: int = 0
    best_measure: float | None = None
    best_answers: str = ""
    best_confidence: dict[str, Any] = field(default_factory=dict)
    patience: float | None = None
    lowest_error: float | None = None

    def begin_pass(self) -> None:
        """Count one pass as done and start the sums of the next."""
        self.passes += 1
        self.steps, self.loss, self.correct, self.images, self.seconds = 0, 0.0, 0, 0, 0.0


@dataclass
class State:
    """All that changes during a run, but for the engine's arrays.

    Attributes:
        progress: the counters.
        best_parameters: of the best pass, by their names in the network.
        log: results.csv as the newest checkpoint knows it.
        saved: name of that checkpoint; empty before there is one.
    """

    progress: Progress = field(default_factory=Progress)
    best_parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    log: bytes = b""
    saved: str = ""


def expect_progress(values: Mapping[str, Any], images: int, batch_size: int) -> None:
    """Make sure that values from a checkpoint are those of a `Progress`, each of its type and in its range.

    Args:
        values: as JSON has them.
        images: training images, or rows, in a pass.
        batch_size: of them in a step.

    Raises:
        ValueError: they are not; the message names one.
    """
    names = {entry.name for entry in dataclasses.fields(Progress)}
    if set(values) != names:
        wrong = min(set(values) ^ names)
        raise ValueError(f"expected the counters of this release, {one_line(wrong, 60)} is missing or unknown")
    best = values["best_pass"]
    ranges = {
        "passes": is_count(values["passes"]),
        "steps": is_count(values["steps"], math.ceil(images / batch_size)),
        "images": is_count(values["images"])
        and is_count(values["steps"])
        and values["images"] == min(values["steps"] * batch_size, images),
        "correct": is_count(values["images"]) and is_count(values["correct"], values["images"]),
        "loss": is_number(values["loss"]),
        "seconds": is_number(values["seconds"], 0) and (values["seconds"] > 0 or values["images"] == 0),
        "last_finite_loss": values["last_finite_loss"] is None or is_number(values["last_finite_loss"]),
        "best_pass": is_count(best) and bool(best) == bool(values["passes"]) and best <= values["passes"],
        "best_measure": is_number(values["best_measure"]) if best else values["best_measure"] is None,
        "best_answers": bool(re.fullmatch("[0-9a-f]{64}" if best else "", str(values["best_answers"]))),
        "best_confidence": are_card_entries(values["best_confidence"]) if best else values["best_confidence"] == {},
        "patience": values["patience"] is None or is_number(values["patience"]),
        "lowest_error": values["lowest_error"] is None or is_number(values["lowest_error"], 0, 1),
    }
    for name, right in ranges.items():
        if not right:
            raise ValueError(f"{name}: expected a value that a run can have, got {one_line(values[name], 60)}")
