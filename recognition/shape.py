"""Ink that may be no digit, by its shape and its place: specks, fibres, folds, lines of a form, edges of a sheet."""

from __future__ import annotations

import numpy as np

from recognition.ruling import straight
from recognition.segmentation import TINY, Ink, Mask, box_of, stroke_width

DOUBTED = 0.88  # trust in ink that may be a digit, or dirt
SMALL, SMALL_BLOB = 0.12, 0.3  # of the picture's longest side: a smaller bar may be a fibre, a smaller blob a speck
BAR, STUMP, SOLID = 0.17, 0.25, 0.65  # width by length of a bar at most; and the share of its rectangle that it fills
BLOB = 4.0  # stroke widths: what is solid and no longer is a blob
WIDE = 1.35  # width by height: what is wider may be two digits that touch
LONGEST = 25.0  # stroke widths: a thin pen's digits are 20 long
AT_RIM = 0.5  # stroke widths from the picture's rim
FREE = 2.0  # stroke widths beside a bar from which on the picture is not cropped to it
SPAN, SLOPE = 0.85, 0.02  # of a side of the picture: a line as long goes through it, if it leaves its row by no more
LINES = 0.75  # of the ink: so much of it in lines through the picture is nothing but lines


def trust(page: Ink, near: Ink) -> float:
    """Share of trust that ink deserves as a digit: 1 mostly, `DOUBTED`, or 0 for what is no digit.

    Args:
        page: in the whole picture.
        near: the same ink as seen from near.
    """
    rows, columns = box_of(page.own)
    size = max(rows.stop - rows.start, columns.stop - columns.start) / max(page.own.shape)
    part = near.own[box_of(near.own)]
    ratio = max(part.shape) / stroke_width(part)
    thin, long = _sides(part)
    solid = np.count_nonzero(part) / (thin * long) > SOLID
    bar = solid and thin < STUMP * long
    if page.enlargement < TINY:
        stroke = stroke_width(page.own[rows, columns])
        margins = rows.start, page.own.shape[0] - rows.stop, columns.start, page.own.shape[1] - columns.stop
        at_rim = [margin < AT_RIM * stroke for margin in margins]
        ends, beside = (at_rim[:2], margins[2:]) if len(part) > part.shape[1] else (at_rim[2:], margins[:2])
        if (bar and all(ends) and thin < BAR * long and max(beside) > FREE * stroke) or _only_lines(page.own, stroke):
            return 0.0
        if ((bar and any(ends)) or sum(at_rim) > 1) and max(margins) > FREE * stroke:
            return DOUBTED
    small_bar, small_blob = bar and size < SMALL, solid and ratio < BLOB and size < SMALL_BLOB
    doubted = small_bar or small_blob or ratio > LONGEST or part.shape[1] > WIDE * len(part)
    return DOUBTED if doubted else 1.0


def _sides(part: Mask) -> tuple[float, float]:
    """The shorter and the longer side of the rectangle that is spread like a mask, pixels."""
    spread = np.cov(np.stack(np.nonzero(part)), bias=True) + np.eye(2) / 12
    thin, long = np.sqrt(12 * np.maximum(np.linalg.eigvalsh(spread), 0))
    return float(thin), float(long)


def _only_lines(own: Mask, stroke: float) -> bool:
    """True if nearly all ink is in lines from one side of the picture to the other, in both directions or parallel."""
    lines = []
    for mask in (own, own.T):
        tilt = max(1, round(SLOPE * mask.shape[1]))
        found = straight(mask, SPAN * mask.shape[1], 2 * stroke, tilt)
        lines.append(found if mask is own else found.T)
    both = lines[0] | lines[1]
    if np.count_nonzero(both) < LINES * np.count_nonzero(own):
        return False
    return all(map(np.any, lines)) or any(_apart(each, stroke) for each in (lines[0], lines[1].T))


def _apart(lines: Mask, stroke: float) -> bool:
    """True if horizontal lines are more than one."""
    rows = np.flatnonzero(lines.any(axis=1))
    return len(rows) > 0 and bool(np.ptp(rows) > 4 * stroke + 2 * SLOPE * lines.shape[1])
