"""A comparison on the screen for people, and as JSON Lines or CSV for machines."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.cells import csv_cell
from common.console import ScriptConsole
from common.width import shorten
from results.groups import Group
from results.records import Row, columns
from results.runs import Entry, ranking
from results.significance import Verdict, p_text, test_interval

Record = Mapping[str, Any]
Columns = Mapping[str, Callable[[Entry], str]]

# By header; the HTML of a comparison has the same columns (results/html.py).
RUN_COLUMNS: Columns = {
    "run": lambda entry: entry.run.name,
    "network": lambda entry: entry.run.network or "unknown",
    "recipe": lambda entry: entry.run.recipe or "unknown",
    "seed": lambda entry: "" if entry.run.seed is None else str(entry.run.seed),
    "passes": lambda entry: str(len(entry.run.rows)),
}
PASS_COLUMNS: Columns = {
    "pass": lambda entry: str(entry.row.pass_number),
    "": lambda entry: "best" if entry.is_best else "",
    "train\nloss": lambda entry: _loss(entry.row.train_loss),
    "validation\nloss": lambda entry: _loss(entry.row.validation_loss),
    "validation\n%": lambda entry: percent(entry.row.validation_accuracy),
    "test\nloss": lambda entry: _loss(entry.row.test_loss),
    "test\ncorrect": lambda entry: f"{entry.row.test_correct}/{entry.row.test_total}" if entry.row.test_total else "",
    "test\n%": lambda entry: percent(entry.row.test_accuracy),
    "95 % interval\n%": lambda entry: _interval(test_interval(entry.row)),
    "training\ns": lambda entry: f"{entry.row.seconds:.1f}",
}
PASS_TABLE: Columns = {"run": RUN_COLUMNS["run"], **PASS_COLUMNS}
VERDICT_COLUMNS: Mapping[str, Callable[[Verdict], str]] = {
    "difference\n%": lambda verdict: "" if verdict.difference is None else f"{100 * verdict.difference:+.2f}",
    "its interval\n%": lambda verdict: (
        ""
        if verdict.difference_low is None or verdict.difference_high is None
        else f"{100 * verdict.difference_low:+.2f} to {100 * verdict.difference_high:+.2f}"
    ),
    "p": lambda verdict: p_text(verdict.p_value),
    "verdict": lambda verdict: verdict.verdict,
}
GROUP_COLUMNS: Mapping[str, Callable[[Group], str]] = {
    "network": lambda group: group.network or "unknown",
    "recipe": lambda group: group.recipe_in_words,
    "runs": lambda group: str(group.runs),
    "mean test\n%": lambda group: percent(group.test_accuracy_mean, digits=3),
    "standard\ndeviation": lambda group: percent(group.test_accuracy_sd, digits=3),
    "lowest\n%": lambda group: percent(group.test_accuracy_lowest),
    "highest\n%": lambda group: percent(group.test_accuracy_highest),
    "mean validation\nloss": lambda group: _loss(group.validation_loss_mean),
    "p": lambda group: p_text(group.p_value),
    "verdict": lambda group: group.verdict,
}
NAMES = ("run", "network", "recipe")  # columns of names and
WORDS = (*NAMES, "verdict")  # of words: on the left
# Columns that a narrow terminal leaves out, the first one first; JSON and CSV hold everything.
LEFT_OUT_FIRST = (
    "training\ns",
    "train\nloss",
    "validation\n%",
    "validation\nloss",
    "test\nloss",
    "test\n%",
    "95 % interval\n%",
)
# By column of results.csv; the one that ranks the passes is not left out.
RANKING_COLUMNS = {
    "seconds": "training\ns",
    "train_loss": "train\nloss",
    "validation_accuracy": "validation\n%",
    "validation_correct": "validation\n%",
    "validation_loss": "validation\nloss",
    "test_loss": "test\nloss",
    "test_accuracy": "test\n%",
}

ENDLESS = 10_000  # characters: no limit without a terminal


def pass_record(entry: Entry) -> dict[str, str | float | bool | None]:
    """One pass for machines, flat: the columns of results.csv in their order, then what the run's folder records.

    Added are run_dir, network, recipe and seed (None without run.json), and run_best (this is its run's best pass). So
    are test_accuracy_low and _high, the 95 % Wilson interval. `run` is the run's name as in the table.
    """
    low, high = test_interval(entry.row) or (None, None)
    values = dict(zip(columns(Row), (getattr(entry.row, name) for name in entry.row.__slots__)))  # noqa: B905  (less digit errors)
    return values | {
        "run": entry.run.name,
        "run_dir": str(entry.run.folder),
        "network": entry.run.network,
        "recipe": entry.run.recipe,
        "seed": entry.run.seed,
        "run_best": entry.is_best,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
    }


def verdict_record(verdict: Verdict) -> dict[str, str | float | None]:
    """One verdict for machines: verdict, difference, difference_low, difference_high, p_value."""
    values = asdict(verdict)
    del values["outcome"], values["reference"]
    return {"verdict": verdict.verdict, **values}


def group_record(group: Group) -> dict[str, str | float | None]:
    """One group for machines, flat, with its verdict in English."""
    return {
        "verdict" if name == "outcome" else name: group.verdict if name == "outcome" else value
        for name, value in asdict(group).items()
    }


def print_records(records: Sequence[Record], as_: Literal["json", "csv"]) -> None:
    """Print records, at least one, as JSON Lines, or as CSV under one header.

    JSON has no NaN or infinity, so these become null; in CSV true and false are 1 and 0, as in the results log, and
    texts are escaped as in `common/cells.py`.
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


def print_passes(entries: Sequence[Entry], verdicts: Sequence[Verdict] = (), ranked_by: str = "") -> None:
    """Print one line per pass, each run's best pass marked, each with its verdict if there are any.

    Without a terminal whole lines, however long. A narrow terminal gets fewer columns, the verdicts below the table,
    and long names shortened in the middle.

    Args:
        entries: the passes.
        verdicts: one a pass, or none.
        ranked_by: column of results.csv that ranks them; if none is named, the first of `ranking`.
    """
    console = make_console()
    kept = RANKING_COLUMNS.get(ranked_by or ranking(entry.run for entry in entries)[0])
    left_out = [header for header in LEFT_OUT_FIRST if header != kept]
    beside = verdicts
    if verdicts and not fits(_pass_table(entries, verdicts, _without(PASS_TABLE, left_out)), console):
        beside = ()  # each verdict stands in a line of its own, below

    def table_without(headers: Sequence[str]) -> Table:
        return _pass_table(entries, beside, _without(PASS_TABLE, headers))

    enough = (number for number in range(len(left_out)) if fits(table_without(left_out[:number]), console))
    left_out = left_out[: next(enough, len(left_out))]
    for header in reversed(left_out):  # a narrow column may have room that a wide one has left
        fewer = [other for other in left_out if other != header]
        left_out = fewer if fits(table_without(fewer), console) else left_out
    table = table_without(left_out)
    if not fits(table, console):
        over = _width(table) - console.width
        longest = max(cell_len(entry.run.name) for entry in entries)
        short = {"run": lambda entry: shorten(entry.run.name, max(12, longest - over))}
        table = _pass_table(entries, beside, _without({**PASS_TABLE, **short}, left_out))
    console.print(table)
    for entry, verdict in zip(entries, verdicts if beside != verdicts else (), strict=False):
        pass_name = f" pass {entry.row.pass_number}"
        console.print(Text(shorten(entry.run.name, console.width - len(pass_name)) + pass_name, style="bold"))
        console.print(Text(f"  {_verdict_line(verdict)}"))


def print_groups(groups: Sequence[Group]) -> None:
    """Print one line per group of comparable runs: the test accuracy of the best passes across its runs.

    On a terminal that is too narrow for that, some lines per group.
    """
    console, table = make_console(), _table(GROUP_COLUMNS)
    for group in groups:
        table.add_row(*(Text(text(group)) for text in GROUP_COLUMNS.values()))
    if fits(table, console):
        console.print(table)
        return
    for group in groups:
        values = {header: text(group) for header, text in GROUP_COLUMNS.items()}
        lines = [shorten(f"{group.network or 'unknown'} {group.recipe or 'unknown'}", console.width)]
        lines += textwrap.wrap(group.differs, console.width - 2)
        scores = [f"runs {group.runs}", "mean test {} %".format(values["mean test\n%"])]
        if deviation := values["standard\ndeviation"]:
            scores.append(f"standard deviation {deviation}")
        scores.append("{} to {} %".format(values["lowest\n%"], values["highest\n%"]))
        lines += textwrap.wrap(", ".join(scores if group.runs else scores[:1]), console.width - 2)
        lines.append(group.verdict + (f" (p {values['p']})" if values["p"] else ""))
        console.print(Text(lines[0], style="bold"))
        for line in lines[1:]:
            console.print(Text(f"  {line}"))


def _verdict_line(verdict: Verdict) -> str:
    words = verdict.outcome.value.format("the first")
    if verdict.difference is None:
        return words
    difference, interval, p, _ = (text(verdict) for text in VERDICT_COLUMNS.values())
    return f"{difference} % ({interval}), p {p}: {words}"


def fits(table: Table, console: Console) -> bool:
    """True if the table fits into the console's width with nothing wrapped."""
    return _width(table) <= console.width


def _width(table: Table) -> int:
    """Width of the table with nothing wrapped, characters."""
    return Console(width=ENDLESS, file=io.StringIO()).measure(table).maximum


def _without(shown: Columns, headers: Iterable[str]) -> Columns:
    return {header: text for header, text in shown.items() if header not in headers}


def make_console() -> Console:
    """A console of the terminal's width, or of endless lines without a terminal."""
    return ScriptConsole(width=None if sys.stdout.isatty() else ENDLESS)


def _table(headers: Iterable[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    for header in headers:
        words = header in WORDS
        overflow: Literal["fold", "ellipsis"] = "fold" if header in NAMES else "ellipsis"
        table.add_column(header, overflow=overflow, justify="left" if words else "right", no_wrap=not words)
    return table


def _pass_table(entries: Sequence[Entry], verdicts: Sequence[Verdict], shown: Columns) -> Table:
    table = _table([*shown, *(VERDICT_COLUMNS if verdicts else ())])
    for index, entry in enumerate(entries):
        texts = [text(entry) for text in shown.values()]
        if verdicts:
            texts += [text(verdicts[index]) for text in VERDICT_COLUMNS.values()]
        table.add_row(*map(Text, texts), style="bold" if entry.is_best else "")
    return table


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent; empty if there is none."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else " - ".join(map(percent, bounds))


def _cell(value: str | float | bool | None) -> str | float | None:
    if isinstance(value, str):
        return csv_cell(value)
    return int(value) if isinstance(value, bool) else value


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
