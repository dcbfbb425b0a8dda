"""Early stopping: the Theano tutorial's rule, `--patience`, and callbacks that end a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from data.dataset import Mnist
from model.recipes import PUBLISHED, EarlyStopping
from results.log import read_results
from results.records import Row
from results.run_folder import RunFolder
from tests.results.test_compare import row
from tests.training.test_own_data import with_classes
from training.callbacks.callback import Callback
from training.early_stopping import Patience, passes_without_better
from training.loop import train
from training.settings import Settings


def passes_by_patience(rule: EarlyStopping, errors: list[float], steps: int) -> tuple[int, int]:
    """Validated passes, and the best of them, by the class, asked once a pass."""
    patience = Patience.start(rule)
    best = 0
    for number, error in enumerate(errors, start=1):
        if not patience.reaches(number * steps - 1):
            return number - 1, best
        if patience.validated(number * steps - 1, error):
            best = number
    return len(errors), best


def passes_by_document(rule: EarlyStopping, errors: list[float], steps: int) -> tuple[int, int]:
    """The same, step by step, as the document tells it."""
    limit: float = rule.patience
    lowest, best, validated, iteration = math.inf, 0, 0, 0
    while validated < len(errors):
        if (iteration + 1) % steps == 0:
            error = errors[validated]
            validated += 1
            if error < lowest:
                if error < lowest * rule.threshold:
                    limit = max(limit, iteration * rule.increase)
                lowest, best = error, validated
        if limit <= iteration:
            break
        iteration += 1
    return validated, best


def test_an_error_that_never_falls_ends_with_the_first_patience() -> None:
    """100 steps a pass: step 10,000 is the first of pass 101, which is never validated."""
    assert passes_by_patience(EarlyStopping(), [0.5] * 200, 100) == (100, 1)


def test_a_fall_by_enough_doubles_the_steps() -> None:
    """An improvement at pass 60 = step 5,999 sets the end to step 11,998, the last but one of pass 120."""
    errors = [0.5] * 59 + [0.4] + [0.4] * 200
    assert passes_by_patience(EarlyStopping(), errors, 100) == (119, 60)


def test_a_fall_by_too_little_is_the_best_but_wins_no_time() -> None:
    barely = 0.5 * 0.9951
    assert passes_by_patience(EarlyStopping(), [0.5] * 79 + [barely] * 200, 100) == (100, 80)


def test_the_threshold_is_against_the_best_error_before() -> None:
    """Small falls add up to nothing: each is measured against the last best, not against where they began."""
    errors = [0.5 * 0.996**number for number in range(200)]
    assert passes_by_patience(EarlyStopping(), errors, 100) == (100, 100)


def test_validation_comes_before_the_stop_at_the_last_step_of_a_pass() -> None:
    rule = EarlyStopping(patience=199)
    assert passes_by_patience(rule, [0.5, 0.4, 0.3, 0.2, 0.1], 100)[0] == 5
    assert passes_by_patience(rule, [0.5, 0.5, 0.5], 100)[0] == 2


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_documents_rule(seed: int) -> None:
    random = np.random.default_rng(seed)
    steps = int(random.integers(1, 40))
    rule = EarlyStopping(int(random.integers(1, 400)), float(random.choice([1.5, 2.0, 3.0])), 0.995)
    errors = list(np.round(0.5 * np.exp(-0.05 * np.arange(120)) * random.uniform(0.9, 1.1, 120), 3))
    assert passes_by_patience(rule, errors, steps) == passes_by_document(rule, errors, steps)


def test_it_goes_on_from_its_two_numbers() -> None:
    """What a checkpoint keeps is all that a resumed run needs."""
    first = Patience.start(EarlyStopping(patience=10))
    first.validated(20, 0.3)
    second = Patience(first.rule, first.last_step, first.best_error)
    assert second == first and second.last_step == 40
    assert not second.validated(30, 0.3) and second.reaches(40) and not second.reaches(41)


def test_the_published_recipe_has_the_documents_numbers() -> None:
    recipe = PUBLISHED["lenet_tanh"]
    assert recipe.early_stopping == EarlyStopping(patience=10_000, increase=2, threshold=0.995)
    assert (recipe.select_by, recipe.shuffle_buffer, recipe.validation_size) == ("error", 1, 10_000)


def test_passes_without_a_better_one_are_counted_from_the_first_best() -> None:
    rows = [
        replace(row("a", number, loss, 1), validation_correct=right, validation_accuracy=right / 5000)
        for number, (loss, right) in enumerate([(0.3, 4900), (0.1, 4910), (0.2, 4930), (0.1, 4930)], start=1)
    ]
    assert [passes_without_better(rows[:count], "loss") for count in (1, 2, 3, 4)] == [0, 0, 1, 2]
    assert [passes_without_better(rows[:count], "error") for count in (1, 2, 3, 4)] == [0, 0, 0, 1]


class Messages(Callback):
    """Notes the messages; ends the run after some passes."""

    def __init__(self, passes: int = 0) -> None:
        self.passes = passes
        self.lines: list[str] = []

    def reason_to_stop(self, rows: Sequence[Row]) -> str:
        return f"{len(rows)} are\nenough" if 0 < self.passes <= len(rows) else ""

    def on_message(self, line: str) -> None:
        self.lines.append(line)


def settings(folder: Path, **given: object) -> Settings:
    """Of runs that learn nothing, so that no pass is better than the first."""
    own = {"network": "lenet5_numpy", "engine": "numpy", "learning_rate": 1e-12, "select_by": "error"}
    places = {"validation_size": 20, "figures": "none", "save_dir": folder / "model"}
    return Settings(**{**own, **places, **given})  # type: ignore[arg-type]


def test_patience_ends_a_run_of_any_network_and_publishes_the_best_pass(mnist: Mnist, tmp_path: Path) -> None:
    said, run = Messages(), RunFolder(tmp_path / "run")
    outcome = train(settings(tmp_path, passes=9, patience=2), run, [said], data=with_classes(mnist, 10))
    assert outcome and outcome.best_pass == 1 and (tmp_path / "model" / "card.json").exists()
    assert len(read_results(run.results)[0]) == 3
    assert "stopped early after pass 3: no lower validation error in 2 passes" in said.lines
    record = run.read_record()
    assert (record["outcome"]["passes"], record["outcome"]["of"], record["settings"]["patience"]) == (3, 9, 2)
    with pytest.raises(UsageError, match="--patience 2: expected images held out"):
        Settings(patience=2, validation_size=0, select_on="last")


def test_a_callback_ends_a_run_and_does_so_again_when_it_goes_on(mnist: Mnist, tmp_path: Path) -> None:
    data, run = with_classes(mnist, 10), RunFolder(tmp_path / "run")
    said = Messages(passes=2)
    train(settings(tmp_path, passes=5), run, [Callback(), said], data=data)
    assert len(read_results(run.results)[0]) == 2
    assert "stopped early after pass 2: 2 are\\nenough" in said.lines
    train(settings(tmp_path, passes=6, resume=run.path), run, [Messages(passes=2)], data=data)  # asked at once
    assert len(read_results(run.results)[0]) == 2
    train(settings(tmp_path, passes=3, resume=run.path), run, [], data=data)
    assert len(read_results(run.results)[0]) == 3
