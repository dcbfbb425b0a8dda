"""The tables of the README and the docs, made from the logs in `docs/runs/`: `python -m training.tables`.

A table stands between two comments, `<!-- results -->` and `<!-- /results -->`, and is replaced there. Nothing in it is
typed by hand but the claims of the sources; the rest comes from results.csv and run.json of each run.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from common.errors import UserError
from common.files import write_file
from training.comparison import Run, find_runs, load_runs
from training.results import Row
from training.run import REPOSITORY, RunFolder

RUNS = REPOSITORY / "docs" / "runs"
PAGES = tuple(REPOSITORY / name for name in ("README.md", "README.zh-CN.md"))

# What each network's source says it reaches on the 10,000 test images; shared/networks.md tells what the claims hide.
CLAIMS = {
    "conv_pool_bn": "98.51 %",
    "two_branch": "99.02 %",
    "lenet5_relu": "98.63 %",
    "lenet_tanh": "98.59 %, complete run 99.08 %",
    "lenet5_numpy": "98.61 %",
    "lenet5_1998": "99.05 %",
}

RESULTS_HEADER = (
    "| network | recipe | claim | accuracy, mean ± sd | correct of 10,000 | n | parameters | s a pass | machine |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def results_table(runs: Sequence[Run]) -> str:
    """One row per network and recipe, in Markdown: what the source claims, and the chosen passes of all seeds here."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.best is None or run.network is None or run.recipe is None:
            raise UserError(f"{run.folder}: expected a finished run with its run.json")
        groups[run.network, run.recipe].append(run)
    return "\n".join([RESULTS_HEADER, *(_row(*names, members) for names, members in groups.items())])


def _row(network: str, recipe: str, runs: Sequence[Run]) -> str:
    best = [run.best for run in sorted(runs, key=lambda run: run.seed or 0) if run.best is not None]
    accuracies = [100 * (row.test_accuracy or 0) for row in best]
    score = f"{mean(accuracies):.2f}"
    if len(accuracies) > 1:
        score += f" ± {stdev(accuracies):.2f}"
    records = [RunFolder(run.folder).read_record() for run in runs]
    found = [record["environment"]["machine"] for record in records]
    machines = {f"{machine['processor']}, {machine['cores']} cores" for machine in found}
    parameters = {f"{r['parameters']:,}" for r in records}
    seconds = mean(row.seconds for run in runs for row in run.rows)
    cells = (
        f"`{network}`",
        recipe,
        CLAIMS.get(network, "–") if recipe.startswith("published") else "–",
        f"{score} %",
        ", ".join(str(row.test_correct) for row in best),
        str(len(runs)),
        " / ".join(sorted(parameters)),
        f"{seconds:.1f}",
        " / ".join(sorted(machines)),
    )
    return f"| {' | '.join(cells)} |"


def headline(run: Run) -> str:
    """What `make train` printed for a run, as a block of text: its header, its passes, its headline."""
    from training.progress import HEADER, headline_line, pass_line

    best: Row | None = run.best
    if best is None or best.test_loss is None or best.test_correct is None or best.test_total is None:
        raise UserError(f"{run.folder}: expected a finished run")
    lines = [HEADER, *(pass_line(row, len(run.rows)) for row in run.rows)]
    lines.append(headline_line(best.pass_number, "validation", best.test_loss, best.test_correct, best.test_total))
    return "\n".join(["```", *lines, "```"])


def replace_between(page: Path, name: str, text: str) -> None:
    """Put `text` between the comments `name` and `/name` of a page.

    Raises:
        UserError: the page does not have both, once.
    """
    before, begin, rest = page.read_text().partition(f"<!-- {name} -->")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not begin or not end:
        raise UserError(f"{page}: expected <!-- {name} --> and <!-- /{name} -->, found {'one' if begin else 'neither'}")
    write_file(page, f"{before}{begin}\n{text}\n{end}{after}".encode())


def main() -> None:
    """Remake every table; what cannot be read is an error."""
    runs, problems = load_runs(find_runs(RUNS))
    if problems:
        sys.exit("\n".join(problems))
    first = next(run for run in runs if (run.network, run.recipe, run.seed) == ("conv_pool_bn", "published", 1))
    for page in PAGES:
        replace_between(page, "results", results_table(runs))
        replace_between(page, "headline", headline(first))


if __name__ == "__main__":
    main()
