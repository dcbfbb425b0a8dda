"""The tables of networks: their layers, and the settings of their recipes, in Markdown."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

from rich.console import Console

from model.recipes import RECIPES, NetworkName, Recipe
from model.summary import print_summary


def summary_block(network: str) -> str:
    """The output of `train.py --network NAME --summary`, as a block of text."""
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
