"""A page -> its ink, and the connected pieces of it that may be digits.

All steps take time linear in the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from recognition.depth import Grey, under_paper
from recognition.picture import BlankError
from recognition.rings import without_rings
from recognition.ruling import NARROWEST_CELL, straight
from recognition.segmentation import MINIMUM_CONTRAST, Mask
from recognition.squares import without_squares
from recognition.strip import Box

GRAIN = 0.8  # pixels: standard deviation of the smoothing
CELLS = 12  # along the longest side, for the page's polarity
NOISE = 3.7  # times the grain's upper quartile, which is two thirds of its standard deviation, that ink exceeds
MOST_GRAIN = 0.2  # of the ink's depth: if the quartile is more, it is no grain, but the ink of a full page
FAINTEST = 0.3  # of the usual darkness of a page's writing: fainter ink is a shadow, or shows through from behind
EVENED, BESIDE = 11, 3  # pixels along which faint lines are evened out; from their middle to paper
QUIETER = 0.3  # times the threshold of ink: lines are darker
OWN_LEVEL = 0.28  # of a piece's own depth, from which on a pixel is its ink
SMALLEST = 7  # pixels of a piece's longest side
SHORTEST_LINE, THINNEST_LINE = 70, 5.0  # pixels of lines, if the size of the writing is not known yet
ALIKE = 0.6  # of the usual writing's height: only such pieces decide about the upper side


@dataclass(frozen=True)
class Piece:
    """A connected piece of ink; `number` is its label."""

    box: Box
    number: int

    @property
    def high(self) -> int:
        """Height, pixels."""
        return self.box[3] - self.box[1]

    @property
    def wide(self) -> int:
        """Width, pixels."""
        return self.box[2] - self.box[0]

    @property
    def longest(self) -> int:
        """Its longest side, pixels."""
        return max(self.high, self.wide)

    @property
    def middle(self) -> tuple[float, float]:
        """Middle of the box, across and down, pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class Writing:
    """The ink of a page that may lie on its side.

    Attributes:
        depth: [H, W] as of a `Page`.
        ink: likewise.
        ridges: [H, W] darkest pixels across strokes, faint ones too; see `page_ink`.
        labels: [H, W] number of the piece of each pixel.
        digits: pieces that are no lines, frames and rims, from those of usual size.
        compact: those of them that are not long.
        usual: those of them that are about as large as usual.
        height: usual size of the compact ones, pixels.
        faintest: see `page_ink`.
    """

    depth: Grey
    ink: Mask
    ridges: Mask
    labels: np.ndarray
    digits: list[Piece]
    compact: list[Piece]
    usual: list[Piece]
    height: float
    faintest: float


def find_writing(depth: Grey, share: float) -> Writing:
    """Find the writing of a page that may lie on its side; see `page_ink`.

    Raises:
        BlankError: there are but specks.
    """
    ink, ridges = page_ink(depth, share)
    long = max(SHORTEST_LINE, max(ink.shape) / 25)
    lines = straight(ink, long, THINNEST_LINE) | straight(ink.T, long, THINNEST_LINE).T
    ink, labels, count = without_rings(ink, lines)
    pieces = [piece for piece in pieces_of(labels) if piece.longest >= SMALLEST]
    digits = [piece for piece in pieces if _like_digit(piece, labels)] or pieces
    if not digits:
        raise BlankError("nothing to read: expected pieces of ink, got specks such as paper and cameras make")
    darkest = _darkest(depth, labels, count)
    longest = [piece.longest for piece in digits]
    faintest = FAINTEST * weighted_median([float(darkest[piece.number]) for piece in digits], longest)
    digits = [piece for piece in digits if darkest[piece.number] > faintest]
    darkest[0] = np.inf
    ink &= (darkest > faintest)[labels]
    compact = _compact(digits)
    sizes = [piece.longest for piece in compact]
    height = weighted_median(sizes, sizes)
    digits.sort(key=lambda piece: abs(piece.longest - height))
    usual = [piece for piece in digits if ALIKE * height < piece.longest < height / ALIKE]
    return Writing(depth, ink, ridges, labels, digits, compact, usual, height, faintest)


