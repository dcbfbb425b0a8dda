"""The tables of runs: results by network and recipe, and the ablation, in Markdown."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from common.errors import UserError
from data.distortions import Distortions
from model.recipes import RECIPES, Recipe
from results.predictions import predictions_path, read_predictions
from results.printed import HEADER, headline_line, pass_line
from results.records import Row
from results.run_folder import RunFolder
from results.runs import DECIDING, Run
from training.settings import Settings

# The claim of each network's source, on the 10,000 test images; docs/networks.md has what the claims hide.
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
CHANGES = (*(field.name for field in (*dataclasses.fields(Recipe), *dataclasses.fields(Distortions))), *DECIDING)


def changes(record: Mapping[str, Any]) -> str:
    """The differences between a run and its network's recipe, as options of train.py; empty if there are none.

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

    A tie goes to the answer of the first seed among them.
    """
    paths = [predictions_path(run.folder, run.best.pass_number) for run in runs if run.best is not None]
    if len(paths) < 3 or not all(path.exists() for path in paths):
        return "–"
    kept = [read_predictions(path) for path in paths]
    answers = np.stack([one.answers for one in kept])
    votes = (answers[:, None] == answers[None]).sum(axis=1)  # how many agree with this run, [runs, images]
    chosen = answers[votes.argmax(axis=0), np.arange(answers.shape[1])]
    return str((chosen == kept[0].labels).sum())


SUMMARY_HEADER = "| network | its source claims | published | best | seeds | parameters |\n|---|---|---|---|---|---|"


def summary_table(runs: Sequence[Run]) -> str:
    """One row per network, in Markdown: test accuracy of the chosen passes by the recipes published and best."""
    rows: dict[str, dict[str, tuple[str, list[Run]]]] = defaultdict(dict)
    for (network, recipe, changed), members in grouped(runs).items():
        if "--engine" not in changed and len(members) > len(rows[network].get(recipe, ("", []))[1]):
            rows[network][recipe] = changed, members
    lines = [SUMMARY_HEADER]
    for network, by_recipe in rows.items():
        recipes = [by_recipe.get(recipe, ("", [])) for recipe in ("published", "best")]
        parameters = {f"{RunFolder(run.folder).read_record()['parameters']:,}" for run in recipes[-1][1]}
        cells = (
            f"`{network}`",
            CLAIMS.get(network, "–"),
            *(_accuracy(*recipe) for recipe in recipes),
            ", ".join(str(len(members)) for _, members in recipes),
            " / ".join(sorted(parameters)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _accuracy(changed: str, runs: Sequence[Run]) -> str:
    spread = _spread([100 * (run.best.test_accuracy or 0) for run in runs if run.best]) if runs else "–"
    return f"{spread} (`{changed}`)" if changed else spread


ABLATION_HEADER = (
    "| recipe best | errors | mean ± sd | more than by the whole recipe | loss | n |\n|---|---|---|---|---|---|"
)


def ablation_table(runs: Sequence[Run]) -> str:
    """The worth of each ingredient of the recipe best on validation, in Markdown; all at the same number of passes.

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
    """The output of `make train` for a run, as a block of text: header, first and last passes, headline."""
    best: Row | None = run.best
    if best is None or best.test_loss is None or best.test_correct is None or best.test_total is None:
        raise UserError(f"{run.folder}: expected a finished run")
    passes = [pass_line(row, len(run.rows)) for row in run.rows]
    lines = [HEADER, *passes[:1], *(["…"] if len(passes) > 3 else passes[1:-2]), *passes[1:][-2:]]
    lines.append(headline_line(best.pass_number, "validation", best.test_loss, best.test_correct, best.test_total))
    return "\n".join(["```", *lines, "```"])
