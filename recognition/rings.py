"""Circled numbers: the strokes around them are no writing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy
from PIL import Image, ImageDraw

from recognition.segmentation import Mask

SMALLEST = 20  # pixels of a ring's height
INSIDE = 0.3, 0.75  # of a ring's height: the height of writing that it surrounds
THIN = 0.25  # of a ring's box: more ink is no ring
STRAIGHT = 0.5  # of a ring's ink in straight lines: more is a frame, or a table
THICKER = 1.3  # times its usual thickness, and a pixel: what is farther in is writing that touches it
DEEP = 0.2  # of a ring's height from its outside, reached by such writing, not by a second round of the ring


def without_rings(ink: Mask, lines: Mask) -> tuple[Mask, np.ndarray, int]:
    """Ink without the strokes around numbers; its pieces without straight lines, [H, W], and their number."""
    labels, count = scipy.ndimage.label(ink & ~lines, np.ones((3, 3)))
    if not any(_around(labels, 3)):  # lines break wide rings
        return ink, labels, count
    whole, _ = scipy.ndimage.label(ink, np.ones((3, 3)))
    rest = ink.copy()
    for box, piece in _around(whole, 4):
        if lines[box][piece].mean() < STRAIGHT:
            rest[box] &= ~_ring(piece)
    labels, count = scipy.ndimage.label(rest & ~lines, np.ones((3, 3)))
    return rest, labels, count


def _around(labels: np.ndarray, sides: int) -> Iterator[tuple[tuple[slice, slice], Mask]]:
    """Boxes and pixels of thin pieces that stand on so many sides of another one."""
    boxes = scipy.ndimage.find_objects(labels)
    edges = np.array([(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in boxes]).reshape(-1, 4)
    high = edges[:, 1] - edges[:, 0]
    others = np.flatnonzero(high > INSIDE[0] * SMALLEST)
    y, x = edges[others, :2].mean(axis=1).astype(int), edges[others, 2:].mean(axis=1).astype(int)
    for piece in np.flatnonzero(high > SMALLEST):
        top, bottom, left, right = edges[piece]
        share = high[others] / high[piece]
        inside = (share > INSIDE[0]) & (share < INSIDE[1]) & (y > top) & (y < bottom) & (x > left) & (x < right)
        if not inside.any():
            continue
        part = labels[boxes[piece]] == piece + 1
        if part.mean() < THIN and any(
            _sides(part, row, column) >= sides for row, column in zip(y[inside] - top, x[inside] - left, strict=True)
        ):
            yield boxes[piece], part


def _sides(part: Mask, row: int, column: int) -> int:
    """On how many sides of a place a piece stands."""
    across, down = part[row], part[:, column]
    return sum(bool(side.any()) for side in (across[:column], across[column:], down[:row], down[row:]))


def _ring(piece: Mask) -> Mask:
    """A piece without the writing inside that touches it."""
    # Rings may be open.
    places = np.argwhere(piece)[:, ::-1] + 1
    hull = Image.new("1", (piece.shape[1] + 2, len(piece) + 2))
    ImageDraw.Draw(hull).polygon(places[scipy.spatial.ConvexHull(places).vertices].ravel().tolist(), fill=1, outline=1)
    deep = scipy.ndimage.distance_transform_edt(np.asarray(hull))[1:-1, 1:-1]
    flank = piece[len(piece) // 4 : -(-3 * len(piece) // 4)]
    thick = np.median([row[row.argmax() :].argmin() for row in flank])
    labels, _ = scipy.ndimage.label(piece & (deep > THICKER * thick + 1), np.ones((3, 3)))
    ring = piece.copy()
    for number, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        own = labels[box] == number
        if len(own) > INSIDE[0] * len(piece) and deep[box][own].max() > DEEP * len(piece):
            ring[box] &= ~own
    return ring
