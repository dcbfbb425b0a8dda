"""Digits of shapes that people write and MNIST has seldom or never; drawn by strokes over or instead of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

SIDE = 28
# Share of the digits of each class that get another shape; below, the parts of it. Rows of strangers suggested them.
SHARES = np.array([0.2, 0.6, 0.15, 0, 0.22, 0.12, 0, 0.48, 0, 0.28])
UPSTROKE, LINE = 0.22, 0.47  # of the 1s; the rest has an upstroke as long as the stem
CROSSED = 0.3  # of the 7s; the rest has a short bar and a long cross, like a t
MIRRORED = 0.07  # of the 9s, like a P; the rest of `SHARES` is a loop with a stem
TOP, BOTTOM, MIDDLE = 3.5, 23.5, 13.5  # of a digit, pixels of MNIST
STROKE = 1.3

_GRID = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def reshape(image: Floats, label: int, shares: Floats) -> None:
    """Give a digit another shape, in place.

    Args:
        image: [28, 28], 0 paper to 1 ink.
        label: 0, 1, 2, 4, 5, 7 or 9.
        shares: [5] random numbers; the first is below `SHARES` of the label and decides which shape.
    """
    if label == 9 and shares[0] < MIRRORED:  # like a P
        image[:] = image[:, ::-1].copy()
    elif label == 9:
        _loop_and_stem(image, shares)
    elif label in _DRAWN:
        _DRAWN[label](image, shares)
    elif label == 7:
        (_cross if shares[0] < CROSSED else _short_seven)(image, shares)
    elif shares[0] < UPSTROKE:
        _upstroke_or_foot(image, shares)
    else:
        _line(image, shares)


def _upstroke_or_foot(image: Floats, shares: Floats) -> None:
    """Add a short upstroke, a foot or both to a 1."""
    rows, columns = np.nonzero(image > 0.4)
    if not len(rows):
        return
    _, share, more, *_ = shares
    top = float(columns[rows <= rows.min() + 1].mean())
    length = 4 + 8 * more
    if share < 0.75:
        _stroke(image, (rows.min() + 0.5, top), (rows.min() + length * (0.5 + share), top - length), STROKE)
    if share > 0.6:
        bottom = float(columns[rows >= rows.max() - 1].mean())
        y = rows.max() - 0.5
        _stroke(image, (y, bottom - 2 - 4 * more), (y, bottom + 2 + 4 * more), STROKE)


def _line(image: Floats, shares: Floats) -> None:
    """A 1 of one straight line, upright to slanted; or with an upstroke that begins far below."""
    which, share, more, third, fourth = shares
    image[:] = 0
    width = 0.9 + 0.5 * more
    if which < LINE:
        lean = 5 * share - 1
        _stroke(image, (TOP, MIDDLE + lean), (BOTTOM, MIDDLE - lean), width)
        return
    x, lean = MIDDLE + 2 + 2 * third, 5 * share - 1
    _stroke(image, (TOP, x), (BOTTOM, x - lean), width)
    _stroke(image, (TOP, x), (TOP + (0.5 + 0.5 * fourth) * (BOTTOM - TOP), x - max(lean, 0) - 4 - 5 * third), width)


def _cross(image: Floats, shares: Floats) -> None:
    """Cross a 7."""
    rows, columns = np.nonzero(image > 0.4)
    if not len(rows):
        return
    _, share, more, third, _ = shares
    y = 0.45 * rows.min() + 0.55 * rows.max()
    line = rows == int(y)
    centre = columns[line].mean() if line.any() else 14.0
    _stroke(image, (y + share, centre - 3 - 4 * more), (y - share, centre + 3 + 4 * third), STROKE)


def _short_seven(image: Floats, shares: Floats) -> None:
    """A 7 whose bar is short and hangs, with a long cross."""
    _, share, more, third, fourth = shares
    image[:] = 0
    width, x, lean = 0.9 + 0.5 * more, MIDDLE + 1 + 2 * third, 7 * share - 1
    y, left = TOP + 2 * fourth, x - 1 - 7 * third
    _stroke(image, (TOP, x), (BOTTOM, x - lean), width)
    _stroke(image, (TOP, x), (y, left), width)
    _stroke(image, (y, left), (y + 3 * more, left - 1), width)
    across = 0.35 + 0.3 * fourth
    y, centre = TOP + across * (BOTTOM - TOP), x - across * lean
    _stroke(image, (y + 2 * share, centre - 3 - 4 * more), (y - share, centre + 3 + 4 * third), width)


def _open_four(image: Floats, shares: Floats) -> None:
    """A 4 like an h: its stem begins at the bar or a little above it."""
    _, share, more, third, fourth = shares
    image[:] = 0
    width, left, right = 0.9 + 0.5 * more, 9 + 2 * share, 17 + 3 * third
    bar = TOP + (0.4 + 0.3 * fourth) * (BOTTOM - TOP)
    _path(image, [(TOP, left + 3 * third), (bar, left - 2 * share), (bar - 2 * more, right + 1)], width)
    _stroke(image, (bar - 6 * share, right), (BOTTOM, right - 3 * more), width)


def _loop_and_stem(image: Floats, shares: Floats) -> None:
    """A 9 of a round loop and a stem, which begins between the loop's right side and its left one."""
    _, share, more, third, fourth = shares
    image[:] = 0
    width, wide, high = 0.8 + 0.5 * more, 3 + 2.5 * third, 3 + 2 * fourth
    middle = TOP + high
    angles = np.linspace(-0.5, 5.6 + 0.7 * more, 14)  # open in a quarter of them
    loop = np.stack([middle - high * np.sin(angles), MIDDLE + wide * np.cos(angles)], 1)
    _path(image, loop.tolist(), width)
    x, lean, tail = MIDDLE + wide * (1 - 2 * share), 7 * fourth - 2, 5 * (third - 0.4)
    _stroke(image, (middle - 0.2 * high, x), (BOTTOM - 1, x - lean), width)
    _stroke(image, (BOTTOM - 1, x - lean), (BOTTOM, x - lean - max(tail, 0)), width)


