"""Early stopping: the Theano tutorial's rule, `--patience`, and callbacks that end a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model.recipes import EarlyStopping, Recipe
from results.log import read_results
from results.records import Row
from training.setup import Setup
from training.state import Progress


@dataclass
class Patience:
    """The rule as it runs; both numbers are plain, for a checkpoint to keep.

    Steps are counted from 0 over the whole run, as the document counts its iterations: the pass with S steps that ends
    as number p is validated at step p · S - 1.

    Validation comes once a pass; in the document, every min(steps a pass, patience / 2) steps. With its patience of
    10,000 the two differ only above 5,000 steps a pass; MNIST has 100.

    Attributes:
        rule: its constants.
        last_step: the step at which training stops as things stand; the document's `patience`.
        best_error: lowest validation error so far, a fraction.
    """

    rule: EarlyStopping
    last_step: float
    best_error: float = math.inf

    @classmethod
    def start(cls, rule: EarlyStopping) -> Patience:
        """The rule before the first step."""
        return cls(rule, rule.patience)

    def validated(self, step: int, error: float) -> bool:
        """Take in the validation error, a fraction, after a step; returns whether it is the lowest so far."""
        if error >= self.best_error:
            return False
        if error < self.best_error * self.rule.threshold:
            self.last_step = max(self.last_step, step * self.rule.increase)
        self.best_error = error
        return True

    def reaches(self, step: int) -> bool:
        """True if training continues until the validation after `step`.

        The document looks at the end of every step, not of every pass, and stops when patience ≤ step: a pass that
        contains `last_step` is broken off there, unless it is the pass's last step, where validation comes first. Steps
        after the last validation change no model that could be chosen, so asking this before a pass is the same rule.
        """
        return self.last_step > step - 1


def patience_of(recipe: Recipe, progress: Progress) -> Patience | None:
    """The rule as it stands; None if the recipe has none, or nothing is held out to measure it on."""
    rule = recipe.early_stopping
    if rule is None or not recipe.validation_size:
        return None
    if progress.patience is None:
        return Patience.start(rule)
    return Patience(rule, progress.patience, math.inf if progress.lowest_error is None else progress.lowest_error)


def take_in(recipe: Recipe, progress: Progress, step: int, error: float) -> None:
    """Take the validation error, a fraction, after a step into the counters."""
    if patience := patience_of(recipe, progress):
        patience.validated(step, error)
        progress.patience, progress.lowest_error = patience.last_step, patience.best_error


def is_out_of_patience(recipe: Recipe, progress: Progress, steps: int) -> bool:
    """True if the next pass, of `steps` steps, would not be validated any more."""
    patience = patience_of(recipe, progress)
    return patience is not None and not patience.reaches((progress.passes + 1) * steps - 1)


def passes_without_better(rows: Sequence[Row], select_by: str) -> int:
    """Number of passes since the first one of the lowest validation loss, or of the fewest validation errors."""
    measures = [row.validation_loss if select_by == "loss" else 1 - (row.validation_accuracy or 0) for row in rows]
    known = [math.inf if measure is None else measure for measure in measures]
    return len(known) - 1 - known.index(min(known))


def reason_to_stop(setup: Setup, progress: Progress) -> str:
    """Reason to end the run before its next pass; empty to go on.

    It depends on the counters and the log alone, so that a run that was interrupted ends where it would have.
    """
    if is_out_of_patience(setup.recipe, progress, setup.steps):
        return "the validation error has ceased to fall by enough"
    rows, patience = read_results(setup.folder.results)[0], setup.settings.patience
    if patience and rows and passes_without_better(rows, setup.recipe.select_by) >= patience:
        measure = "loss" if setup.recipe.select_by == "loss" else "error"
        return f"no lower validation {measure} in {patience} {'passes' if patience > 1 else 'pass'}"
    reasons = (callback.reason_to_stop(rows) for callback in setup.callbacks) if rows else ()
    return next(filter(None, reasons), "")
