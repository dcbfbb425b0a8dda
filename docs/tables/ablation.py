"""Train `lenet_row` briefly without each group of its rows' ingredients, and score what it then reads.

python -m docs.tables.ablation RESULTS [--rows N] [--test-rows N] [--pictures FOLDER]

All trainings but one have the same seed: the same first weights, and the same digits in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import paddle
from PIL import Image
from tyro.conf import Positional, arg

from common.command_line import parse, run
from common.errors import UsageError
from common.files import write_file
from common.project import model_folder
from common.signals import StopRequest
from data.dataset import Mnist, Subset, load_mnist, split
from data.rows import Ingredients, RowMaker, row_batches
from docs.tables.rows import PASS, SEED, distances
from model.device import choose_device
from model.engine import Exporter, PaddleEngine
from model.image import network_input
from model.ops.backend import resolve_backend
from model.predictor import Predictor
from model.program import NetworkConfig
from model.recipes import learning_rate, recipe_for
from model.saved_model import load_model
from recognition.row_reader import RowReader

# Each ingredient is in one group; the order is that of the trainings, the worth that was expected.
GROUPS = (
    ("cleaned", "blank"),
    ("pen",),
    ("spacing", "touching"),
    ("size",),
    ("ruled", "boxes", "borders"),
    ("neighbours", "marks"),
    ("paper", "polarity", "blur", "jpeg"),
    ("slant", "warp", "baseline"),
    ("shapes",),
)
NOTHING = "nothing"
HEADER = """\
| left out | test rows exact | lost, gained | digit error | strips exact | lost, gained | digit error |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Options:
    """Print the worth of each group of ingredients in training."""

    results: Positional[Annotated[Path, arg(metavar="RESULTS", help_behavior_hint="")]]
    """JSON file that keeps the scores after each training; trainings that it holds are not repeated."""
    rows: int = 20_000
    """Rows of each training."""
    test_rows: int = 500
    """Rows of test digits with all ingredients to score on."""
    pictures: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder of strips with a row each to score on too: PNG files, the digits behind the last "_" of the name."""


def variants() -> dict[str, tuple[Ingredients, int]]:
    """Ingredients and seed of each training, by what is left out."""
    none = Ingredients(**dict.fromkeys((field.name for field in fields(Ingredients)), False))
    groups = {", ".join(group): (replace(Ingredients(), **dict.fromkeys(group, False)), 1) for group in GROUPS}
    return {NOTHING: (Ingredients(), 1), f"{NOTHING}, seed 2": (Ingredients(), 2), **groups, "all": (none, 1)}


def trained(digits: Subset, use: Ingredients, count: int, seed: int) -> RowReader:
    """A reader by `lenet_row`, trained from random weights by its recipe, shortened to one pass of `count` rows."""
    paddle.enable_static()
    recipe, device = recipe_for("lenet_row", "published"), choose_device("cpu")
    steps = -(-count // recipe.batch_size)
    recipe = replace(recipe, passes=1, warmup_steps=min(recipe.warmup_steps, steps // 10))
    config = NetworkConfig("lenet_row", {}, resolve_backend("auto", device.name)[0])
    engine, released = PaddleEngine(config, recipe, device, seed), load_model(model_folder(), rows=True)
    maker = RowMaker(digits.images, digits.labels, seed, 1, use)
    for step, (images, labels) in enumerate(row_batches(maker, count, recipe.batch_size)):
        engine.train_step(network_input(images, released.image), labels, learning_rate(recipe, step, steps))
    program, parameters = Exporter(config).files(engine.parameters())
    model = replace(released, program=program, parameters=parameters)
    return RowReader(model, Predictor(model))


def sets(mnist: Mnist, count: int, pictures: Path | None) -> dict[str, tuple[list[np.ndarray], list[list[int]]]]:
    """Rows to score on, and their digits: of test digits, and of the pictures if there are any."""
    found = {"test": RowMaker(mnist.test_images, mnist.test_labels, SEED, PASS).rows(range(count))}
    if pictures:
        files = sorted(pictures.glob("*_*.png"))
        if not files:
            raise UsageError(f"--pictures {pictures}: expected PNG files such as cell_105.png, found none")
        digits = [[int(digit) for digit in file.stem.rpartition("_")[2]] for file in files]
        found["pictures"] = [np.array(Image.open(file).convert("L")) for file in files], digits
    return found


def table(results: Mapping[str, Any]) -> str:
    """The table in Markdown: rows lost and gained are those that the training without an omission reads, and not."""
    lines, reference = [HEADER], results["distances"][NOTHING]
    for name, found in results["distances"].items():
        cells = [name]
        for kind, digits in results["digits"].items():
            exact, before = (np.array(each[kind]) == 0 for each in (found, reference))
            cells += [f"{exact.sum()} ({100 * exact.mean():.1f} %)", f"−{sum(before & ~exact)} +{sum(exact & ~before)}"]
            cells.append(f"{100 * sum(found[kind]) / digits:.1f} %")
        lines.append(f"| {' | '.join(cells + ['–'] * (7 - len(cells)))} |")
    return "\n".join(lines)


def scored(options: Options, wanted: Mapping[str, tuple[Ingredients, int]]) -> dict[str, Any]:
    """Train what the file of results does not hold yet, score it, and keep it there; returns the file's content.

    Raises:
        UsageError: the file is of other trainings or rows, or the folder of pictures has none.
    """
    mnist = load_mnist()
    chosen = sets(mnist, options.test_rows, options.pictures)
    results: dict[str, Any] = {"rows": options.rows}
    results["digits"] = {kind: sum(map(len, digits)) for kind, (_, digits) in chosen.items()}
    known = json.loads(options.results.read_text()) if options.results.exists() else {**results, "distances": {}}
    if any(known.get(key) != value for key, value in results.items()):
        raise UsageError(f"{options.results}: expected the same --rows, --test-rows and --pictures; name a new file")
    for name, (use, seed) in wanted.items():
        if name not in known["distances"]:
            reader = trained(split(mnist, 5000)[0], use, options.rows, seed)
            known["distances"][name] = {kind: distances(reader, *each) for kind, each in chosen.items()}
            write_file(options.results, json.dumps(known).encode())
    return known


def main(stop: StopRequest) -> int:
    """Print the table."""
    options = parse(Options)
    with stop.importing():
        print(table(scored(options, variants())))
    return 0


if __name__ == "__main__":
    run(main)
