"""A comparison as HTML: a part of a page, or one file that needs nothing else, no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.errors import UsageError, one_line
from common.files import write_file
from results.figures.curves import comparison_curves
from results.figures.style import drawn
from results.groups import Group
from results.runs import Entry, Run, sort_passes
from results.significance import Outcome, Verdict, judge
from results.table import GROUP_COLUMNS, PASS_COLUMNS, RUN_COLUMNS, VERDICT_COLUMNS, WORDS

LEFT_OUT = ("train\nloss", "validation\n%", "test\nloss", "training\ns")
SHOWN = {header: text for header, text in PASS_COLUMNS.items() if header not in LEFT_OUT}
OF_RUNS = {**RUN_COLUMNS, **{header: text for header, text in SHOWN.items() if header}}
OF_PASSES = {"run": RUN_COLUMNS["run"], **SHOWN}


@dataclass(frozen=True)
class ComparisonTexts:
    """Texts of a comparison in one language.

    Attributes:
        headers: a column's header -> the same in this language; English if it is missing.
        outcomes: outcome of a test -> the same in this language, with {} for the reference; English if it is missing.
    """

    language: str  # for the HTML attribute lang
    title: str
    count: str  # with {runs} and {passes}
    unusable: str
    best_passes: str
    curves: str
    curves_described: str
    groups: str
    groups_described: str
    passes: str
    passes_described: str
    how_to_read: str
    reading: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[Outcome, str] = field(default_factory=dict)

    def cell(self, header: str, value: str, judged: Verdict | Group | None) -> str:
        """A cell of the table in this language."""
        if header == "verdict" and judged is not None:
            return self.outcomes.get(judged.outcome, value)
        return value


ENGLISH = ComparisonTexts(
    language="en",
    title="Comparison of LeNet runs",
    count="Runs: {runs:,}; passes: {passes:,}",
    unusable="What could not be used",
    best_passes="The best pass of each run",
    curves="Curves",
    curves_described="Loss and error of each pass of each run",
    groups="Networks and recipes",
    groups_described="The best passes of runs that differ in nothing but seed and machine.",
    passes="Passes",
    passes_described="The best pass of a run is marked.",
    how_to_read="How to read it",
    reading=(
        "The best pass of a run is chosen on validation images; its inference model is that of this pass. A score is a "
        "count over all test images; its interval is Wilson's, 95 %. A difference is the test accuracy of a pass minus "
        "that of the first one in its table, over the same images.",
        "Better and worse mean: an exact McNemar test of the images that only one of the two read right gives p below "
        "0.05 after Holm's correction for the number of passes compared. The interval of the difference is a "
        "bootstrap's; all of a table's hold at once with 95 %. Groups are compared by Welch's test of the best passes' "
        "test accuracies, corrected for all pairs of groups.",
        "Not distinguishable does not mean equal: these images, or these runs, are too few to show a difference.",
    ),
)


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
        UsageError: `path` does not end in .html, or there is no folder to hold it.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {one_line(path)}: expected a name that ends in .html")
    if not path.parent.is_dir():
        raise UsageError(f"--html {one_line(path)}: expected a name in an existing folder")


def write_report(
    path: Path,
    runs: Sequence[Run],
    entries: Sequence[Entry],
    groups: Sequence[Group],
    problems: Sequence[str] = (),
) -> list[str]:
    """Write a comparison as one file.

    Args:
        path: of the file.
        runs: whose curves are drawn, and whose best passes are compared.
        entries: the passes to list, each compared with the first of them.
        groups: of the runs.
        problems: a line for each thing that could not be read; the report shows them too.

    Returns:
        One line for each thing that kept a pass from being judged.

    Raises:
        OSError: it cannot be written; an old file is untouched.
    """
    verdicts, more = judge(entries)
    text = filled(
        _templates,
        "report.html",
        **_values(runs, groups, [*problems, *more], ENGLISH),
        passes=_entry_table(OF_PASSES, entries, verdicts, ENGLISH),
        pass_count=sum(len(run.rows) for run in runs),
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
    picture = drawn(comparison_curves({run.name: run.rows for run in runs}), ".svg")
    return {
        "texts": texts,
        "problems": list(dict.fromkeys([*problems, *more])),
        "runs": _entry_table(OF_RUNS, best, verdicts, texts),
        "groups": _Table(
            _headers(GROUP_COLUMNS, texts),
            [[texts.cell(header, text(group), group) for header, text in GROUP_COLUMNS.items()] for group in groups],
        ),
        "curves": f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}",
    }


def _entry_table(
    columns: Mapping[str, Callable[[Entry], str]],
    entries: Sequence[Entry],
    verdicts: Sequence[Verdict],
    texts: ComparisonTexts,
) -> _Table:
    rows = [
        [
            *(text(entry) for text in columns.values()),
            *(texts.cell(header, text(verdict), verdict) for header, text in VERDICT_COLUMNS.items()),
        ]
        for entry, verdict in zip(entries, verdicts, strict=True)
    ]
    marked = frozenset(number for number, entry in enumerate(entries) if entry.is_best)
    return _Table(_headers([*columns, *VERDICT_COLUMNS], texts), rows, marked)


def _headers(headers: Iterable[str], texts: ComparisonTexts) -> list[tuple[str, str]]:
    kinds = dict.fromkeys(WORDS, "words") | {"network": "name", "recipe": "name"}
    return [(texts.headers.get(header, header.replace("\n", " ")), kinds.get(header, "")) for header in headers]
