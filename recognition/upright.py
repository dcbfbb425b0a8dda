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

from recognition.depth import Grey
from recognition.digit import centred
from recognition.page_ink import OWN_LEVEL, Writing, find_writing, page_depth, page_ink, weighted_median
from recognition.paper import sheet_alone
from recognition.segmentation import MINIMUM_SIDE, Ink, Mask, cut_out
from recognition.strip import Turn

TALLEST = 96  # pixels of usual writing; larger writing is reduced
STEEPEST = 15.0  # degrees of slope
RIM = 0.1  # of a side of the picture: what covers more of it is no writing
SLAB = 8  # heights of writing: so wide parts of a page are looked at together for its slope
NEAREST, NEAR = 2, 2.5  # pieces beside a piece whose directions show a steep slope; heights of writing between them
AGREED, MANY = 0.7, 8  # mean length of their sum, four times turned; pieces of usual size that show it
CLEARER = 1.15  # times: a slope must gather the ink in rows so much better than none
FEWEST = 3  # pieces of usual size that show a slope; fewer show the slant of their strokes instead
SAMPLE = 24  # pieces by which the upper side is decided
# Logarithms of odds, chosen on drawn pages, pen strokes, photographs, cheques and printed words, each turned to its
# four sides. Letters too may look like digits on another side.
LOUDEST = 6.0  # of one piece, which so turns no page alone
SILENT = 12.0  # what is so much less like a digit than the likest side of all pieces is as good as nothing
TURNED, EACH = 8.0, 1.0  # by which another side must win, and more for each piece: most pages lie as they should
# Times as wide as high, longer than most photographs: a picture of one row, whose quarter turns must win by more.
BAND, ALONG = 1.85, 10.0

Likeness = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Page:
    """A page, upright.

    Attributes:
        depth: [H, W] how far each pixel stands out from the paper.
        ink: [H, W] where ink is.
        ridges: [H, W] darkest pixels across strokes, faint ones too; see `recognition.page_ink.page_ink`.
        height: usual height of its writing, pixels.
        turn: how it was made upright.
    """

    depth: Grey
    ink: Mask
    ridges: Mask
    height: float
    turn: Turn


def upright(grey: npt.NDArray[np.uint8], likeness: Likeness) -> Page:
    """Find a picture's ink, and turn it upright.

    Args:
        grey: [H, W] uint8, 0 black to 255 white.
        likeness: logarithm of the odds, [N], that each of [N, 28, 28] uint8 shows a digit as it stands; it decides
            which side is up.

    Raises:
        BlankError: there is nothing to read.
    """
    grey, share = sheet_alone(grey)
    enlargement = -(-MINIMUM_SIDE // max(grey.shape))
    size = grey.shape[1] * enlargement, grey.shape[0] * enlargement
    picture, scale = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC), 1.0 / enlargement
    for _ in range(2):
        depth = page_depth(np.asarray(picture, np.float32))
        writing = find_writing(depth, share)
        if writing.height <= TALLEST:
            break
        scale *= writing.height / (0.7 * TALLEST)
        size = round(grey.shape[1] / scale), round(grey.shape[0] / scale)
        picture = Image.fromarray(grey).resize(size, Image.Resampling.BOX, reducing_gap=2)
    degrees = _steep(writing)
    if degrees:
        turned = _turned(depth, degrees)
        writing = find_writing(turned, share * depth.size / turned.size)
    turns = _side_up(writing, likeness)
    sizes = [piece.wide if turns % 2 else piece.high for piece in writing.compact]
    height = weighted_median(sizes, sizes)
    degrees += 90.0 * turns
    if len(writing.usual) >= FEWEST:
        degrees += _slope(np.rot90(_without_rim(writing.ink), turns), height)
    ink, ridges = writing.ink, writing.ridges
    if degrees:
        level = _turned(depth, degrees)
        depth, share = level, share * depth.size / level.size
        ink, ridges = page_ink(depth, share, writing.faintest)
    turn = Turn((grey.shape[1], grey.shape[0]), scale, degrees, (depth.shape[1], depth.shape[0]))
    return Page(depth, ink, ridges, height, turn)


