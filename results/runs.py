"""Passes of many runs, from their results logs, side by side."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common.errors import UserError, one_line
from common.files import real_path, sha256
from results.log import is_unfinished, read_results
from results.records import Row, best_row, columns
from results.run_folder import RunFolder
from results.statistics import SIGNIFICANCE, holm, welch, wilson_interval

# Settings beside the recipe on which a run's result depends.
DECIDING = ("engine", "init_from", "select_on", "maps", "kernel_size", "pooling", "squashing", "train_rbf")
HIGHER_IS_BETTER = ("accuracy", "correct", "images_per_second")


@dataclass(frozen=True)
class Run:
    """One run as far as its folder tells.

    Attributes:
        name: of its folder, printable; the whole path where two folders have one name.
        folder: as it was given.
        rows: its passes in the order of the log.
        network: from run.json, as the next two; None where there is no run.json.
        recipe: name of the training settings.
        seed: of the run.
        unfinished: the log's last row has no line end, and is not among the rows.
        setup: all else that a run's result depends on, by name: the resolved recipe, the network's options, the data.
    """

    name: str
    folder: Path
    rows: list[Row]
    network: str | None = None
    recipe: str | None = None
    seed: int | None = None
    unfinished: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Row | None:
        """The run's best pass."""
        return best_row(self.rows)


