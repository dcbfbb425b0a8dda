"""A comparison as one HTML file that needs nothing else: no network, no script; in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from common.errors import UsageError, one_line
from common.files import write_file
from results.figures.curves import comparison_curves
from results.figures.style import drawn
from results.runs import Entry, Group, Run, sort_passes
from results.significance import Verdict, judge
from results.table import GROUP_COLUMNS, PASS_COLUMNS, VERDICT_COLUMNS

# Nothing is loaded and nothing runs, whatever a name might smuggle in.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --paper: #ffffff; --faint: #6a6a6a; --line: #d8d8d8;
        --best: #eef5fb }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --paper: #161616; --faint: #a0a0a0; --line: #3c3c3c; --best: #1d2a36 }
}
body { margin: 2rem auto; max-width: 84rem; padding: 0 1rem; color: var(--text); background: var(--paper);
       font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
p, li { max-width: 48rem } .faint { color: var(--faint) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 0.82rem; font-variant-numeric: tabular-nums }
th, td { padding: 0.25rem 0.35rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th { vertical-align: bottom } .name { text-align: left }
.words { text-align: left; white-space: normal; min-width: 8rem; max-width: 18rem; overflow-wrap: break-word }
tr.best { background: var(--best) }
img { max-width: 100%; background: #ffffff; border-radius: 6px }
"""

READING = """
<p>A score is a count over all test images; its interval is Wilson's, 95 %. A difference is the test accuracy of a pass
minus that of the first one in its table, over the same images. <em>Better</em> and <em>worse</em> are said where an
exact McNemar test of the images that only one of the two read right gives p below 0.05 after Holm's correction for the
number of passes compared; the interval of the difference is a bootstrap's, all of a table's holding at once with
95 %. Groups are compared by Welch's test of the best passes' test accuracies, corrected for all pairs of groups.
<em>Not distinguishable</em> does not say that two are equal: it says that these images, or these runs, are too few to
tell.</p>
"""


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
    """Write the report.

    Args:
        path: of the file.
        runs: whose curves are drawn, and whose best passes are compared.
        entries: the passes to list, the first of them the one that the others are compared with.
        groups: of the runs.
        problems: what could not be read, a line each; the report says it too.

    Returns:
        One line for each thing that kept a pass from being judged.

    Raises:
        OSError: it cannot be written; an old file is untouched.
    """
    best = [(run, row) for run, row in sort_passes(runs) if row == run.best]
    run_verdicts, _ = judge(best) if best else ([], [])
    verdicts, more = judge(entries)
    picture = drawn(comparison_curves({run.name: run.rows for run in runs}), ".svg")
    parts = [
        f"<h1>{_count(len(runs), 'run')}, {_count(sum(len(run.rows) for run in runs), 'pass')} compared</h1>",
        *_problems([*problems, *more]),
        "<h2>Runs</h2><p>The best pass of each run, the one that its inference model holds.</p>",
        _table(
            ["run", "network", "recipe", "seed", *RUN_COLUMNS, *VERDICT_COLUMNS],
            [_run_cells(entry, verdict) for entry, verdict in zip(best, run_verdicts, strict=True)],
        ),
        "<h2>Curves</h2>",
        f'<img alt="Loss and accuracy of each pass of each run" src="{_data("image/svg+xml", picture)}">',
        "<h2>Groups</h2><p>The best passes of runs that differ in nothing but seed and machine.</p>",
        _table(["network", "recipe", *GROUP_COLUMNS], [_group_cells(group) for group in groups]),
        "<h2>Passes</h2><p>The best pass of a run is marked.</p>",
        _table(
            ["run", *SHOWN, *VERDICT_COLUMNS],
            [_pass_cells(entry, verdict) for entry, verdict in zip(entries, verdicts, strict=True)],
            [row == run.best for run, row in entries],
        ),
        f"<h2>How to read it</h2>{READING}",
    ]
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Comparison of LeNet runs</title><style>{STYLE}</style></head>\n<body>\n"
    )
    write_file(path, (head + "\n".join(parts) + "\n</body></html>\n").encode(errors="backslashreplace"))
    return more


SHOWN = [name for name in PASS_COLUMNS if name not in ("train\nloss", "validation\n%", "test\nloss", "training\ns")]
RUN_COLUMNS = ("passes", *(name for name in SHOWN if name))


def _run_cells(entry: Entry, verdict: Verdict) -> list[str]:
    run, _ = entry
    known = [run.name, run.network or "unknown", run.recipe or "unknown", "" if run.seed is None else str(run.seed)]
    passes = [str(len(run.rows)), *(PASS_COLUMNS[name](entry) for name in RUN_COLUMNS[1:])]
    return [*known, *passes, *(text(verdict) for text in VERDICT_COLUMNS.values())]


def _pass_cells(entry: Entry, verdict: Verdict) -> list[str]:
    texts = [*(PASS_COLUMNS[name](entry) for name in SHOWN), *(text(verdict) for text in VERDICT_COLUMNS.values())]
    return [entry[0].name, *texts]


def _group_cells(group: Group) -> list[str]:
    return [group.network or "unknown", group.recipe_in_words, *(text(group) for text in GROUP_COLUMNS.values())]


WORDS = {"run": "words", "network": "name", "recipe": "name", "verdict": "words"}  # columns of text: on the left


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], marked: Sequence[bool] = ()) -> str:
    kinds = [f' class="{WORDS[header]}"' if header in WORDS else "" for header in headers]
    head = "".join(
        f"<th{kind}>{escape(header).replace(chr(10), '<br>')}</th>" for kind, header in zip(kinds, headers, strict=True)
    )
    body = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        body.append(f'<tr class="best">{cells}</tr>' if marked and marked[number] else f"<tr>{cells}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{chr(10).join(body)}\n</tbody></table></div>'
    )


def _problems(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return ["<h2>What could not be used</h2><ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 'es' if thing.endswith('s') else 's'}"