def _turned(depth: Grey, degrees: float) -> Grey:
    """A page, turned counter-clockwise; around it there is paper."""
    turned = Image.fromarray(depth).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    return np.maximum(np.asarray(turned), 0)


def _steep(writing: Writing) -> float:
    """Degrees, counter-clockwise, by which a page is to be turned whose rows are steeper than `_slope` seeks them.

    Pieces stand nearest to those of their own row, or to those above and below, as in the document spectrum of O'Gorman
    (1993); so the directions are counted modulo a quarter turn.
    """
    if len(writing.usual) < MANY:
        return 0.0
    x, y = _to_nearest(writing, len(writing.usual))
    mean = np.exp(4j * np.arctan2(y, x)).sum() / max(len(x), 1)
    degrees = float(np.degrees(np.angle(mean))) / 4
    return degrees if abs(mean) > AGREED and abs(degrees) > STEEPEST else 0.0


def _to_nearest(writing: Writing, most: int) -> np.ndarray:
    """Ways across and down, [2, N], from at most so many pieces of usual size to those nearest to each."""
    middles = np.array([piece.middle for piece in writing.usual]).reshape(-1, 2)
    count = min(NEAREST, len(middles) - 1)
    if count < 1:
        return np.zeros((2, 0))
    distances, nearest = scipy.spatial.cKDTree(middles).query(middles[:most], count + 1)
    ways = middles[nearest[:, 1:]] - middles[:most, np.newaxis]
    return np.asarray(ways[distances[:, 1:] < NEAR * writing.height].T)


def _side_up(writing: Writing, likeness: Likeness) -> int:
    """Quarter turns, counter-clockwise, by which the page's digits stand upright.

    Each piece counts by how much more it is like a digit on another side. Pieces stand nearer to those of their own row
    than to others. So those beside a piece count against a quarter turn, those above and below it for one.
    """
    depth, labels, pieces = writing.depth, writing.labels, (writing.usual or writing.digits)[:SAMPLE]
    images = []
    for piece in pieces:
        left, top, right, bottom = piece.box
        part = slice(max(top - 2, 0), bottom + 2), slice(max(left - 2, 0), right + 2)
        own = labels[part] == piece.number
        images.append(centred(cut_out(Ink(depth[part], own, OWN_LEVEL, 1))))
    # Row and column 14, the middle of images like MNIST's, stay the middle.
    turned = np.stack([np.pad(np.rot90(image[1:, 1:], turns), ((1, 0),) * 2) for turns in range(4) for image in images])
    like = likeness(turned).reshape(4, -1)
    like = np.maximum(like, like.max() - SILENT)
    like = np.maximum(like, like.max(axis=0) - LOUDEST)
    gains = (like - like[0]).sum(axis=1)
    x, y = np.abs(_to_nearest(writing, SAMPLE))
    more = EACH * len(images)
    level = max(more + np.count_nonzero(x > y) - np.count_nonzero(x <= y), 0)
    along = ALONG if depth.shape[1] > BAND * depth.shape[0] else 0.0
    half, quarter = TURNED + more, TURNED + level + along
    return int((gains - np.array([0, quarter, half, quarter])).argmax())


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

    # A row that falls more than the picture leaves room for would be cut off at its ends.
    room = max(len(ink) - height, 0) / ink.shape[1]
    angles = np.arange(-STEEPEST - 1, STEEPEST + 1.1, 0.5)
    angles = angles[np.abs(np.tan(np.radians(angles))) <= room]
    values = np.array([gathered(angle) for angle in angles])
    best = float(angles[values.argmax()])
    if values.max() < CLEARER * gathered(0.0):
        return 0.0
    finer = best + np.arange(-0.4, 0.41, 0.1)
    best = float(finer[np.argmax([gathered(angle) for angle in finer])])
    return best if abs(best) >= 0.3 else 0.0
