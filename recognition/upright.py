"""A picture of writing -> its ink, turned so that rows are level and digits upright.

All steps take time linear in the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image

from recognition.depth import Grey, under_paper
from recognition.digit import centred
from recognition.paper import sheet_alone
from recognition.picture import BlankError
from recognition.ruling import straight
from recognition.segmentation import MINIMUM_CONTRAST, MINIMUM_SIDE, Ink, Mask, cut_out
from recognition.strip import Box, Turn

GRAIN = 0.8  # pixels: standard deviation of the smoothing
CELLS = 12  # along the longest side, for the page's polarity
NOISE = 3.7  # times the grain's upper quartile, which is two thirds of its standard deviation, that ink exceeds
MOST_GRAIN = 0.2  # of the ink's depth: if the quartile is more, it is no grain, but the ink of a full page
OWN_LEVEL = 0.28  # of a piece's own depth, from which on a pixel is its ink
TALLEST = 96  # pixels of usual writing; larger writing is reduced
SMALLEST = 7  # pixels of a piece's longest side
SHORTEST_LINE, THINNEST_LINE = 70, 5.0  # pixels of lines, if the size of the writing is not known yet
STEEPEST = 15.0  # degrees of slope
RIM = 0.1  # of a side of the picture: what covers more of it is no writing
SLAB = 8  # heights of writing: so wide parts of a page are looked at together for its slope
CLEARER = 1.15  # times: a slope must gather the ink in rows so much better than none
FEWEST = 3  # pieces of usual size that show a slope; fewer show the slant of their strokes instead
ALIKE = 0.6  # of the usual writing's height: only such pieces decide about the upper side
SAMPLE = 24  # pieces by which the upper side is decided
# Mean logarithm of certainty by which another side must win: a quarter turn, a half one, after which some digits are
# digits too, and more for a single piece, which may be several digits that touch.
QUARTER, HALF, ALONE = 0.06, 0.12, 0.8
BAND, ALONG = 2.2, 1.0  # times as wide as high: a picture of one row, whose quarter turns must win by so much

Certainty = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Page:
    """A page, upright.

    Attributes:
        depth: [H, W] how far each pixel stands out from the paper.
        ink: [H, W] where ink is.
        height: usual height of its writing, pixels.
        turn: how it was made upright.
    """

    depth: Grey
    ink: Mask
    height: float
    turn: Turn


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
    def middle(self) -> tuple[float, float]:
        """Middle of the box, across and down, pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


def upright(grey: npt.NDArray[np.uint8], certainty: Certainty) -> Page:
    """Find a picture's ink, and turn it upright.

    Args:
        grey: [H, W] uint8, 0 black to 255 white.
        certainty: certainty of a network's answer for each image, [N] 0 to 1 of [N, 28, 28] uint8; it decides which
            side is up.

    Raises:
        BlankError: there is nothing to read.
    """
    grey, share = sheet_alone(grey)
    enlargement = -(-MINIMUM_SIDE // max(grey.shape))
    size = grey.shape[1] * enlargement, grey.shape[0] * enlargement
    picture, scale = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC), 1.0 / enlargement
    for _ in range(2):
        depth = _depth(np.asarray(picture, np.float32))
        ink = _ink(depth, share)
        long = max(SHORTEST_LINE, max(ink.shape) / 25)
        lines = straight(ink, long, THINNEST_LINE) | straight(ink.T, long, THINNEST_LINE).T
        labels, _ = scipy.ndimage.label(ink & ~lines, np.ones((3, 3)))
        pieces = [piece for piece in pieces_of(labels) if max(piece.high, piece.wide) >= SMALLEST]
        digits = [piece for piece in pieces if _like_digit(piece, labels)] or pieces
        if not digits:
            raise BlankError("nothing to read: expected pieces of ink, got specks such as paper and cameras make")
        compact = _compact(digits)
        height = _usual([max(piece.high, piece.wide) for piece in compact])
        if height <= TALLEST:
            break
        scale *= height / (0.7 * TALLEST)
        size = round(grey.shape[1] / scale), round(grey.shape[0] / scale)
        picture = Image.fromarray(grey).resize(size, Image.Resampling.BOX, reducing_gap=2)
    digits.sort(key=lambda piece: abs(max(piece.high, piece.wide) - height))
    usual = [piece for piece in digits if ALIKE * height < max(piece.high, piece.wide) < height / ALIKE]
    turns = _side_up(depth, labels, (usual or digits)[:SAMPLE], certainty)
    height = _usual([piece.wide if turns % 2 else piece.high for piece in compact])
    degrees = 90.0 * turns
    if len(usual) >= FEWEST:
        degrees += _slope(np.rot90(_without_rim(ink), turns), height)
    if degrees:
        turned = Image.fromarray(depth).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        depth = np.maximum(np.asarray(turned), 0)
        ink = _ink(depth, share)
    turn = Turn((grey.shape[1], grey.shape[0]), scale, degrees, (depth.shape[1], depth.shape[0]))
    return Page(depth, ink, height, turn)


