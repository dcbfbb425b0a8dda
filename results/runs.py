"""Passes of many runs, from their results logs, side by side."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from common.errors import UserError, one_line
from common.files import real_path, sha256
from data.distortions import Distortions
from model.recipes import NETWORK_OPTIONS, Recipe
from results.log import is_unfinished, read_results
from results.records import Row, best_row, columns
from results.run_folder import RunFolder

# Settings beside the recipe on which a run's result depends.
DECIDING = ("engine", "init_from", "select_on", "patience", *NETWORK_OPTIONS, "shards")
HIGHER_IS_BETTER = ("accuracy", "correct", "images_per_second")


@dataclass(frozen=True)
class Run:
    """One run, as its folder records it.

    Attributes:
        name: name of its folder, printable; the whole path if two folders have the same name.
        folder: path as it was given.
        rows: passes in the order of the log.
        network: from run.json, as the next two; None without a run.json.
        recipe: name of the training settings.
        seed: random seed.
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


@dataclass(frozen=True)
class Entry:
    """One pass of a comparison, with its run."""

    run: Run
    row: Row

    @property
    def name(self) -> str:
        """Name of the pass, such as "lenet5 pass 7"."""
        return f"{self.run.name} pass {self.row.pass_number}"

    @property
    def is_best(self) -> bool:
        """True for the best pass of its run."""
        return self.row == self.run.best


def find_runs(root: Path = Path("runs")) -> list[Path]:
    """The folders in `root` that hold a results log, by name; none if there is no such folder.

    Raises:
        OSError: `root` cannot be listed.
    """
    try:
        return sorted(folder for folder in root.iterdir() if holds_log(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def holds_log(folder: Path) -> bool:
    """True if a folder holds a results log, or cannot be looked into; reading it then reports why."""
    try:
        return (folder / "results.csv").exists()
    except OSError:
        return True


def load_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read runs by their folders or their results logs; the same one named twice is one run.

    Returns:
        The runs that could be read, and one line for each problem of the others or of their rows.
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
    """Recipe, options and data, on which a run's results depend beside seed and machine; values as JSON."""
    settings, recipe, data = (_object(record.get(name)) for name in ("settings", "recipe", "data"))
    # A release that lacks a setting of a later one trained at its default.
    values = {**{name: settings.get(name) for name in DECIDING}, **(asdict(Recipe()) if recipe else {}), **recipe}
    values["distortions"] = _distortions(values.get("distortions"))
    if values["shards"] == 1:  # as in runs of releases that had none
        del values["shards"]
    sums = _object(data.get("sha256"))
    if sums:
        values["data"] = sha256(json.dumps(sums, sort_keys=True).encode())[:8]
    return {name.replace("_", " "): json.dumps(value) for name, value in values.items() if value is not None}


def _distortions(recorded: object) -> dict[str, Any] | None:
    """Ranges that distort, by name; None without any. Releases record ranges that others do not know."""
    ranges = {**asdict(Distortions()), **_object(recorded)}
    if not ranges["elastic_alpha"]:
        del ranges["elastic_sigma"]  # of a field of no strength
    return {name: value for name, value in ranges.items() if value} or None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def sortable_columns() -> list[str]:
    """Columns of the results log that passes can be sorted by."""
    return [column for column in columns(Row) if column != "best"]


def ranking(runs: Iterable[Run], column: str | None = None) -> Sequence[str]:
    """Columns of the results log that rank passes of `runs`, each one among those equal by the one before it.

    Without a column, passes of one network are sorted by validation loss. Losses of several differ in kind; their
    passes are sorted by their share of validation errors.
    """
    if column:
        return (column,)
    return ("validation_loss",) if losses_compare(runs) else ("validation_accuracy", "validation_loss")


def losses_compare(runs: Iterable[Run]) -> bool:
    """True for runs of one network; networks differ in the kind of loss."""
    return len({run.network for run in runs}) < 2


def sort_passes(runs: Sequence[Run], column: str | None = None) -> list[Entry]:
    """All passes of `runs`, best first; unknown and NaN values last; among equals the earlier pass first.

    Args:
        runs: runs whose passes are sorted together.
        column: one of `sortable_columns`, else as in `ranking`; accuracies, counts and speeds are better when higher,
            the rest when lower; run sorts by the runs' names, and each run's passes in their order.
    """
    entries = [Entry(run, row) for run in runs for row in run.rows]
    if column == "run":
        return sorted(entries, key=lambda entry: (entry.run.name, entry.row.pass_number))
    by = ranking(runs, column)

    def key(entry: Entry) -> tuple[Any, ...]:
        return *(_rank(entry.row, each) for each in by), entry.row.pass_number, entry.run.name

    return sorted(entries, key=key)


def _rank(row: Row, column: str) -> tuple[bool, float]:
    """Sorting key of a row by a column: smaller is better, unknown is last."""
    value = getattr(row, "pass_number" if column == "pass" else column)
    if value is None or math.isnan(value):
        return True, 0
    return False, -value if column.endswith(HIGHER_IS_BETTER) else value


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
