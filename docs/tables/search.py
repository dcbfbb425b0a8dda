"""The table of the runs that led to conv_pool_bn's recipe best, from their logs in docs/experiments/search/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from results.run_folder import RunFolder
from results.runs import Run

COLUMNS = ("passes", "final_rate", "ema", "weight_decay", "elastic_alpha")  # what they differ in
LAST_PASSES = 16  # of which the table has the median: one pass alone shows little
HEADER = (
    "| " + " | ".join(f"`--{name.replace('_', '-')}`" for name in COLUMNS) + " | errors | loss |\n"
    "|" + "---|" * (len(COLUMNS) + 2)
)


def search_table(runs: Sequence[Run]) -> str:
    """A row for each run, in Markdown: its settings, and what it made of the images held out; most errors first."""
    rows = []
    for run in runs:
        last = run.rows[-LAST_PASSES:]
        errors = median((row.validation_total or 0) - (row.validation_correct or 0) for row in last)
        loss = median(row.validation_loss or 0 for row in last)
        settings = [f"{value:g}" for value in _settings(run.folder)]
        rows.append((-errors, -loss, f"| {' | '.join([*settings, f'{errors:g}', f'{loss:.4f}'])} |"))
    return "\n".join([HEADER, *(row for _, _, row in sorted(rows))])


def _settings(folder: Path) -> list[float]:
    recipe: Mapping[str, Any] = RunFolder(folder).read_record()["recipe"]
    known = {"final_rate": 0.0, **recipe, **recipe["distortions"]}  # older logs know no final rate: it was 0
    return [known[name] for name in COLUMNS]
