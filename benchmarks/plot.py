"""A benchmark's numbers as a plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.record import Record, Result, median, quartiles, results
from results.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY_BLUE, BLACK)
MARKERS = "osD^vPX"


def draw(record: Record, path: Path) -> None:
    """Up to four panels: training, batch sizes, inference, seconds against images."""
    panels: list[Callable[[Any], None]] = []
    if training := results(record, "training"):
        panels.append(lambda axes: _bars(axes, training, "Training conv_pool_bn, batch 128"))
    if batches := results(record, "batches"):
        both = [*batches, *(r for r in training if r["label"] in {b["label"] for b in batches})]
        panels.append(lambda axes: _lines(axes, both, "Training against batch size", "images per step"))
    if inference := [one for one in results(record, "inference") if " at a time" not in one["label"]]:
        panels.append(lambda axes: _lines(axes, inference, "Inference", "images at a time"))
    if images := record.get("images"):
        panels.append(lambda axes: _seconds(axes, images))
    if not panels:
        return
    figure = Figure(figsize=(11, 4 * ((len(panels) + 1) // 2)), layout="constrained")
    for number, panel in enumerate(panels):
        panel(figure.add_subplot((len(panels) + 1) // 2, min(2, len(panels)), number + 1))
    figure.savefig(path, dpi=120)


def _bars(axes: Any, found: list[Result], title: str) -> None:
    found = sorted(found, key=lambda result: median(result["rates"]))
    spans = np.array([quartiles(result["rates"]) for result in found])
    colours = [BLUE if result["label"].startswith("Paddle, fused") else "0.65" for result in found]
    errors = [spans[:, 1] - spans[:, 0], spans[:, 2] - spans[:, 1]]
    axes.barh([result["label"] for result in found], spans[:, 1], xerr=errors, color=colours)
    axes.set(title=title, xlabel="images/s (median, quartiles)")
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Any, found: list[Result], title: str, xlabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel="images/s")
    _draw(axes, [(result["label"], result["batch"], median(result["rates"])) for result in found])


def _seconds(axes: Any, commands: list[Record]) -> None:
    axes.set(title="One pass, command to saved model", xlabel="training images", ylabel="seconds")
    _draw(axes, [(command["label"], command["images"], command["seconds"]) for command in commands])


def _draw(axes: Any, points: list[tuple[str, int, float]]) -> None:
    """Draw points, label, x and y, as a line a label."""
    for label, colour, marker in zip(dict.fromkeys(label for label, _, _ in points), COLOURS, MARKERS, strict=False):
        line = sorted((x, y) for own, x, y in points if own == label)
        axes.loglog(*zip(*line, strict=True), color=colour, marker=marker, label=label)
    ticks = sorted({x for _, x, _ in points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > 3:  # room for the legend below the lines
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** (0.12 * len(handles)), high)
    axes.legend(frameon=False, fontsize="small", loc="lower right" if len(handles) > 3 else "best")