def page_depth(grey: Grey) -> Grey:
    """Depth of each pixel beside the paper around it, dark on light or light on dark, grey levels."""
    smooth = scipy.ndimage.gaussian_filter(grey, GRAIN)
    side = max(8, max(grey.shape) // CELLS)
    dark, light = [], []
    for top in range(0, len(grey), side):
        for left in range(0, grey.shape[1], side):
            low, middle, high = np.percentile(smooth[top : top + side : 2, left : left + side : 2], [1, 50, 99])
            dark.append(middle - low)
            light.append(high - middle)
    depth = under_paper(smooth if np.sum(dark) >= np.sum(light) else 255 - smooth)
    bare, pitch = without_squares(depth)
    # Numbers stand in the cells of a table, and across the squares of paper.
    return depth if bare is depth or pitch > NARROWEST_CELL * find_writing(bare, 1.0).height else bare


def page_ink(depth: Grey, share: float, faintest: float = 0.0) -> tuple[Mask, Mask]:
    """Masks of ink and of ridges.

    Ink is darker than grain, and not much less dark than the darkest of its own piece. Ridges are at least as dark as
    the pixels on two opposite sides. They are darker than grain, or than its rest if it is evened out along them.
    Faint and broken lines are whole on them.

    Args:
        depth: [H, W]; it is 0 around the page.
        share: of the picture that is page.
        faintest: depth of the darkest pixel of a piece, at least.
    """
    # Paper is most of a page: of its grain, darker and lighter than the median, a quarter is darker than this.
    grain, darkest_ink = np.percentile(depth[::3, ::3], [100 - 25 * share, 100 - 0.1 * share])
    threshold = max(MINIMUM_CONTRAST / 2, min(NOISE * grain, MOST_GRAIN * darkest_ink))
    labels, count = scipy.ndimage.label(depth > threshold, np.ones((3, 3)))
    darkest = _darkest(depth, labels, count)
    darkest[darkest <= max(MINIMUM_CONTRAST, 1.6 * threshold, faintest)] = np.inf
    # Beside strokes, which would be drawn out along themselves, no line is fainter than ink.
    faint, least = np.minimum(depth, threshold), QUIETER * threshold
    fainter = _faint_ridges(faint, least) | _faint_ridges(faint.T, least).T
    return depth > OWN_LEVEL * darkest[labels], np.where(labels > 0, _ridges(depth), fainter)


def _ridges(depth: Grey) -> Mask:
    """Pixels at least as dark as those above and below, or as those to the left and to the right."""
    ridges = np.zeros(depth.shape, bool)
    inner = depth[1:-1], depth[:, 1:-1]
    ridges[1:-1] = (inner[0] >= depth[:-2]) & (inner[0] >= depth[2:])
    ridges[:, 1:-1] |= (inner[1] >= depth[:, :-2]) & (inner[1] >= depth[:, 2:])
    return ridges


def _faint_ridges(depth: Grey, least: float) -> Mask:
    """Pixels of upright lines that stand out by so much from both sides once the grain along them is evened out."""
    along = scipy.ndimage.uniform_filter1d(depth, EVENED, axis=0)
    beside = np.maximum(np.roll(along, BESIDE, axis=1), np.roll(along, -BESIDE, axis=1))
    ridges = along - beside > least
    ridges[:, 1:-1] &= (along[:, 1:-1] >= along[:, :-2]) & (along[:, 1:-1] >= along[:, 2:])
    ridges[:, :BESIDE] = ridges[:, -BESIDE:] = False
    return ridges


def _darkest(depth: Grey, labels: np.ndarray, count: int) -> Grey:
    """Depth of the darkest pixel of each labelled piece; 0 for number 0."""
    inked, darkest = labels > 0, np.zeros(count + 1, np.float32)
    np.maximum.at(darkest, labels[inked], depth[inked])  # SciPy's maximum sorts all pixels
    return darkest


def pieces_of(labels: np.ndarray) -> list[Piece]:
    """The connected pieces of a picture, in the order of their labels."""
    return [
        Piece((across.start, down.start, across.stop, down.stop), number)
        for number, (down, across) in enumerate(scipy.ndimage.find_objects(labels), start=1)
    ]


def _like_digit(piece: Piece, labels: np.ndarray) -> bool:
    """True for a piece that is no line, no frame and no dark rim."""
    left, top, right, bottom = piece.box
    part = labels[top:bottom, left:right] == piece.number
    if piece.longest > 8 * min(piece.high, piece.wide) or piece.longest > 0.9 * max(labels.shape):
        return False
    ends = [part[0].mean(), part[-1].mean(), part[:, 0].mean(), part[:, -1].mean()]
    return bool(part.mean() > 0.06 and (part.mean() > 0.5 or sorted(ends)[1] < 0.85))


def _compact(digits: list[Piece]) -> list[Piece]:
    """The pieces that are not long, by which writing is measured; all of them if those are specks beside them."""
    compact = [piece for piece in digits if 2 * min(piece.high, piece.wide) > piece.longest]
    sizes = [sum(piece.longest for piece in each) for each in (compact, digits)]
    return compact if 3 * sizes[0] >= sizes[1] else digits


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Median of values of pieces; if their sizes are the weights, specks, however many, count less than digits."""
    order = np.argsort(values)
    sums = np.cumsum(np.array(weights, float)[order])
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])