def _tailed_zero(image: Floats, shares: Floats) -> None:
    """Add to a 0 the stroke by which a hand goes on to the next one, at its top or inside it."""
    rows, columns = np.nonzero(image > 0.4)
    if not len(rows):
        return
    _, share, more, third, fourth = shares
    top = rows.min() + 1.0
    x = float(columns[rows <= rows.min() + 1].mean())
    if fourth < 0.75:
        _path(image, [(top, x), (top + 3 * share, x + 3), (top + 4 * share - 1, columns.max() + 4 * more)], STROKE)
    if fourth > 0.5:
        _path(image, [(top, x), (top + 3 + 3 * third, x + 3 * share - 1.5)], STROKE)


def _looped_two(image: Floats, shares: Floats) -> None:
    """A 2 that begins with a loop, closed or nearly, and has a loop or a corner at its foot."""
    _, share, more, third, fourth = shares
    image[:] = 0
    width, high, wide = 0.8 + 0.5 * more, 4 + 2.5 * third, 3.5 + 2 * fourth
    middle, left = TOP + high, 8 + 3 * share
    angles = np.radians(np.linspace(-40 - 110 * share * share, -400, 14))  # clockwise, from below right
    loop = np.stack([middle - high * np.sin(angles), MIDDLE + wide * np.cos(angles)], 1).tolist()
    foot = [(BOTTOM - 1, left)]
    if third < 0.6:
        foot += [(BOTTOM - 3, left - 1.5), (BOTTOM - 4, left + 0.5)]
    _path(image, [*loop, *foot, (BOTTOM - 2 * more, left + 4), (BOTTOM - 2 * fourth, 19 + 3 * share)], width)


def _hooked_five(image: Floats, shares: Floats) -> None:
    """A 5 like the sign of a root: a stem with a hook at its foot and a bar at its top."""
    _, share, more, third, fourth = shares
    image[:] = 0
    width, x, lean = 0.9 + 0.5 * more, MIDDLE + 2 * third, 6 * share - 1
    foot, hook = (BOTTOM, x - lean), (BOTTOM - 1 - 6 * more, x - lean - 2.5 - 2.5 * fourth)
    _path(image, [hook, foot, (TOP, x), (TOP - 1 + 2 * fourth, x + 4 + 5 * share)], width)


def _path(image: Floats, points: Sequence[tuple[float, float]], width: float) -> None:
    """Draw straight strokes from each point (y, x) to the next."""
    for start, end in itertools.pairwise(points):
        _stroke(image, start, end, width)


def _stroke(image: Floats, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
    """Draw a straight stroke between two points (y, x)."""
    (y, x), (dy, dx) = start, (end[0] - start[0], end[1] - start[1])
    along = np.clip(((_GRID[0] - y) * dy + (_GRID[1] - x) * dx) / max(dy * dy + dx * dx, 1e-6), 0, 1)
    distance = np.hypot(_GRID[0] - y - along * dy, _GRID[1] - x - along * dx)
    np.maximum(image, np.clip(width + 0.5 - distance, 0, 1), out=image)


_DRAWN = {0: _tailed_zero, 2: _looped_two, 4: _open_four, 5: _hooked_five}