def _depth(grey: Grey) -> Grey:
    """Depth of each pixel beside the paper around it, dark on light or light on dark, grey levels."""
    smooth = scipy.ndimage.gaussian_filter(grey, GRAIN)
    side = max(8, max(grey.shape) // CELLS)
    dark, light = [], []
    for top in range(0, len(grey), side):
        for left in range(0, grey.shape[1], side):
            low, middle, high = np.percentile(smooth[top : top + side : 2, left : left + side : 2], [1, 50, 99])
            dark.append(middle - low)
            light.append(high - middle)
    return under_paper(smooth if np.sum(dark) >= np.sum(light) else 255 - smooth)


def _ink(depth: Grey, share: float) -> Mask:
    """Mask of ink: darker than grain, and not much less dark than the darkest of its own piece.

    Args:
        depth: [H, W]; it is 0 around the page.
        share: of the picture that is page.
    """
    # Paper is most of a page: of its grain, darker and lighter than the median, a quarter is darker than this.
    grain, darkest_ink = np.percentile(depth[::3, ::3], [100 - 25 * share, 100 - 0.1 * share])
    threshold = max(MINIMUM_CONTRAST / 2, min(NOISE * grain, MOST_GRAIN * darkest_ink))
    labels, count = scipy.ndimage.label(depth > threshold, np.ones((3, 3)))
    inked, darkest = labels > 0, np.zeros(count + 1, np.float32)
    np.maximum.at(darkest, labels[inked], depth[inked])  # SciPy's maximum sorts all pixels
    darkest[darkest <= max(MINIMUM_CONTRAST, 1.6 * threshold)] = np.inf
    return depth > OWN_LEVEL * darkest[labels]


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
    longest, shortest = max(piece.high, piece.wide), min(piece.high, piece.wide)
    if longest > 8 * shortest or longest > 0.9 * max(labels.shape):
        return False
    ends = [part[0].mean(), part[-1].mean(), part[:, 0].mean(), part[:, -1].mean()]
    return bool(part.mean() > 0.06 and (part.mean() > 0.5 or sorted(ends)[1] < 0.85))


def _compact(digits: list[Piece]) -> list[Piece]:
    """The pieces that are not long, by which writing is measured; all of them if those are specks beside them."""
    compact = [piece for piece in digits if 2 * min(piece.high, piece.wide) > max(piece.high, piece.wide)]
    sizes = [sum(max(piece.high, piece.wide) for piece in each) for each in (compact, digits)]
    return compact if 3 * sizes[0] >= sizes[1] else digits


def _usual(sizes: list[int]) -> float:
    """Median of the sizes, larger ones counting more: there are more specks than digits."""
    ordered = np.sort(np.array(sizes, float))
    weights = np.cumsum(ordered)
    return float(ordered[np.searchsorted(weights, weights[-1] / 2)])


def _side_up(
    depth: Grey,
    labels: np.ndarray,
    pieces: list[Piece],
    certainty: Certainty,
) -> int:
    """Quarter turns, counter-clockwise, by which the page's digits stand upright."""
    images = []
    for piece in pieces:
        left, top, right, bottom = piece.box
        part = slice(max(top - 2, 0), bottom + 2), slice(max(left - 2, 0), right + 2)
        own = labels[part] == piece.number
        images.append(centred(cut_out(Ink(depth[part], own, OWN_LEVEL, 1))))
    turned = np.stack([np.rot90(image, turns) for turns in range(4) for image in images])
    sure = np.log(certainty(turned) + 1e-3).reshape(4, -1).mean(axis=1)
    quarter = QUARTER + (ALONG if depth.shape[1] > BAND * depth.shape[0] else 0.0)
    sure[1:] -= np.array([quarter, HALF, quarter]) + ALONE / len(images)
    return int(sure.argmax())


def _without_rim(ink: Mask) -> Mask:
    """Ink without what runs along the picture's sides, as a dark table does."""
    labels, count = scipy.ndimage.label(ink, np.ones((3, 3)))
    along = np.zeros(count + 1, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        along |= np.bincount(side, minlength=count + 1) > RIM * len(side)
    return ink & ~along[labels]


def _slope(ink: Mask, height: float) -> float:
    """Degrees, counter-clockwise, by which the page is to be turned so that rows and lines are level."""
    rows, columns = np.nonzero(ink)
    if not len(rows):
        return 0.0
    step = max(1, len(rows) // 20000)
    y, x = rows[::step].astype(np.float32), columns[::step].astype(np.float32)
    bins, slab = max(1.5, height / 14), (x / (SLAB * height)).astype(int)

    def gathered(degrees: float) -> float:
        # Turned by so many degrees counter-clockwise, a pixel is at this height. Rows far apart have to do with each
        # other no more than by their slope.
        angle = np.radians(degrees)
        places = ((y * np.cos(angle) - x * np.sin(angle)) / bins).astype(int)
        places -= places.min()
        return float((np.bincount(slab * (int(places.max()) + 1) + places).astype(float) ** 2).sum())

    angles = np.arange(-STEEPEST - 1, STEEPEST + 1.1, 0.5)
    values = np.array([gathered(angle) for angle in angles])
    best = float(angles[values.argmax()])
    if values.max() < CLEARER * gathered(0.0):
        return 0.0
    finer = best + np.arange(-0.4, 0.41, 0.1)
    best = float(finer[np.argmax([gathered(angle) for angle in finer])])
    return best if abs(best) >= 0.3 else 0.0
