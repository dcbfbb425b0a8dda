"""Runs that differ in nothing but seed and machine, pooled, and the groups compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from statistics import mean, stdev

from common.errors import one_line
from results.records import Row
from results.runs import Run
from results.significance import SIGNIFICANCE, Outcome, holm, welch

GroupKey = tuple[str | None, str | None, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seeds and their machines, by their best passes.

    Attributes:
        network: None if unknown.
        recipe: None if unknown.
        runs: number of runs that have a best pass with a test score.
        test_accuracy_mean: mean of the best passes, a fraction; as the next three.
        test_accuracy_sd: sample standard deviation (n - 1); None for fewer than two runs.
        test_accuracy_lowest: the worst run's.
        test_accuracy_highest: the best run's.
        validation_loss_mean: mean of the best passes, nats per image; None without validation.
        outcome: of Welch's test against the first group.
        p_value: of Welch's test against the first group, corrected by Holm for all pairs; None if impossible.
        differs: its settings that not all groups of its network and recipe share, in words.
    """

    network: str | None
    recipe: str | None
    runs: int
    test_accuracy_mean: float | None
    test_accuracy_sd: float | None
    test_accuracy_lowest: float | None
    test_accuracy_highest: float | None
    validation_loss_mean: float | None
    outcome: Outcome
    p_value: float | None
    differs: str = ""

    @property
    def verdict(self) -> str:
        """The outcome in English."""
        return self.outcome.value.format("the first")

    @property
    def recipe_in_words(self) -> str:
        """Name of the recipe, and the settings by which it differs from other groups of that name."""
        return f"{self.recipe or 'unknown'}{self.differs and f' ({self.differs})'}"


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs that differ in nothing but seed and machine; the group of the highest mean test accuracy comes first.

    The other groups are tested against it. It was chosen by the tested scores themselves; the tests are therefore
    corrected for all pairs of groups.
    """
    members: dict[GroupKey, list[Row]] = {}
    for run in runs:
        best = members.setdefault((run.network, run.recipe, tuple(sorted(run.setup.items()))), [])
        if run.best is not None:
            best.append(run.best)
    accuracies = {
        names: [row.test_accuracy for row in rows if row.test_accuracy is not None] for names, rows in members.items()
    }
    ordered = sorted(members, key=lambda names: mean(accuracies[names] or [0]), reverse=True)
    tested = {
        pair: p_value
        for pair in combinations(ordered, 2)
        if (p_value := welch(*(accuracies[names] for names in pair))) is not None
    }
    p_values = dict(zip(tested, holm(list(tested.values())), strict=True))
    groups = []
    for names in ordered:
        scores = accuracies[names]
        losses = [row.validation_loss for row in members[names] if row.validation_loss is not None]
        p_value = p_values.get((ordered[0], names))
        if names == ordered[0]:
            outcome = Outcome.REFERENCE
        elif p_value is None:
            outcome = Outcome.TOO_FEW_RUNS
        else:
            outcome = Outcome.WORSE if p_value < SIGNIFICANCE else Outcome.SAME
        groups.append(
            Group(
                network=names[0],
                recipe=names[1],
                runs=len(scores),
                test_accuracy_mean=mean(scores) if scores else None,
                test_accuracy_sd=stdev(scores) if len(scores) > 1 else None,
                test_accuracy_lowest=min(scores, default=None),
                test_accuracy_highest=max(scores, default=None),
                validation_loss_mean=mean(losses) if losses else None,
                outcome=outcome,
                p_value=p_value,
                differs=_differs(names, members),
            )
        )
    return groups


def _differs(key: GroupKey, keys: Iterable[GroupKey]) -> str:
    """Settings of a group that not all groups of its network and recipe share, in words."""
    setups = [dict(other[2]) for other in keys if other[:2] == key[:2]]
    differing = [(name, value) for name, value in key[2] if any(setup.get(name) != value for setup in setups)]
    return ", ".join(f"{one_line(name, 60)} {one_line(value, 60)}" for name, value in differing)
