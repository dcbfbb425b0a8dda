"""From the numbers of a benchmark to a page in Markdown and a plot.

python -m benchmarks.report docs/benchmarks.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common.files import write_file
from training.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION

Record = dict[str, Any]
Result = dict[str, Any]

# Multiplications and additions of conv_pool_bn for one image: two convolutions and a fully connected layer, and in
# training the gradients of their weights and inputs (the first layer's inputs need none).
FORWARD = 2 * (24 * 24 * 20 * 25 + 8 * 8 * 50 * 500 + 800 * 10)
TRAINING_FLOP = 3 * FORWARD - 2 * (24 * 24 * 20 * 25)

BUSY = 0.25  # load average per core before the start, above which the figures deserve a warning
MODEL_CORRECT = 9850  # of 10,000: what a model must reach for its seconds to count


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return low, middle, high


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(of, to, strict=True)]


def write_report(record: Record, folder: Path) -> None:
    """Write benchmarks.md and benchmarks.png into a folder."""
    sections = [_head(record), _goals(record)]
    sections += [_contest(contest) for contest in record["contests"]]
    sections += [_commands(record["commands"])] if record.get("commands") else []
    sections += [_images(record["images"])] if record.get("images") else []
    write_file(folder / "benchmarks.md", ("\n\n".join(filter(None, sections)) + "\n").encode())
    _draw(record, folder / "benchmarks.png")


def _head(record: Record) -> str:
    environment, versions = record["environment"], {}
    for result in _all_results(record):
        versions.update(result["facts"].get("versions", {}))
    machine = environment["machine"]
    said = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    busy = record["load"][0] > BUSY * machine["cores"]
    warning = "\n\n**The machine was busy with other work: libraries whose threads wait for each other suffer most.**"
    return f"""# How fast, against whom

Made by `make bench`, which measures all of this anew; not written by hand.

![Images per second and seconds, beside the peers](benchmarks.png)

Machine: {machine["processor"]}, {machine["cores"]} cores, {machine["system"]}; Python {environment["python"]}; {said};
commit {(environment["commit"] or "unknown")[:12]}; load average before the start {record["load"][0]:.1f};
{record["minutes"]} minutes.{warning if busy else ""}

Contenders start from equal weights, see the same images in the same order, and take turns of a fraction of a second,
round after round; the others are stopped meanwhile. After two steps their losses or probabilities must agree within
1 %. A warm-up (twice 20 steps, or as many as 2,560 images make) is not timed. A figure is the median of the rounds
with its quartiles; a ratio is the median of the rounds' ratios, so that a slow moment of the machine, which meets all,
cancels. "malloc tuned": glibc is told not to give a step's buffers back to the system after each step. Making batches
is not timed here, but is in the commands below. Memory is the largest resident set of the process."""


def _goals(record: Record) -> str:
    """What the project set out to reach, and what it reached; only what was measured."""
    rows = []

    def goal(what: str, found: Sequence[float], least: float | None = None, most: float | None = None) -> None:
        low, middle, high = quartiles(found)
        bound = f"≥ {least:g}" if least else f"≤ {most:g}" if most else ""
        met = "" if not bound else "yes" if (middle >= least if least else middle <= (most or 0)) else "no"
        rows.append([what, bound, f"{middle:.2f} ({low:.2f} to {high:.2f})", str(len(found)), met])

    for contest in record["contests"]:
        name, results = contest["name"], contest["results"]
        if name.split("/")[0] in ("training", "networks", "threads"):
            threads = " on one thread" if name == "threads" else ""
            network = name.split("/")[1] if "/" in name else "conv_pool_bn"
            if best := _best(results, "PyTorch"):
                least = {"training": 3.3, "networks": 1.0}.get(name.split("/")[0])
                goal(f"training {network}{threads}: × {best['label']}", _rates_over(results[0], best), least)
        if name == "training" and (first := _best(results, "Paddle, as in tutorials")):
            goal(
                "training conv_pool_bn: × Paddle's stock operators as first written", _rates_over(results[0], first), 12
            )
        for batch in (1, 64, 1024):
            at = [result for result in results if result["batch"] == batch]
            if name == "inference" and (onnx := _best(at, "ONNX")):
                goal(
                    f"inference at batch {batch}: × ONNX Runtime", _rates_over(at[0], onnx), 1.2 if batch > 1 else None
                )
        if name == "evaluation" and len(results) == 2:
            goal(f"{contest['title']}: × stock kernels", _rates_over(*results), 5)
    ours, theirs = _by_label(record.get("commands", []), "seconds")
    if theirs:
        goal("command to saved model: seconds / PyTorch script's", ratios(ours, theirs), most=0.6)
    table = _table(["goal", "bound", "median (quartiles)", "n", "met"], rows)
    return "\n\n".join(filter(None, ["## Goals", table, _fraction(record)])) if rows else ""


def _fraction(record: Record) -> str:
    """How near training comes to the machine's matrix product."""
    sentences = []
    for product, training in (("matmul", "training"), ("matmul/1", "threads")):
        speeds, steps = _results(record, product), _results(record, training)
        if speeds and steps:
            best = max(speeds, key=lambda result: quartiles(result["rates"])[1])
            gflops = quartiles(best["rates"])[1] * best["facts"]["flop"] / 1e9
            rate = quartiles(steps[0]["rates"])[1]
            reached = rate * TRAINING_FLOP / 1e9
            sentences.append(
                f"Threads: {best['threads']}. The fastest large float32 {best['label']}: {gflops:.0f} GFLOP/s. "
                f"A training step's {TRAINING_FLOP / 1e6:.1f} MFLOP an image at {rate:,.0f} images/s: "
                f"{reached:.0f} GFLOP/s, {100 * reached / gflops:.0f} % of it, as if its backward pass were dense."
            )
    return "\n".join(sentences)


