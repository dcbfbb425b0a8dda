"""Curves of one run and of many: loss, error, learning rate.

Line styles repeat the colours: train dotted, validation dashed, test solid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from rich.cells import cell_len

from common.errors import one_line
from common.width import shorten
from results.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
    WIDTH,
    YELLOW,
    new_figure,
    plain,
    text,
)
from results.records import Row, Step, best_row

RUN_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK, YELLOW)
RUN_MARKERS = (".", "o", "s", "^", "D", "v", "P", "X")  # the next one each time the colours begin again
SPLIT_STYLES: dict[str, Any] = {"train": ":", "validation": "--", "test": "-"}
SPLIT_COLOURS = {"train": BLUE, "validation": VERMILION, "test": GREEN}

LEGEND_ROWS = 18

_Panels = dict[Axes, Callable[[Row, str], float]]  # what each draws of a row and a split


def training_curves(rows: Sequence[Row], steps: Sequence[Step], steps_per_pass: int | None = None) -> Figure:
    """One run: loss and error of each pass and of each logged batch, the best pass marked.

    Args:
        rows: its passes.
        steps: its logged batches.
        steps_per_pass: batches in a pass; None if a whole pass is logged, its last batch or one near it.
    """
    figure, panels = _new_figure(WIDTH)
    loss, error = panels
    thin: dict[str, Any] = {"color": SKY_BLUE, "linewidth": 0.6, "alpha": 0.5}
    positions = _step_positions(steps, steps_per_pass)
    loss.plot(positions, [_finite(step.loss) for step in steps], **thin)
    error.plot(positions, [100 * (1 - step.accuracy) for step in steps], **thin)
    _draw_run(panels, rows, SPLIT_COLOURS, marker="o")
    _fit_to_passes(panels, rows)
    handles: list[Artist] = [
        Line2D([], [], color=SPLIT_COLOURS[split], linestyle=style, marker="o", markersize=3, label=split)
        for split, style in SPLIT_STYLES.items()
        if _has(rows, split)
    ]
    if steps:
        handles.append(Line2D([], [], label="train, per batch", **thin))
    best = best_row(list(rows))
    if best is not None:
        for axes in panels:
            axes.axvline(best.pass_number, color="0.6", linewidth=0.8)
        handles.append(_star("0.3", f"best pass: {best.pass_number}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def learning_rate_curve(rows: Sequence[Row], steps: Sequence[Step]) -> Figure:
    """The learning rate of each logged batch and of the last batch of each pass."""
    figure = new_figure(3)
    axes = figure.subplots()
    _axis_of_passes(axes)
    axes.set_ylabel("learning rate")
    points = sorted(
        [(position, step.learning_rate) for position, step in zip(_step_positions(steps), steps, strict=True)]
        + [(float(row.pass_number), row.learning_rate) for row in rows]
    )
    axes.plot([position for position, _ in points], [rate for _, rate in points], color=BLUE)
    axes.plot(
        [row.pass_number for row in rows],
        [row.learning_rate for row in rows],
        color=BLUE,
        marker="o",
        markersize=4,
        linestyle="",
        label="last batch of a pass",
    )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if rows:
        axes.legend(frameon=False, loc="best")  # named: of its default, matplotlib warns if it takes over a second
    return figure


def comparison_curves(runs: Mapping[str, Sequence[Row]], with_loss: bool = True) -> Figure:
    """The passes of many runs, by name, in the same axes: loss and error, each run's best pass marked.

    Without `with_loss`, for runs whose losses are of several kinds, the error alone.
    """
    labels = [_label(name) for name in runs]
    legend_columns = math.ceil((len(runs) + len(SPLIT_STYLES) + 1) / LEGEND_ROWS)
    legend_width = legend_columns * (0.8 + 0.08 * max(map(cell_len, labels), default=0))
    figure, panels = _new_figure((WIDTH if with_loss else 6.5) + legend_width, with_loss)
    handles: list[Artist] = []
    for index, (label, rows) in enumerate(zip(labels, runs.values(), strict=True)):
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        marker = RUN_MARKERS[index // len(RUN_COLOURS) % len(RUN_MARKERS)]
        _draw_run(panels, rows, dict.fromkeys(SPLIT_STYLES, colour), marker)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, label=label))
    _fit_to_passes(panels, list(chain.from_iterable(runs.values())))
    handles += [
        Line2D([], [], color="0.3", linestyle=style, label=split)
        for split, style in SPLIT_STYLES.items()
        if any(_has(rows, split) for rows in runs.values())
    ]
    handles.append(_star("0.3", "best pass of the run"))
    figure.legend(handles=handles, loc="outside right upper", ncols=legend_columns, frameon=False)
    return figure


def _new_figure(width: float, with_loss: bool = True) -> tuple[Figure, _Panels]:
    figure = new_figure(4.4, width)
    shown = {"loss (nats per image)": _loss, "error (%)": _error} if with_loss else {"error (%)": _error}
    panels: _Panels = {}
    for axes, (label, value_of) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        axes.set_ylabel(label)
        _axis_of_passes(axes)
        panels[axes] = value_of
    return figure, panels


def _axis_of_passes(axes: Axes) -> None:
    axes.set_xlabel("pass")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plain(axes)


def _draw_run(panels: _Panels, rows: Sequence[Row], colours: Mapping[str, str], marker: str) -> None:
    passes = [row.pass_number for row in rows]
    best = best_row(list(rows))
    chosen_on = next((split for split in ("validation", "test") if _has(rows, split)), "train")
    for axes, value_of in panels.items():
        for split, style in SPLIT_STYLES.items():
            values = [value_of(row, split) for row in rows]
            axes.plot(passes, values, color=colours[split], linestyle=style, marker=marker, markersize=3)
        if best is not None:
            axes.plot(best.pass_number, value_of(best, chosen_on), **_STAR, color=colours[chosen_on])


def _fit_to_passes(panels: _Panels, rows: Sequence[Row]) -> None:
    """Fit the axes to the passes; single batches scatter far more, and very good ones may lie outside."""
    for axes, value_of in panels.items():
        values = [value for row in rows for split in SPLIT_STYLES if (value := value_of(row, split)) > 0]
        if values:
            axes.set_yscale("log", nonpositive="mask")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(bottom=0.6 * min(values))


def _loss(row: Row, split: str) -> float:
    return _finite(getattr(row, f"{split}_loss"))


def _error(row: Row, split: str) -> float:
    """Share of wrong answers, per cent."""
    return 100 * (1 - _finite(getattr(row, f"{split}_accuracy")))


_STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 13,
    "markeredgecolor": "white",
    "markeredgewidth": 0.8,
    "zorder": 5,
}


def _star(colour: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="", color=colour, label=label, **_STAR)


def _step_positions(steps: Sequence[Step], steps_per_pass: int | None = None) -> list[float]:
    """Position of a batch on the axis of passes: the last batch of pass 3 is at 3, as is the pass's own point."""
    steps_per_pass = steps_per_pass or max((step.step for step in steps), default=1)
    return [step.pass_number - 1 + step.step / steps_per_pass for step in steps]


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def _has(rows: Sequence[Row], split: str) -> bool:
    return any(getattr(row, f"{split}_loss") is not None for row in rows)


def _label(name: str) -> str:
    """A run's name in a legend, which leaves out what begins with `_`."""
    return " " + text(shorten(one_line(name), 40))
