"""Score a model that reads rows on rows made of MNIST's test digits, by ingredient.

python -m docs.tables.rows [MODEL_DIR]

Each line is that of rows with one ingredient alone, and of rows with all but that one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from common.command_line import parse, run
from common.signals import StopRequest
from data.dataset import load_mnist
from data.rows import PLAIN, Ingredients, RowMaker
from model.decoding import aligned
from recognition.row_reader import RowReader

SEED, PASS = 0, 1  # of rows that no run chose its pass on


@dataclass(frozen=True)
class Options:
    """Print how well a model reads rows with each ingredient."""

    model: Positional[Annotated[Path | None, arg(metavar="MODEL_DIR", help_behavior_hint="")]] = None
    """Folder of the model; the released one if none is named."""
    rows: int = 500
    """Rows for each figure."""


def score(reader: RowReader, use: Ingredients, count: int) -> str:
    """Rows read exactly, and digits to change, leave out or add for each right one; as two cells of a table."""
    mnist = load_mnist()
    rows, digits = RowMaker(mnist.test_images, mnist.test_labels, SEED, PASS, use).rows(range(count))
    distances = [
        aligned([one.digit for one in reader.read(row)], wanted)[0] for row, wanted in zip(rows, digits, strict=True)
    ]
    right, error = distances.count(0) / count, sum(distances) / sum(map(len, digits))
    return f"{100 * right:.1f} % | {100 * error:.1f} %"


def table(reader: RowReader, count: int) -> str:
    """The table by ingredient, in Markdown."""
    names = [field.name for field in fields(Ingredients)]
    every = Ingredients()
    lines = [
        "| ingredient | alone: rows exact | digit error | without it: rows exact | digit error |",
        "|---|---|---|---|---|",
        f"| none; all | {score(reader, PLAIN, count)} | {score(reader, every, count)} |",
    ]
    for name in names:
        alone, without = replace(PLAIN, **{name: True}), replace(every, **{name: False})
        lines.append(f"| {name} | {score(reader, alone, count)} | {score(reader, without, count)} |")
    return "\n".join(lines)


def main(stop: StopRequest) -> int:
    """Print the table."""
    options = parse(Options)
    with stop.importing():
        print(table(RowReader.load(options.model), options.rows))
    return 0


if __name__ == "__main__":
    run(main)
