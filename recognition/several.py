"""Signs that a picture holds several digits, or may hold them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy

from recognition.depth import block_means
from recognition.digit import centred
from recognition.ruling import without_lines
from recognition.segmentation import Ink, Mask, Pieces, box_of, cut_out, length

# Chosen on the drawn digits that docs/reading.md lists, and on drawn rows (tests/recognition, seeds below 3400).
LONGEST = 224  # pixels of a side that are looked at
AS_HIGH = 0.55  # of the digit's longest side: a piece as long may be a digit too
AS_DARK = 0.5  # of the digit's mean depth
AS_HEAVY = 0.125  # of the digit's ink: a 1 has a third of an 8's
WIDE = 1.6  # width by height from which on one piece is several digits that touch
PAIR = 0.75  # width by height from which on two pieces side by side are two digits
APART = 0.15  # of the narrower piece's width: two pieces side by side share no more columns
LONG, HEAVY = 0.15, 0.012  # of the digit's longest side and of its ink: such a piece may be a digit
MAYBE_WIDE = 1.0  # width by height from which on one piece may be several digits
MOST = 8  # pieces that are looked at; bounds the time
STRIP_MARGIN, STRIP_HEIGHT = 0.3, 96  # of the digit's longest side; pixels


@dataclass(frozen=True)
class Suspicion:
    """Parts of a picture that may be other digits than the one that was found.

    Attributes:
        plain: they are, beyond doubt.
        beside: [K, 28, 28] uint8, other pieces of ink, as MNIST would have made them of digits.
        strip: [H, W] uint8, the part of the picture with all large pieces, or with a wide one; None if there are none.
    """

    plain: bool = False
    beside: np.ndarray = field(default_factory=lambda: np.empty((0, 28, 28), np.uint8))
    strip: np.ndarray | None = None


NONE = Suspicion()


def suspicion(grey: np.ndarray, page: Ink, near: Ink) -> Suspicion:
    """Look for other digits than the one that was found.

    Args:
        grey: the picture, [H, W] uint8.
        page: ink of the digit in it.
        near: the same ink as seen from near.
    """
    whole = page.reduced(LONGEST)
    pieces = Pieces(whole.depth, whole.threshold)
    if _plainly(whole, pieces):
        return Suspicion(True)
    if page is not near:
        other = near.reduced(LONGEST)
        if _plainly(other, Pieces(other.depth, other.threshold)):
            return Suspicion(True)
    rows, columns = box_of(whole.own)
    size = max(length(rows), length(columns))
    large = (pieces.extents > LONG * size) & (pieces.weights > HEAVY * whole.depth[whole.own].sum())
    large[np.setdiff1d(pieces.labels[whole.own], 0) - 1] = False
    if not large.any() and length(columns) < MAYBE_WIDE * length(rows):
        return NONE
    others = np.flatnonzero(large & (pieces.whole | _free(pieces, (rows, columns))))
    heaviest = others[np.argsort(-pieces.weights[others])][:MOST]
    beside = [centred(cut_out(whole, pieces.labels == each + 1)) for each in heaviest]
    boxes = [(rows, columns), *(pieces.boxes[each] for each in np.flatnonzero(large))]
    strip = _strip(grey, boxes, STRIP_MARGIN * size, whole.own.shape)
    return Suspicion(False, np.stack(beside) if beside else NONE.beside, strip)


def _strip(grey: np.ndarray, boxes: Sequence[tuple[slice, slice]], margin: float, shape: Sequence[int]) -> np.ndarray:
    """The part of a picture with all these boxes in a copy of it of that shape, at most `STRIP_HEIGHT` pixels high."""
    window = []
    for sides, side, own in zip(zip(*boxes, strict=True), grey.shape, shape, strict=True):
        first, last = min(each.start for each in sides) - margin, max(each.stop for each in sides) + margin
        window.append(slice(max(int(first * side / own), 0), round(last * side / own)))
    part = grey[tuple(window)]
    return block_means(part.astype(np.float32), max(len(part) // STRIP_HEIGHT, 1)).astype(np.uint8)


def _plainly(ink: Ink, pieces: Pieces) -> bool:
    """True if other pieces of ink are as large and as dark as the digit, or if it is too wide for one."""
    height, width = map(length, box_of(ink.own))
    inside = np.setdiff1d(pieces.labels[ink.own], 0) - 1
    others = pieces.whole | _free(pieces, box_of(ink.own))
    others[inside] = False
    counts = np.bincount(pieces.labels.ravel(), minlength=pieces.count + 1)[1:]
    size, weight = max(height, width), ink.depth[ink.own].sum()
    alike = pieces.weights / counts > AS_DARK * ink.depth[ink.own].mean()
    alike &= others & (pieces.extents > AS_HIGH * size) & (pieces.weights > AS_HEAVY * weight)
    long = pieces.extents >= size / AS_HIGH
    if (alike & ~long).any() or any(_holds_digit(pieces, each, size) for each in np.flatnonzero(alike & long).tolist()):
        return True
    if width <= PAIR * height:
        return False
    high = [columns for rows, columns in (pieces.boxes[each] for each in inside) if length(rows) > AS_HIGH * height]
    apart = (
        first.start < second.start and first.stop - second.start < APART * min(length(first), length(second))
        for first, second in itertools.permutations(high, 2)
    )
    if any(apart):
        return True
    rest = without_lines(ink.own) if width > WIDE * height else None
    if rest is not None:
        height, width = map(length, box_of(rest))
    return width > WIDE * height


def _free(pieces: Pieces, box: tuple[slice, slice]) -> Mask:
    """Which pieces reach neither the picture's rim nor the digit's box; they may lie near the rim."""
    apart = [
        any(own.stop <= side.start or side.stop <= own.start for own, side in zip(each, box, strict=True))
        for each in pieces.boxes
    ]
    return ~pieces.at_rim & np.array(apart)


def _holds_digit(pieces: Pieces, long: int, size: float) -> bool:
    """True if a piece of ink much longer than the digit, as a box, has something like a digit joined to its lines."""
    rest = without_lines(pieces.labels[pieces.boxes[long]] == long + 1)
    if rest is None:
        return False
    labels, _ = scipy.ndimage.label(rest, np.ones((3, 3)))
    extents = [max(map(length, box)) for box in scipy.ndimage.find_objects(labels)]
    return any(AS_HIGH * size < extent < size / AS_HIGH for extent in extents)
