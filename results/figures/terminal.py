"""A curve of the loss in the characters of a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from common.extras import extra
from results.figures.style import BLUE, VERMILION

POINTS = 240  # no more dots fit side by side


def loss_curve(
    batches: Sequence[tuple[float, float]], passes: Sequence[tuple[float, float]], width: int, height: int
) -> str:
    """Plot the loss of batches as a line and that of passes as dots, in the colours of a terminal.

    Args:
        batches: pass and log10 of the loss; at least two.
        passes: the same, after each pass.
        width: columns.
        height: lines.
    """
    plotille = extra("plotille", "plotille>=5", "--live")
    points, dots = np.array(batches), np.array(passes).reshape(-1, 2)
    parts = np.array_split(points, POINTS) if len(points) > POINTS else np.split(points, len(points))
    means = np.array([part.mean(axis=0) for part in parts])
    losses = np.concatenate([means[:, 1], dots[:, 1]])
    figure = plotille.Figure()
    figure.width, figure.height = width, height
    figure.color_mode = "rgb"
    figure.origin = False
    figure.x_label, figure.y_label = "pass", "loss"
    figure.x_ticks_fkt = lambda value, _: f"{value:.4g}"
    figure.y_ticks_fkt = _round_loss
    # A tick every 10 columns: as far as a round number of passes a tick has to go to hold the curve.
    figure.set_x_limits(0, _at_least(max(points[-1, 0], 1e-9) * 10 / width) * width / 10)
    figure.set_y_limits(losses.min() - 0.05, losses.max() + 0.05)
    figure.plot(means[:, 0], means[:, 1], lc=_rgb(BLUE))
    if len(dots):
        figure.scatter(dots[:, 0], dots[:, 1], lc=_rgb(VERMILION), marker="o")
    return str(figure.show(legend=False))


def _at_least(value: float) -> float:
    """The next number of one or two round digits."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(digits * unit for digits in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if digits * unit >= value * (1 - 1e-9))


def _round_loss(low: float, high: float) -> str:
    """The 1, 2 or 5 of a decade that a terminal's line holds, from log10 `low` to `high`; else nothing."""
    decade = math.floor(high)
    found = [each for power in (decade - 1, decade) for each in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    return next((f"{each:g}" for each in found if 10**low <= each < 10**high), "")


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