Entry = tuple[Run, Row]
GroupKey = tuple[str | None, str | None, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seeds and their machines, by their best passes.

    Attributes:
        network: None if unknown.
        recipe: None if unknown.
        runs: how many have a best pass with a test score.
        test_accuracy_mean: of the best passes, a fraction; as the next three.
        test_accuracy_sd: sample standard deviation (n - 1); None for fewer than two runs.
        test_accuracy_lowest: the worst run's.
        test_accuracy_highest: the best run's.
        validation_loss_mean: of the best passes, nats per image; None without validation.
        verdict: in words, whether its mean differs from that of the first group.
        p_value: of Welch's test against the first group, corrected by Holm for all pairs; None if impossible.
        differs: what the runs have that other groups of the same network and recipe have otherwise, in words.
    """

    network: str | None
    recipe: str | None
    runs: int
    test_accuracy_mean: float | None
    test_accuracy_sd: float | None
    test_accuracy_lowest: float | None
    test_accuracy_highest: float | None
    validation_loss_mean: float | None
    verdict: str
    p_value: float | None
    differs: str = ""

    @property
    def recipe_in_words(self) -> str:
        """The recipe's name, and in what it differs from other groups of that name."""
        return f"{self.recipe or 'unknown'}{self.differs and f' ({self.differs})'}"


def find_runs(root: Path = Path("runs")) -> list[Path]:
    """The folders in `root` that hold a results log, by name."""
    return sorted(log.parent for log in root.glob("*/results.csv"))


def load_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read runs by their folders or their results logs; the same one named twice is one run.

    Returns:
        The runs that could be read, and one line for each thing that is wrong with the others or with their rows.
    """
    folders = list({real_path(log): log for log in map(_log_of, paths)}.values())
    names = [real_path(log).parent.name for log in folders]
    runs: list[Run] = []
    problems: list[str] = []
    for log, name in zip(folders, names, strict=True):
        try:
            rows, wrong = read_results(log)
            settings = _settings(log.parent) | {"unfinished": is_unfinished(log)}
        except UserError as error:
            problems.append(one_line(error, 1000))
        except OSError as error:
            problems.append(f"{one_line(log)}: {error.strerror or one_line(error)}")
        else:
            problems += wrong
            runs.append(Run(one_line(name if names.count(name) == 1 else log.parent), log.parent, rows, **settings))
    return runs, problems


def _log_of(path: Path) -> Path:
    return path / "results.csv" if os.path.isdir(path) else path  # noqa: PTH112  (of a name too long, no error here)


def _settings(folder: Path) -> dict[str, Any]:
    record = RunFolder(folder)
    if not record.record.is_file():
        return {}
    contents = record.read_record()
    settings = contents["settings"]
    kinds = {"network": str, "recipe": str, "seed": int}
    found = {name: settings.get(name) for name in kinds}
    for name, value in found.items():
        if value is not None and not isinstance(value, kinds[name]):
            raise UserError(f"{record.record}: settings.{name}: expected {kinds[name].__name__}, got {one_line(value)}")
    names = {name: one_line(value) if isinstance(value, str) else value for name, value in found.items()}
    return {**names, "setup": _setup(contents)}


def _setup(record: Mapping[str, Any]) -> dict[str, str]:
    """What the results of two runs may differ by beside seed and machine: recipe, options, data; values as JSON."""
    settings, recipe, data = (_object(record.get(name)) for name in ("settings", "recipe", "data"))
    values = {**{name: settings.get(name) for name in DECIDING}, **recipe}
    sums = _object(data.get("sha256"))
    if sums:
        values["data"] = sha256(json.dumps(sums, sort_keys=True).encode())[:8]
    return {name.replace("_", " "): json.dumps(value) for name, value in values.items() if value is not None}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def sortable_columns() -> list[str]:
    """Columns of the results log that passes can be sorted by."""
    return [column for column in columns(Row) if column != "best"]


def sort_passes(runs: Iterable[Run], column: str = "validation_loss") -> list[Entry]:
    """All passes of `runs`, best first; unknown and NaN values last; among equals the earlier pass first.

    Args:
        runs: the runs, their passes mixed.
        column: one of `sortable_columns`; accuracies, counts and speeds are better when higher, the rest when lower;
            run sorts by the runs' names, and each run's passes in their order.
    """
    if column == "run":
        return sorted(((run, row) for run in runs for row in run.rows), key=lambda e: (e[0].name, e[1].pass_number))
    sign = -1 if column.endswith(HIGHER_IS_BETTER) else 1
    field = "pass_number" if column == "pass" else column

    def key(entry: Entry) -> tuple[bool, float, int, str]:
        value = getattr(entry[1], field)
        unknown = value is None or math.isnan(value)
        return unknown, 0 if unknown else sign * value, entry[1].pass_number, entry[0].name

    return sorted(((run, row) for run in runs for row in run.rows), key=key)


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Runs by all that their results depend on but the seed, the group with the highest mean test accuracy first.

    The others are tested against it.

    That choice is made on the tested scores themselves; the tests are therefore corrected for all pairs of groups.
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
            verdict = "reference"
        elif p_value is None:
            verdict = "unknown: too few runs, or no spread"
        else:
            verdict = "worse than the first" if p_value < SIGNIFICANCE else "not distinguishable from the first"
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
                verdict=verdict,
                p_value=p_value,
                differs=_differs(names, members),
            )
        )
    return groups


def _differs(key: GroupKey, keys: Iterable[GroupKey]) -> str:
    """In words, the entries of a group's setup that not all groups of its network and recipe share."""
    setups = [dict(other[2]) for other in keys if other[:2] == key[:2]]
    differing = [(name, value) for name, value in key[2] if any(setup.get(name) != value for setup in setups)]
    return ", ".join(f"{one_line(name, 60)} {one_line(value, 60)}" for name, value in differing)


def runs_below(runs: Iterable[Run], percent: float) -> list[str]:
    """One line for each run whose best pass has a test accuracy below `percent`, or none at all."""
    wanted = Fraction(str(percent)) / 100  # exact, so that 9951/10000 is not below 99.51 %
    lines = []
    for run in runs:
        best = run.best
        if best is None or best.test_correct is None or best.test_total is None:
            lines.append(f"{run.name}: expected a test accuracy of at least {percent} %, found no best pass with one")
        elif Fraction(best.test_correct, best.test_total) < wanted:
            score = f"{best.test_correct}/{best.test_total} in pass {best.pass_number}"
            lines.append(f"{run.name}: expected a test accuracy of at least {percent} %, got {score}")
    return lines


def test_interval(row: Row) -> tuple[float, float] | None:
    """95 % Wilson interval of the test accuracy, as fractions; None without a test set."""
    if row.test_correct is None or row.test_total is None:
        return None
    return wilson_interval(row.test_correct, row.test_total)


def record(entry: Entry) -> dict[str, str | float | bool | None]:
    """One pass for machines, flat: the results log's columns in their order, then what the run's folder tells.

    Added are run_dir, network, recipe and seed (None without run.json), run_best (this is its run's best pass) and
    test_accuracy_low and _high, the 95 % Wilson interval. `run` is the run's name as in the table.
    """
    run, row = entry
    low, high = test_interval(row) or (None, None)
    values = {"pass" if name == "pass_number" else name: getattr(row, name) for name in row.__slots__}
    return values | {
        "run": run.name,
        "run_dir": str(run.folder),
        "network": run.network,
        "recipe": run.recipe,
        "seed": run.seed,
        "run_best": row == run.best,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
    }
