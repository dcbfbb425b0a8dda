"""A comparison on the screen for people, and as JSON Lines or CSV for machines."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.cells import csv_cell
from common.console import ScriptConsole
from results.runs import Entry, Group, test_interval
from results.significance import Verdict

Record = Mapping[str, Any]
Columns = Mapping[str, Callable[[Entry], str]]

PASS_COLUMNS: Columns = {
    "pass": lambda entry: str(entry[1].pass_number),
    "": lambda entry: "best" if entry[1] == entry[0].best else "",
    "train\nloss": lambda entry: _loss(entry[1].train_loss),
    "validation\nloss": lambda entry: _loss(entry[1].validation_loss),
    "validation\n%": lambda entry: _percent(entry[1].validation_accuracy),
    "test\nloss": lambda entry: _loss(entry[1].test_loss),
    "test\ncorrect": lambda entry: f"{entry[1].test_correct}/{entry[1].test_total}" if entry[1].test_total else "",
    "test\n%": lambda entry: _percent(entry[1].test_accuracy),
    "95 % interval\n%": lambda entry: _interval(test_interval(entry[1])),
    "training\ns": lambda entry: f"{entry[1].seconds:.1f}",
}
VERDICT_COLUMNS: Mapping[str, Callable[[Verdict], str]] = {
    "difference\n%": lambda verdict: "" if verdict.difference is None else f"{100 * verdict.difference:+.2f}",
    "its interval\n%": lambda verdict: (
        ""
        if verdict.difference_low is None or verdict.difference_high is None
        else f"{100 * verdict.difference_low:+.2f} to {100 * verdict.difference_high:+.2f}"
    ),
    "p": lambda verdict: "" if verdict.p_value is None else f"{verdict.p_value:.3g}",
    "verdict": lambda verdict: verdict.verdict,
}
GROUP_COLUMNS: Mapping[str, Callable[[Group], str]] = {
    "runs": lambda group: str(group.runs),
    "mean test\n%": lambda group: _percent(group.test_accuracy_mean, digits=3),
    "standard\ndeviation": lambda group: _percent(group.test_accuracy_sd, digits=3),
    "lowest\n%": lambda group: _percent(group.test_accuracy_lowest),
    "highest\n%": lambda group: _percent(group.test_accuracy_highest),
    "mean validation\nloss": lambda group: _loss(group.validation_loss_mean),
    "p": lambda group: "" if group.p_value is None else f"{group.p_value:.3g}",
    "verdict": lambda group: group.verdict,
}
# What a narrow terminal goes without, the first one first; JSON and CSV hold everything.
LEFT_OUT_FIRST = ("training\ns", "train\nloss", "validation\n%", "test\nloss", "test\n%", "95 % interval\n%")

ENDLESS = 10_000  # characters; a line is as long as it needs to be where no terminal limits it


def print_records(records: Sequence[Record], as_: Literal["json", "csv"]) -> None:
    """The records, at least one, as JSON Lines, or as CSV under one header.

    JSON has no NaN or infinity, so these become null; in CSV true and false are 1 and 0, as in the results log, and
    texts are as `common/cells.py` says.
    """
    if as_ == "json":
        for record in records:
            values = {key: None if _not_finite(value) else value for key, value in record.items()}
            print(json.dumps(values, allow_nan=False))  # ASCII, so that any name survives any terminal and pipe
        return
    writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _cell(value) for key, value in record.items()})


def print_passes(entries: Sequence[Entry], verdicts: Sequence[Verdict] = ()) -> None:
    """One line per pass, each run's best pass marked, a verdict for each if there are any.

    Without a terminal whole lines, however long.
    """
    console, endless = make_console(), Console(width=ENDLESS, file=io.StringIO())
    columns = dict(PASS_COLUMNS)
    table = _pass_table(entries, verdicts, columns)
    for header in LEFT_OUT_FIRST:
        if endless.measure(table).maximum <= console.width:
            break
        del columns[header]
        table = _pass_table(entries, verdicts, columns)
    console.print(table)


def print_groups(groups: Sequence[Group]) -> None:
    """One line per group of comparable runs: the test accuracy of the best passes across its runs."""
    table = _table("network", "recipe")
    for header in GROUP_COLUMNS:
        words = header == "verdict"
        table.add_column(header, justify="left" if words else "right", no_wrap=not words)
    for group in groups:
        texts = [text(group) for text in GROUP_COLUMNS.values()]
        table.add_row(*map(Text, (group.network or "unknown", group.recipe_in_words, *texts)))
    make_console().print(table)


def make_console() -> Console:
    """A console of the terminal's width, or of endless lines without a terminal."""
    return ScriptConsole(width=None if sys.stdout.isatty() else ENDLESS)


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _pass_table(entries: Sequence[Entry], verdicts: Sequence[Verdict], columns: Columns) -> Table:
    table = _table("run")
    for header in [*columns, *(VERDICT_COLUMNS if verdicts else ())]:
        words = header == "verdict"
        table.add_column(header, justify="left" if words else "right", no_wrap=not words)
    for index, entry in enumerate(entries):
        run, row = entry
        texts = [text(entry) for text in columns.values()]
        if verdicts:
            texts += [text(verdicts[index]) for text in VERDICT_COLUMNS.values()]
        table.add_row(Text(run.name), *map(Text, texts), style="bold" if row == run.best else "")
    return table


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _percent(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else " - ".join(map(_percent, bounds))


def _cell(value: str | float | bool | None) -> str | float | None:
    if isinstance(value, str):
        return csv_cell(value)
    return int(value) if isinstance(value, bool) else value


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
