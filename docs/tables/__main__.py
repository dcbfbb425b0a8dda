"""The tables of the README and the docs: `python -m docs.tables`.

A table stands between two comments, `<!-- results -->` and `<!-- /results -->`, and is replaced there. Nothing in it is
typed by hand but the claims of the sources; the rest comes from results.csv and run.json of the runs in
`docs/experiments/published/`. Other sources are the networks as built, their recipes, steps of both engines, the
scripts' help, and the measurements of `make bench`. The released models' README.md are made too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from benchmarks.goals import goals_table, readme_table, weaker
from common import command_line
from common.checksummed import load_checksummed
from common.errors import UserError
from common.files import write_file
from common.project import FOLDER
from common.signals import StopRequest
from data.dataset import Subset, load_mnist
from docs.tables.chinese import in_chinese
from docs.tables.networks import settings_table, summary_block
from docs.tables.options import SCRIPTS, options_table
from docs.tables.oracle import oracle_table
from docs.tables.released import confidence_table, rejection_table, write_pages
from docs.tables.results import ablation_table, headline, results_table, summary_table
from docs.tables.search import search_table
from model.recipes import NetworkName
from results.runs import Run, find_runs, load_runs

EXPERIMENTS = FOLDER / "docs" / "experiments"
RUNS = EXPERIMENTS / "published"
ABLATION = EXPERIMENTS / "ablation"  # runs of `--recipe best` with one ingredient changed
SEARCH = EXPERIMENTS / "search"  # runs that led to it
RELEASED_CARD = RUNS / "conv_pool_bn-best-seed2" / "card.json"
BENCHMARKS = FOLDER / "docs" / "benchmarks.json"
READMES = tuple(FOLDER / name for name in ("README.md", "README.zh-CN.md"))
NETWORKS_PAGES = tuple(FOLDER / "docs" / name for name in ("networks.md", "zh/networks.md"))
OPTIONS_PAGES = tuple(FOLDER / "docs" / name for name in ("options.md", "zh/options.md"))
BENCHMARKS_PAGE = FOLDER / "docs" / "zh" / "benchmarks.md"  # its twin is all made by make bench
READING_PAGES = tuple(FOLDER / "docs" / name for name in ("reading.md", "zh/reading.md"))
PAGES = (*READMES, *NETWORKS_PAGES, *OPTIONS_PAGES, *READING_PAGES, BENCHMARKS_PAGE)


def _load(folder: Path) -> list[Run]:
    runs, problems = load_runs(find_runs(folder))
    if problems:
        raise UserError("; ".join(problems))
    return runs


def generated() -> dict[Path, dict[str, str]]:
    """All generated text: by page, and there by the name of the comments that it stands between.

    Raises:
        UserError: a run cannot be read.
    """
    runs, ablation, search = (_load(folder) for folder in (RUNS, ABLATION, SEARCH))
    first = next(run for run in runs if (run.network, run.recipe, run.seed) == ("conv_pool_bn", "published", 1))
    networks = get_args(NetworkName)
    mnist = load_mnist()
    measured = json.loads(BENCHMARKS.read_bytes())
    for_readme = {
        "summary": summary_table(runs),
        "benchmarks": readme_table(measured),
        "headline": headline(first),
    }
    for_networks = {
        "results": results_table(runs),
        "ablation": ablation_table(ablation),
        "oracle": oracle_table(Subset(mnist.train_images, mnist.train_labels)),
        "search": search_table(search),
        **{f"summary {network}": summary_block(network) for network in networks},
        **{f"settings {network}": settings_table(network) for network in networks},
    }
    card = load_checksummed(RELEASED_CARD.read_bytes())
    for_reading = {"confidence": confidence_table(card), "rejection": rejection_table(card)}
    options = [{f"options {script}": options_table(script, chinese) for script in SCRIPTS} for chinese in (False, True)]
    pages = dict(zip(OPTIONS_PAGES, options, strict=True))
    goals = {"goals": goals_table(measured), "weaker": "\n".join(f"- {line}" for line in weaker(measured))}
    pages[BENCHMARKS_PAGE] = {name: in_chinese(text) for name, text in goals.items()}
    for (page, twin), blocks in {
        READMES: for_readme,
        NETWORKS_PAGES: for_networks,
        READING_PAGES: for_reading,
    }.items():
        pages |= {page: blocks, twin: {name: in_chinese(text) for name, text in blocks.items()}}
    return pages


def between(page: Path, name: str) -> tuple[str, str, str]:
    """A page's text before, between and after the comments `name` and `/name`; they themselves go with the outer two.

    Raises:
        UserError: the page does not have both, once.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if (text.count(begin), text.count(end)) != (1, 1) or text.index(end) < text.index(begin):
        raise UserError(f"{page}: expected the line {begin.strip()} and after it the line {end.strip()}, each once")
    before, _, rest = text.partition(begin)
    inside, _, after = rest.partition(end)
    return before + begin, inside, end + after


def main(stop: StopRequest) -> int:
    """Remake every table, and the pages of the released models; what cannot be read is an error."""
    write_pages()
    for page, blocks in generated().items():
        for name, text in blocks.items():
            before, _, after = between(page, name)
            write_file(page, f"{before}{text}\n{after}".encode())
    return 0


if __name__ == "__main__":
    command_line.run(main)