def _contest(contest: Record) -> str:
    """A table per batch size; products per second become GFLOP/s."""
    results: list[Result] = contest["results"]
    blocks = [f"## {contest['title']}"]
    for batch in dict.fromkeys(result["batch"] for result in results):
        at = [result for result in results if result["batch"] == batch]
        scale, unit = 1.0, "images/s"
        if "flop" in at[0]["facts"]:
            scale, unit = at[0]["facts"]["flop"] / 1e9, "GFLOP/s"
        reference = at[0]
        rows = []
        for result in at:
            low, middle, high = (value * scale for value in quartiles(result["rates"]))
            slower = quartiles(_rates_over(reference, result))
            ratio = "1" if result is reference else f"{slower[1]:.2f} ({slower[0]:.2f} to {slower[2]:.2f})"
            rows.append(
                [result["label"], f"{middle:,.0f} ({low:,.0f} to {high:,.0f})", ratio, _megabytes(result["peak_bytes"])]
            )
        head = [f"batch {batch}", unit, f"{reference['label']} is × faster", "peak memory"]
        blocks += [_table(head, rows), f"Threads: {reference['threads']}; n = {len(reference['rates'])} rounds."]
    return "\n\n".join(blocks)


def _commands(commands: list[Record]) -> str:
    rows = []
    for label in dict.fromkeys(command["label"] for command in commands):
        own = [command for command in commands if command["label"] == label]
        low, middle, high = quartiles([command["seconds"] for command in own])
        correct = sorted(command["correct"] for command in own)
        memory = _megabytes(max(command["peak_bytes"] for command in own))
        rows.append([label, f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{correct[0]} to {correct[-1]}", memory])
    enough = all(command["correct"] >= MODEL_CORRECT for command in commands)
    verdict = (
        "Every model reached 98.5 %." if enough else "**Not every model reached 98.5 %: the seconds do not count.**"
    )
    table = _table(["command", "seconds (quartiles)", "right of 10,000 test images", "peak memory"], rows)
    images, passes, rounds = commands[0]["images"], commands[0]["passes"], len(commands) // len(rows)
    return f"""## From the command to a saved model

Passes: {passes}; training images, the held out ones among them: {images:,}; n = {rounds} rounds, a seed each. A new
process each time: imports, reading the data, training, scoring the held out and the test images, and saving are in it;
train.py also writes its log, checkpoint and figures, and reads its model back and scores it anew. Compiling the fused
operator, once per machine (about 10 s), is not in it, nor are the files read from a cold disk.

{table}

{verdict}"""


def _images(commands: list[Record]) -> str:
    rows = [
        [
            f"{c['images']:,}",
            c["label"],
            f"{c['seconds']:.1f}",
            f"{c['images'] / c['seconds']:,.0f}",
            _megabytes(c["peak_bytes"]),
        ]
        for c in commands
    ]
    table = _table(["training images", "command", "seconds", "images/s of the whole command", "peak memory"], rows)
    return f"## Cost against the number of images\n\nOne pass over MNIST, cut or repeated; n = 1.\n\n{table}"


def _draw(record: Record, path: Path) -> None:
    """Up to four panels: training, batch sizes, inference, seconds against images."""
    panels: list[Callable[[Any], None]] = []
    if training := _results(record, "training"):
        panels.append(lambda axes: _bars(axes, training, "Training conv_pool_bn, batch 128"))
    if batches := _results(record, "batches"):
        both = [*batches, *(r for r in training if r["label"] in {b["label"] for b in batches})]
        panels.append(lambda axes: _lines(axes, both, "batch", "Training against batch size", "images per step"))
    if inference := _results(record, "inference"):
        panels.append(lambda axes: _lines(axes, inference, "batch", "Inference", "images at a time"))
    if images := record.get("images"):
        panels.append(lambda axes: _seconds(axes, images))
    if not panels:
        return
    figure = Figure(figsize=(11, 4 * ((len(panels) + 1) // 2)), layout="constrained")
    for number, panel in enumerate(panels):
        panel(figure.add_subplot((len(panels) + 1) // 2, min(2, len(panels)), number + 1))
    figure.savefig(path, dpi=120)


COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY_BLUE, BLACK)
MARKERS = "osD^vPX"


def _bars(axes: Any, results: list[Result], title: str) -> None:
    results = sorted(results, key=lambda result: quartiles(result["rates"])[1])
    spans = np.array([quartiles(result["rates"]) for result in results])
    colours = [BLUE if result["label"].startswith("Paddle, fused") else "0.65" for result in results]
    errors = [spans[:, 1] - spans[:, 0], spans[:, 2] - spans[:, 1]]
    axes.barh([result["label"] for result in results], spans[:, 1], xerr=errors, color=colours)
    axes.set(title=title, xlabel="images/s (median, quartiles)")
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Any, results: list[Result], x: str, title: str, xlabel: str) -> None:
    labels = dict.fromkeys(result["label"] for result in results)
    for label, colour, marker in zip(labels, COLOURS, MARKERS, strict=False):
        points = sorted((result[x], quartiles(result["rates"])[1]) for result in results if result["label"] == label)
        axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, label=label)
    axes.set(title=title, xlabel=xlabel, ylabel="images/s")
    _finish(axes, sorted({result[x] for result in results}))


def _seconds(axes: Any, commands: list[Record]) -> None:
    labels = dict.fromkeys(command["label"] for command in commands)
    for label, colour, marker in zip(labels, COLOURS, MARKERS, strict=False):
        points = [(c["images"], c["seconds"]) for c in commands if c["label"] == label]
        axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, label=label)
    axes.set(title="One pass, command to saved model", xlabel="training images", ylabel="seconds")
    _finish(axes, sorted({command["images"] for command in commands}))


def _finish(axes: Any, ticks: list[int]) -> None:
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")


def _results(record: Record, name: str) -> list[Result]:
    return next((contest["results"] for contest in record["contests"] if contest["name"] == name), [])


def _all_results(record: Record) -> Iterable[Result]:
    return (result for contest in record["contests"] for result in contest["results"])


def _best(results: list[Result], start: str) -> Result | None:
    """The fastest of those whose label begins so."""
    ours = [result for result in results if result["label"].startswith(start)]
    return max(ours, key=lambda result: quartiles(result["rates"])[1], default=None)


def _rates_over(result: Result, other: Result) -> list[float]:
    return ratios(result["rates"], other["rates"])


def _by_label(commands: list[Record], key: str) -> tuple[list[float], list[float]]:
    """Paddle's values and PyTorch's."""
    values = [[command[key] for command in commands if command["label"].startswith(name)] for name in ("Pad", "PyT")]
    return values[0], values[1]


def _megabytes(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


if __name__ == "__main__":
    write_report(json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[1]).parent)
