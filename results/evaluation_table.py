"""Scores of models on the screen for people, and as JSON Lines or CSV for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.console import print_line
from common.errors import one_line
from results.evaluation import Evaluation
from results.significance import Outcome, Verdict, compare, p_text
from results.table import fits, make_console, percent, print_records, verdict_record

MOST_CLASSES = 26  # in a confusion matrix on the screen; --plot draws larger ones

Evaluations = Mapping[Path, Evaluation]


def print_evaluations(scores: Evaluations, as_: Literal["table", "json", "csv"]) -> None:
    """Print each model's score; verdicts are about the images that all of them could read."""
    records = {folder: _record(folder, score) for folder, score in scores.items()}
    common = reduce(np.intersect1d, (score.numbers for score in scores.values()))
    for folder, verdict in _verdicts(scores, common).items():
        records[folder] |= verdict_record(verdict) | {"compared": len(common)}
    for folder, score in scores.items():
        records[folder]["left_out"] = score.left_out
    if as_ == "table":
        _print_tables(scores, records)
    elif as_ == "csv":
        print_records(list(records.values()), "csv")
    else:
        print_records([records[folder] | _details(score) for folder, score in scores.items()], "json")


def _record(folder: Path, score: Evaluation) -> dict[str, Any]:
    low, high = score.interval
    return {
        "model": str(folder),
        "images": score.total,
        "correct": score.correct,
        "accuracy": score.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": score.loss,
        "calibration_error": score.calibration_error,
    }


def _details(score: Evaluation) -> dict[str, Any]:
    classes = [asdict(each) for each in score.classes()]
    return {"labels": list(score.labels), "classes": classes, "confusion": score.confusion.tolist()}


def _verdicts(scores: Evaluations, common: np.ndarray) -> dict[Path, Verdict]:
    """Each model against the first, image by image; empty for one model, or if no image is common to all."""
    if len(scores) < 2 or not len(common):
        return {}
    first, *others = (score.right[np.isin(score.numbers, common)] for score in scores.values())
    verdicts = compare(first, others, one_line(next(iter(scores))))
    return dict(zip(scores, [Verdict(Outcome.REFERENCE), *verdicts], strict=True))


def _print_tables(scores: Evaluations, records: Mapping[Path, Mapping[str, Any]]) -> None:
    console = make_console()
    for folder, score in scores.items():
        record = records[folder]
        console.print(Text(one_line(folder, 1000), style="bold"))
        print_line(
            f"{score.correct:,} of {score.total:,} right = {100 * score.accuracy:.2f} % "
            f"(95 % interval {100 * record['accuracy_low']:.2f} to {100 * record['accuracy_high']:.2f} %), "
            f"loss {score.loss:.4f}, calibration error {100 * record['calibration_error']:.2f} %",
            console,
        )
        if score.left_out:
            print_line(f"{score.left_out:,} of {score.left_out + score.total:,} pictures left out", console)
        if record.get("p_value") is not None:
            interval = f"{100 * record['difference_low']:+.2f} to {100 * record['difference_high']:+.2f} %"
            line = (
                f"{record['verdict']}: difference {100 * record['difference']:+.2f} % (interval {interval}), "
                f"p {p_text(record['p_value'])}"
            )
            everywhere = all(not each.left_out for each in scores.values())
            also = "" if everywhere else f", on the {record['compared']:,} images that all models could read"
            print_line(line + also, console)
        _print_classes(console, score)
        if len(score.labels) <= MOST_CLASSES:
            _print_confusion(console, score)


def _print_classes(console: Console, score: Evaluation) -> None:
    table = _table("class")
    for header in ("images", "precision\n%", "recall\n%", "F1\n%"):
        table.add_column(header, justify="right", no_wrap=True)
    for each in score.classes():
        table.add_row(Text(each.label), f"{each.images:,}", *map(percent, (each.precision, each.recall, each.f1)))
    console.print(table)


def _print_confusion(console: Console, score: Evaluation) -> None:
    table = _table("true \\ read")
    for label in score.labels:
        table.add_column(Text(label), justify="right", no_wrap=True)
    for label, row in zip(score.labels, score.confusion, strict=True):
        table.add_row(Text(label), *(str(count) if count else "." for count in row))
    if fits(table, console):
        console.print(table)
    else:  # a number that is cut off would be another
        console.print("confusion matrix: wider than the terminal; --plot draws it, --format json holds it")


def _table(first: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column(first, overflow="fold")
    return table
