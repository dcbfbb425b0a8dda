"""The tables of the README and the docs: `python -m training.tables`.

A table stands between two comments, `<!-- results -->` and `<!-- /results -->`, and is replaced there. Nothing in it is
typed by hand but the claims of the sources; the rest comes from results.csv and run.json of the runs in `docs/runs/`,
from the networks as built, from their recipes, from steps that both engines take, from the scripts' help, and from what
`make bench` has measured.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, get_args

import numpy as np
from rich.console import Console

from benchmarks.goals import readme_table
from common import command_line
from common.errors import UserError
from common.files import write_file
from common.sealed import unsealed
from common.signals import StopRequest
from mnist.dataset import Subset, load_mnist
from model.recipes import RECIPES, Distortions, NetworkName, Recipe
from model.summary import print_summary
from training.answers import answers_path, read_answers
from training.comparison import Run, find_runs, load_runs
from training.option_tables import SCRIPTS, options_table
from training.oracle import oracle_table
from training.released_tables import confidence_table, rejection_table
from training.results import Row
from training.run import REPOSITORY, RunFolder
from training.search_table import search_table
from training.settings import Settings

RUNS = REPOSITORY / "docs" / "runs"
ABLATION = REPOSITORY / "docs" / "ablation"  # runs of `--recipe best` with one ingredient changed
SEARCH = REPOSITORY / "docs" / "search"  # runs that led to it
RELEASED_CARD = RUNS / "conv_pool_bn-best-seed2" / "card.json"  # inference_model/ itself is replaced by each training
BENCHMARKS = REPOSITORY / "docs" / "benchmarks.json"
READMES = tuple(REPOSITORY / name for name in ("README.md", "README.zh-CN.md"))
NETWORKS_PAGES = tuple(REPOSITORY / "docs" / name for name in ("networks.md", "networks.zh-CN.md"))
OPTIONS_PAGES = tuple(REPOSITORY / "docs" / name for name in ("options.md", "options.zh-CN.md"))
READING_PAGES = tuple(REPOSITORY / "docs" / name for name in ("reading.md", "reading.zh-CN.md"))
PAGES = (*READMES, *NETWORKS_PAGES, *OPTIONS_PAGES, *READING_PAGES)

# What each network's source says it reaches on the 10,000 test images; docs/networks.md tells what the claims hide.
CLAIMS = {
    "conv_pool_bn": "98.51 %",
    "two_branch": "99.02 %, best pass 99.22 %",
    "lenet5_relu": "98.63 %",
    "lenet_tanh": "98.59 %, complete run 99.08 %",
    "lenet5_numpy": "98.61 %, by SGD",
    "lenet5_1998": "99.05 %, distorted images 99.2 %",
}

RESULTS_HEADER = (
    "| network | recipe | claim | accuracy, mean ± sd | right of 10,000 | n | vote "
    "| trainable parameters | s a pass | machine |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)

# Settings of a run that change what comes out, beside its network, its recipe and its seed.
CHANGES = (
    *(field.name for field in (*dataclasses.fields(Recipe), *dataclasses.fields(Distortions))),
    *("engine", "init_from", "select_on", "maps", "kernel_size", "pooling", "squashing", "train_rbf"),
)


def changes(record: Mapping[str, Any]) -> str:
    """How a run differs from its network's recipe, as options of train.py; empty if it does not.

    Args:
        record: its run.json.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    given = {name: record["settings"].get(name, defaults.get(name)) for name in CHANGES}
    return " ".join(
        f"--{name.replace('_', '-')} {_words(value)}" for name, value in given.items() if value != defaults.get(name)
    )


