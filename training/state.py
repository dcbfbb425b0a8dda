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
        images: training images.
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
        "passes": _is_count(values["passes"]),
        "steps": _is_count(values["steps"], math.ceil(images / batch_size)),
        "images": _is_count(values["images"])
        and _is_count(values["steps"])
        and values["images"] == min(values["steps"] * batch_size, images),
        "correct": _is_count(values["images"]) and _is_count(values["correct"], values["images"]),
        "loss": _is_number(values["loss"]),
        "seconds": _is_number(values["seconds"], 0) and (values["seconds"] > 0 or values["images"] == 0),
        "last_finite_loss": values["last_finite_loss"] is None or _is_number(values["last_finite_loss"]),
        "best_pass": _is_count(best) and bool(best) == bool(values["passes"]) and best <= values["passes"],
        "best_measure": _is_number(values["best_measure"]) if best else values["best_measure"] is None,
        "best_answers": bool(re.fullmatch("[0-9a-f]{64}" if best else "", str(values["best_answers"]))),
        "best_confidence": _is_confidence(values["best_confidence"]) if best else values["best_confidence"] == {},
        "patience": values["patience"] is None or _is_number(values["patience"]),
        "lowest_error": values["lowest_error"] is None or _is_number(values["lowest_error"], 0, 1),
    }
    for name, right in ranges.items():
        if not right:
            raise ValueError(f"{name}: expected a value that a run can have, got {one_line(values[name], 60)}")


def _is_count(value: Any, most: float = 10**9) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_number(value: Any, least: float = -1e300, most: float = 1e300) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_confidence(entries: Any) -> bool:
    """True for entries as `model.calibration.card_entries` makes them; there may be more."""
    try:
        calibration, rejection = entries["calibration"], entries["rejection"]
        measured = [calibration["test"], *([calibration["validation"]] if "validation" in calibration else [])]
        shares = [share for each in measured for share in (each["before"], each["after"])]
        stated = rejection["test"]
        counts = [(stated["images"], stated["rejected"], stated["errors"])]
        if "validation" in rejection:
            table = rejection["validation"]
            shares += table["reject_below"]
            for _, rejected, errors in zip(table["reject_below"], table["rejected"], table["errors"], strict=True):
                counts.append((table["images"], rejected, errors))
    except (TypeError, KeyError, ValueError, AttributeError):
        return False
    return (
        _is_number(entries.get("temperature"), 0.01, 100)
        and all(_is_number(share, 0, 1) for share in shares)
        and all(_are_of(*each) for each in counts)
    )


def _are_of(images: Any, rejected: Any, errors: Any) -> bool:
    """True if that many images can be rejected, with that many errors among the rest."""
    return _is_count(images) and _is_count(rejected, images) and _is_count(errors, images - rejected)
