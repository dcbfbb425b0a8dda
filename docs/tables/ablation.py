"""Train `lenet_row` briefly without each group of its rows' ingredients, and score what it then reads.

python -m docs.tables.ablation RESULTS [--rows N] [--pictures FOLDER]

All trainings go on from the same network, by as many rows; all but one by the same digits in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import paddle
from PIL import Image, ImageOps
from tyro.conf import Positional, arg

from common.command_line import parse, run
from common.errors import UsageError
from common.files import write_file
from common.signals import StopRequest
from data.dataset import load_mnist, split
from data.row_sets import RowSet
from data.rows import PLAIN, Ingredients, RowMaker, row_batches
from model.device import choose_device
from model.engine import PaddleEngine
from model.image import network_input
from model.networks import NETWORKS
from model.ops.backend import resolve_backend
from model.program import NetworkConfig
from model.recipes import Recipe, learning_rate, recipe_for
from model.scoring import evaluate, right_answers

# Each ingredient is in one group; the order is that of the trainings, the worth that was expected.
GROUPS = (
    *(("cleaned", "blank"), ("pen",), ("spacing", "touching"), ("ruled", "boxes", "borders"), ("neighbours", "marks")),
    *(("paper", "polarity", "blur", "jpeg"), ("size",), ("slant", "warp", "baseline"), ("shapes",)),
)
NOTHING = "nothing"
IMAGE = NETWORKS["lenet_row"].image
# The published one, but for smaller batches: more steps by as many rows. The first rows are plain: by these the network
# soon ceases to answer "no digit" everywhere, as it does at first.
RECIPE = replace(recipe_for("lenet_row", "published"), batch_size=8, warmup_steps=0)
FIRST_RECIPE = replace(RECIPE, schedule="constant", warmup_steps=100)
COLUMNS = ("left out", "rows exact", "lost, gained", "digit error", "strips exact", "lost, gained", "digit error")


@dataclass(frozen=True)
class Options:
    """Print the worth of each group of ingredients in training."""

    results: Positional[Annotated[Path, arg(metavar="RESULTS", help_behavior_hint="")]]
    """JSON file that keeps the scores after each training; trainings that it holds are not repeated."""
    rows: int = 9_000
    """Rows of each training."""
    first: int = 16_000
    """Plain rows that the network is trained on before, once for all trainings."""
    held_out: int = 5_000
    """Digits that are held out, of which the rows to score on are made."""
    pictures: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder of strips with a row each to score on too: PNG files, the digits behind the last "_" of the name."""


def variants() -> dict[str, tuple[Ingredients, int]]:
    """Ingredients of each training and the seed of its rows, by what is left out."""
    groups = {", ".join(group): (replace(Ingredients(), **dict.fromkeys(group, False)), 1) for group in GROUPS}
    return {NOTHING: (Ingredients(), 1), f"{NOTHING}, other rows": (Ingredients(), 2), "all": (PLAIN, 1), **groups}


def train(engine: PaddleEngine, maker: RowMaker, count: int, recipe: Recipe) -> None:
    """Train on that many rows."""
    steps = -(-count // recipe.batch_size)
    for step, (images, labels) in enumerate(row_batches(maker, count, recipe.batch_size)):
        engine.train_step(network_input(images, IMAGE), labels, learning_rate(recipe, step, steps))


def strips(folder: Path) -> RowSet:
    """The pictures of a folder, made 32 pixels high; raises UsageError if there are none."""
    files = sorted(folder.glob("*_*.png"))
    if not files:
        raise UsageError(f"--pictures {folder}: expected PNG files such as cell_105.png, found none")
    digits = [file.stem.rpartition("_")[2] for file in files]
    labels = np.array([*zip_longest(*digits, fillvalue=-1)], np.int64).T
    pictures = [Image.open(file).convert("L") for file in files]
    scaled = [ImageOps.scale(each, IMAGE.size / each.height, Image.Resampling.BILINEAR) for each in pictures]
    return RowSet([np.array(each) for each in scaled], labels)


def scored(options: Options, wanted: Mapping[str, tuple[Ingredients, int]]) -> dict[str, Any]:
    """Train what the file of results does not hold yet, score it, and keep it there; returns the file's content.

    Raises:
        UsageError: the file is of other trainings or rows, or the folder of pictures has none.
    """
    training, held_out = split(load_mnist(), options.held_out)
    sets = [RowSet.of(held_out), *([strips(options.pictures)] if options.pictures else [])]
    counts = [options.first, options.rows, *map(len, sets)]
    known = options.results.read_text() if options.results.exists() else json.dumps({"rows": counts, "scores": {}})
    results: dict[str, Any] = json.loads(known)
    if results.get("rows") != counts:
        raise UsageError(f"{options.results}: expected {counts} rows, got {results.get('rows')}; name a new file")
    missing = {name: each for name, each in wanted.items() if name not in results["scores"]}
    if missing:
        paddle.enable_static()
        config = NetworkConfig("lenet_row", {}, resolve_backend("auto", "cpu")[0])
        engine = PaddleEngine(config, RECIPE, choose_device("cpu"), seed=1)
        train(engine, RowMaker(training.images, training.labels, 1, 0, PLAIN), options.first, FIRST_RECIPE)
        start = engine.state()
    for name, (use, seed) in missing.items():
        engine.load_state(start)
        train(engine, RowMaker(training.images, training.labels, seed, 1, use), options.rows, RECIPE)
        results["scores"][name] = [_score(engine, rows) for rows in sets]
        write_file(options.results, json.dumps(results).encode())
    return results


def _score(engine: PaddleEngine, rows: RowSet) -> dict[str, Any]:
    """Of each row whether it is read exactly, and the digit error of all."""
    found = evaluate(engine, IMAGE, rows)
    return {"exact": (found.answers == right_answers(rows)).all(axis=1).tolist(), "digit_error": found.digit_error}


def table(results: Mapping[str, Any]) -> str:
    """The table in Markdown: rows lost and gained are those that the first training reads, and not."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for name, scores in results["scores"].items():
        cells = [name]
        for score, reference in zip(scores, results["scores"][NOTHING], strict=True):
            exact, before = np.array(score["exact"]), np.array(reference["exact"])
            cells += [f"{exact.sum()} ({100 * exact.mean():.1f} %)", f"−{sum(before & ~exact)} +{sum(exact & ~before)}"]
            cells.append(f"{100 * score['digit_error']:.1f} %")
        lines.append(f"| {' | '.join(cells + ['–'] * (len(COLUMNS) - len(cells)))} |")
    return "\n".join(lines)


def main(stop: StopRequest) -> int:
    """Print the table."""
    options = parse(Options)
    with stop.importing():
        print(table(scored(options, variants())))
    return 0


if __name__ == "__main__":
    run(main)