def _words(value: Any) -> str:
    """A setting as on the command line."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def grouped(runs: Sequence[Run]) -> dict[tuple[str, str, str], list[Run]]:
    """Runs that differ in their seed alone, by network, recipe and `changes`; in each group in order of seed.

    Raises:
        UserError: a run is not finished, or has no run.json.
    """
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed or 0):
        if run.best is None or run.network is None or run.recipe is None:
            raise UserError(f"{run.folder}: expected a finished run with its run.json")
        groups[run.network, run.recipe, changes(RunFolder(run.folder).read_record())].append(run)
    order: list[str] = list(RECIPES)
    return {key: groups[key] for key in sorted(groups, key=lambda key: (key[0], order.index(key[1]), key[2]))}


def results_table(runs: Sequence[Run]) -> str:
    """One row per network, recipe and changes, in Markdown: what the source claims, and the chosen passes here."""
    return "\n".join([RESULTS_HEADER, *(_row(*names, members) for names, members in grouped(runs).items())])


def _row(network: str, recipe: str, changed: str, runs: Sequence[Run]) -> str:
    best = [run.best for run in runs if run.best is not None]
    records = [RunFolder(run.folder).read_record() for run in runs]
    found = [record["environment"]["machine"] for record in records]
    machines = {f"{m['processor']}, {m['cores']} core{'s' * (m['cores'] > 1)}" for m in found}
    parameters = {f"{r['parameters']:,}" for r in records}
    seconds = median(row.seconds for run in runs for row in run.rows)  # the machines were shared
    cells = (
        f"`{network}`",
        f"{recipe} {changed}".strip(),
        CLAIMS.get(network, "–"),
        _spread([100 * (row.test_accuracy or 0) for row in best]),
        ", ".join(str(row.test_correct) for row in best),
        str(len(runs)),
        _vote(runs),
        " / ".join(sorted(parameters)),
        f"{seconds:.1f}",
        " / ".join(sorted(machines)),
    )
    return f"| {' | '.join(cells)} |"


def _spread(percentages: Sequence[float]) -> str:
    spread = f" ± {stdev(percentages):.2f}" if len(percentages) > 1 else ""
    return f"{mean(percentages):.2f}{spread} %"


def _vote(runs: Sequence[Run]) -> str:
    """Right answers of a majority of the runs' chosen passes, where at least three have kept their answers.

    Where as many say the one as the other, the first of them in order of seed is heard.
    """
    paths = [answers_path(run.folder, run.best.pass_number) for run in runs if run.best is not None]
    if len(paths) < 3 or not all(path.exists() for path in paths):
        return "–"
    kept = [read_answers(path) for path in paths]
    answers = np.stack([one.answers for one in kept])
    votes = (answers[:, None] == answers[None]).sum(axis=1)  # how many say what this run says, [runs, images]
    chosen = answers[votes.argmax(axis=0), np.arange(answers.shape[1])]
    return str((chosen == kept[0].labels).sum())


ABLATION_HEADER = (
    "| recipe best | errors | mean ± sd | more than by the whole recipe | loss | n |\n|---|---|---|---|---|---|"
)


def ablation_table(runs: Sequence[Run]) -> str:
    """What each ingredient of the recipe best is worth on validation, in Markdown; all at the same number of passes.

    The difference is of the same seeds' runs; ± is the standard error of its mean.
    """
    groups = {changed: members for (_, _, changed), members in grouped(runs).items()}
    shortest = min(groups, key=len, default="")  # the changes that all have in common
    errors = {changed: [_errors(run) for run in members] for changed, members in groups.items()}
    rows = []
    for changed, members in sorted(groups.items(), key=lambda group: mean(errors[group[0]])):
        best = [run.best for run in members if run.best is not None]
        differences = [one - other for one, other in zip(errors[changed], errors[shortest], strict=True)]
        more = f"{mean(differences):+.1f} ± {stdev(differences) / len(differences) ** 0.5:.1f}"
        cells = (
            f"`{own}`" if (own := changed.replace(shortest, "").strip()) else "the whole",
            ", ".join(map(str, errors[changed])),
            f"{mean(errors[changed]):.1f} ± {stdev(errors[changed]):.1f}",
            "–" if changed == shortest else more,
            f"{mean(row.validation_loss or 0 for row in best):.4f}",
            str(len(members)),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([ABLATION_HEADER, *rows])


def _errors(run: Run) -> int:
    best = run.best
    return 0 if best is None else (best.validation_total or 0) - (best.validation_correct or 0)


def headline(run: Run) -> str:
    """What `make train` printed for a run, as a block of text: its header, its passes, its headline."""
    from training.progress import HEADER, headline_line, pass_line

    best: Row | None = run.best
    if best is None or best.test_loss is None or best.test_correct is None or best.test_total is None:
        raise UserError(f"{run.folder}: expected a finished run")
    lines = [HEADER, *(pass_line(row, len(run.rows)) for row in run.rows)]
    lines.append(headline_line(best.pass_number, "validation", best.test_loss, best.test_correct, best.test_total))
    return "\n".join(["```", *lines, "```"])


def summary_block(network: str) -> str:
    """What `train.py --network NAME --summary` prints, as a block of text."""
    printed = io.StringIO()
    print_summary(network, console=Console(file=printed, width=80, color_system=None))
    return "\n".join(["```", *(line.rstrip() for line in printed.getvalue().splitlines()), "```"])


SETTINGS_HEADER = (
    "| recipe | optimizer | learning rate | batch | passes | order of images | held out | pass chosen by | besides |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
OF_THEIR_OWN_COLUMN = (
    *("optimizer", "momentum", "learning_rate", "batch_size", "passes"),
    *("shuffle_buffer", "validation_size", "select_by"),
)


def settings_table(network: NetworkName) -> str:
    """One row per recipe of a network, in Markdown."""
    recipes = {name: of[network] for name, of in RECIPES.items() if network in of}
    return "\n".join([SETTINGS_HEADER, *(_settings_row(name, recipe) for name, recipe in recipes.items())])


def _settings_row(name: str, recipe: Recipe) -> str:
    orders = {"all": "all shuffled", 1: "the file's"}
    rest = [field for field in dataclasses.fields(recipe) if field.name not in OF_THEIR_OWN_COLUMN]
    values = {field.name: getattr(recipe, field.name) for field in rest}
    besides = [
        f"{field.name.replace('_', ' ')} {_plain(values[field.name])}"
        for field in rest
        if values[field.name] != field.default
    ]
    cells = (
        name,
        f"momentum {recipe.momentum:g}" if recipe.optimizer == "momentum" else recipe.optimizer,
        f"{recipe.learning_rate:g}",
        str(recipe.batch_size),
        str(recipe.passes),
        orders.get(recipe.shuffle_buffer, f"shuffled by {recipe.shuffle_buffer}"),
        f"{recipe.validation_size:,}",
        recipe.select_by,
        "; ".join(besides) or "–",
    )
    return f"| {' | '.join(cells)} |"


def _plain(value: Any) -> str:
    """A setting, or a group of settings without those that are 0, in a table's cell."""
    if dataclasses.is_dataclass(value):
        parts = {name: part for name, part in dataclasses.asdict(value).items() if part}  # type: ignore[arg-type]
        if "elastic_alpha" not in parts:
            parts.pop("elastic_sigma", None)  # of a field that is not there
        return "(" + ", ".join(f"{name.replace('_', ' ')} {_plain(part)}" for name, part in parts.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


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
    results = {"results": results_table(runs)}
    benchmarks = {"benchmarks": readme_table(json.loads(BENCHMARKS.read_bytes()))}
    networks = get_args(NetworkName)
    mnist = load_mnist()
    for_networks = {
        **results,
        "ablation": ablation_table(ablation),
        "oracle": oracle_table(Subset(mnist.train_images, mnist.train_labels)),
        "search": search_table(search),
        **{f"summary {network}": summary_block(network) for network in networks},
        **{f"settings {network}": settings_table(network) for network in networks},
    }
    card = unsealed(RELEASED_CARD.read_bytes())
    reading = {"confidence": confidence_table(card), "rejection": rejection_table(card)}
    options = {f"options {script}": options_table(script) for script in SCRIPTS}
    return {
        **{page: {**results, **benchmarks, "headline": headline(first)} for page in READMES},
        **dict.fromkeys(NETWORKS_PAGES, for_networks),
        **dict.fromkeys(OPTIONS_PAGES, options),
        **dict.fromkeys(READING_PAGES, reading),
    }


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
    """Remake every table; what cannot be read is an error."""
    for page, blocks in generated().items():
        for name, text in blocks.items():
            before, _, after = between(page, name)
            write_file(page, f"{before}{text}\n{after}".encode())
    return 0


if __name__ == "__main__":
    command_line.run(main)
