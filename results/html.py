"""A comparison as HTML: a part of a page, or one file that needs nothing else, no network and no script."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.errors import UsageError, one_line
from common.files import write_file
from common.project import __version__
from common.replacing import may_be_replaced
from results.comparison_texts import ENGLISH, TEXTS, ComparisonTexts
from results.figures.curves import comparison_curves
from results.figures.style import drawn
from results.groups import Group
from results.runs import Entry, Run, losses_compare, sort_passes
from results.significance import Verdict, judge
from results.table import GROUP_COLUMNS, PASS_COLUMNS, RUN_COLUMNS, VERDICT_COLUMNS, WORDS

LEFT_OUT = ("train\nloss", "validation\n%", "test\nloss", "training\ns")
SHOWN = {header: text for header, text in PASS_COLUMNS.items() if header not in LEFT_OUT}
OF_RUNS = {**RUN_COLUMNS, **{header: text for header, text in SHOWN.items() if header}}
OF_PASSES = {"run": RUN_COLUMNS["run"], **SHOWN}


@dataclass(frozen=True)
class _Table:
    headers: list[tuple[str, str]]  # text, CSS class
    rows: list[list[str]]
    marked: frozenset[int] = frozenset()


def templates(folder: Path) -> Environment:
    """Templates of a folder; they escape whatever they are filled with, and refuse unknown names."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def filled(environment: Environment, template: str, **values: object) -> str:
    """Fill a template; half a surrogate pair (of a card's JSON, of a file's name) is shown as an escape."""
    return environment.get_template(template).render(**values).encode(errors="backslashreplace").decode()


def check_html_path(path: Path) -> None:
    """Refuse the report's file name before any work is done for it.

    Raises:
        UsageError: `path` does not end in .html, or there is no folder to hold it, or something else has that name.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {one_line(path)}: expected a name that ends in .html")
    if not path.parent.is_dir():
        raise UsageError(f"--html {one_line(path)}: expected a name in an existing folder")
    if not may_be_replaced(path, *(f"<title>{texts.title}".encode() for texts in TEXTS.values())):
        raise UsageError(f"--html {one_line(path)}: it is there already and is no report of ours; name another file")


def write_report(
    path: Path,
    runs: Sequence[Run],
    entries: Sequence[Entry],
    groups: Sequence[Group],
    problems: Sequence[str] = (),
    texts: ComparisonTexts = ENGLISH,
    command: str = "",
) -> list[str]:
    """Write a comparison as one file.

    Args:
        path: of the file.
        runs: whose curves are drawn, and whose best passes are compared.
        entries: the passes to list, each compared with the first of them.
        groups: of the runs.
        problems: a line for each thing that could not be read; the report shows them too.
        texts: of the report's language.
        command: that made the report.

    Returns:
        One line for each thing that kept a pass from being judged.

    Raises:
        OSError: it cannot be written; an old file is untouched.
    """
    verdicts, more = judge(entries)
    text = filled(
        _templates,
        "report.html",
        **_values(runs, groups, [*problems, *more], texts),
        passes=_entry_table(OF_PASSES, entries, verdicts, texts),
        pass_count=sum(len(run.rows) for run in runs),
        made=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z} · {__version__} · {one_line(command, 1000)}",
    )
    write_file(path, text.encode())
    return more


def comparison_html(
    runs: Sequence[Run], groups: Sequence[Group], problems: Sequence[str], texts: ComparisonTexts
) -> str:
    """A comparison of the best passes of `runs` as a part of a page, with `problems`, a line each."""
    return filled(_templates, "comparison.html", **_values(runs, groups, problems, texts), passes=None)


_templates = templates(Path(__file__).parent / "templates")


def _values(
    runs: Sequence[Run], groups: Sequence[Group], problems: Sequence[str], texts: ComparisonTexts
) -> dict[str, object]:
    best = [entry for entry in sort_passes(runs) if entry.is_best]
    verdicts, more = judge(best) if best else ([], [])
    picture = drawn(comparison_curves({run.name: run.rows for run in runs}, losses_compare(runs)), ".svg")
    return {
        "texts": texts,
        "problems": list(dict.fromkeys([*problems, *more])),
        "runs": _entry_table(OF_RUNS, best, verdicts, texts),
        "groups": _Table(
            _headers(GROUP_COLUMNS, texts),
            [[texts.cell(header, text(group), group) for header, text in GROUP_COLUMNS.items()] for group in groups],
        ),
        "settings": _settings(runs, texts),
        "curves": f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}",
    }


def _settings(runs: Sequence[Run], texts: ComparisonTexts) -> list[tuple[str, str, str]]:
    """Network and recipe, seeds, and settings of each group of runs that differ in nothing but seed and machine."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        name = " ".join(texts.cell("network", word or "unknown", None) for word in (run.network, run.recipe))
        settings = ", ".join(filter(None, (_setting(each, json.loads(value)) for each, value in run.setup.items())))
        seeds.setdefault((name, settings), []).append("?" if run.seed is None else str(run.seed))
    return [
        (name, texts.seeds.format(seeds=", ".join(sorted(each, key=lambda seed: (len(seed), seed)))), settings)
        for (name, settings), each in sorted(seeds.items())
    ]


def _setting(name: str, value: object) -> str:
    """A setting in words; of several numbers, those that are not 0."""
    if isinstance(value, dict):
        return ", ".join(_setting(inner.replace("_", " "), each) for inner, each in value.items() if each)
    if isinstance(value, bool):
        value = "yes" if value else "no"
    return one_line(f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}", 200)


def _entry_table(
    columns: Mapping[str, Callable[[Entry], str]],
    entries: Sequence[Entry],
    verdicts: Sequence[Verdict],
    texts: ComparisonTexts,
) -> _Table:
    rows = [
        [
            *(texts.cell(header, text(entry), None) for header, text in columns.items()),
            *(texts.cell(header, text(verdict), verdict) for header, text in VERDICT_COLUMNS.items()),
        ]
        for entry, verdict in zip(entries, verdicts, strict=True)
    ]
    marked = frozenset(number for number, entry in enumerate(entries) if entry.is_best)
    return _Table(_headers([*columns, *VERDICT_COLUMNS], texts), rows, marked)


def _headers(headers: Iterable[str], texts: ComparisonTexts) -> list[tuple[str, str]]:
    kinds = dict.fromkeys(WORDS, "words") | {"network": "name", "recipe": "name"}
    return [(texts.headers.get(header, header.replace("\n", " ")), kinds.get(header, "")) for header in headers]
