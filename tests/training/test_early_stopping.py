"""Early stopping by the Theano tutorial's rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.recipes import PUBLISHED, EarlyStopping
from training.early_stopping import Patience


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
