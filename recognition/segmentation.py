"""The ink of a picture, and its polarity: dark on light, or light on dark; whatever its light and paper.

What is known of ink: it is narrow against the picture, it differs from the paper around it, dark on light or light on
dark, and it ends abruptly. Anything else lacks one of the three: shadows and uneven light are wide; grain and ruled
lines are fainter; the gaps between strokes, if they are taken for strokes, have outlines that follow no edge of the
picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recognition.depth import FAINT, Grey, block_means, evened, inner, under_paper
from recognition.picture import BlankError, PictureError

Mask = npt.NDArray[np.bool_]

MINIMUM_SIDE = 112  # pixels; smaller pictures are enlarged first, so that a stroke is some pixels wide
TINY = 4  # enlargement from which on a stroke is no wider than a pixel or two of the picture, and light has no room
THRESHOLDS = (0.4, 0.55, 0.7)  # parts of the ink's contrast from which on a pixel counts as ink; mostly the first
FLAT = 0.5  # of the steepest edges: an outline that follows nothing steeper is not one of ink
MINIMUM_CONTRAST = 12  # grey levels between ink and paper under which there is nothing to read
MINIMUM_EXTENT = 0.012  # of the picture's longest side; what is smaller is no digit
MANY = 30  # pieces of a tenth of the largest one's ink or more: so many are grain or print, not a digit
MINIMUM_PIECE = 0.02  # of the digit's ink: a smaller piece is a speck
NEAR_LEVEL, TWO_LEVELS = 0.1, 0.9  # of the picture's contrast: so near to its ends are this part of a drawing's pixels
SAMPLE = 400  # pixels of a side by which that is judged
NEAR_PAPER, EVEN_SHARE = 0.05, 0.25  # likewise, of a picture whose paper is as even as a drawing's
REACH = 0.3  # of the digit's longest side: how far from it a piece of ink may be and still belong to it
ALONG_RIM, ALONG_CLOSE_RIM = 2.0, 1.0  # weight against ink along the rim; in a picture cut close to a digit
FRAME = 25  # parts of its longest side: a frame has ink in the outermost one along each side of its box
JOININGS = 3  # how often pieces may join what has grown by the last ones; bounds the time


@dataclass(frozen=True)
class Ink:
    """The ink of a picture.

    Attributes:
        depth: [H, W] how far each pixel stands out from the paper around it, in grey levels.
        own: [H, W] which pixels are the writing's.
        threshold: part of the ink's contrast from which on a pixel counted as ink.
        enlargement: how many times larger H and W are than the picture's.
        dark: it is darker than the paper.
    """

    depth: Grey
    own: Mask
    threshold: float
    enlargement: int
    dark: bool = True

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the box around it, pixels of the picture."""
        rows, columns = box_of(self.own)
        times = self.enlargement
        return slice(rows.start // times, -(-rows.stop // times)), slice(
            columns.start // times, -(-columns.stop // times)
        )

    @property
    def fills_corners(self) -> bool:
        """True if it fills more than two corners of the picture, as paper does; of a tiny one, all that may be ink."""
        of_ink = self.depth > 0.5 * self.depth.max() if self.enlargement >= TINY else self.own
        return bool(np.count_nonzero(of_ink[[0, 0, -1, -1], [0, -1, 0, -1]]) > 2)

    def reduced(self, longest: int) -> Ink:
        """The same with at most `longest` pixels a side."""
        factor = -(-max(self.depth.shape) // longest)
        if factor == 1:
            return self
        own = block_means(self.own.astype(np.float32), factor) > 0
        return replace(self, depth=block_means(self.depth, factor), own=own)


def find_ink(grey: np.ndarray, pick: Callable[[Pieces], Mask]) -> Ink:
    """The likelier of `find_inks`."""
    return find_inks(grey, pick)[0]


def find_inks(grey: np.ndarray, pick: Callable[[Pieces], Mask]) -> list[Ink]:
    """Find the ink, dark and light; first the one that has its outline where the picture has edges.

    Args:
        grey: [height, width] uint8, 0 black to 255 white.
        pick: which of the pieces of ink are the writing's; `one_digit`, for example.

    Raises:
        PictureError: there is nothing to read.
    """
    from scipy import ndimage  # here, so that reading MNIST's own images does not wait for SciPy

    enlargement = -(-MINIMUM_SIDE // max(grey.shape))
    smooth = grey.astype(np.float32)
    if enlargement > 1:
        smooth = np.clip(ndimage.zoom(smooth, enlargement, order=3, mode="nearest", grid_mode=True), 0, 255)
    grain = max(smooth.shape) / 400
    smooth = ndimage.gaussian_filter(smooth, grain)
    edges = ndimage.gaussian_gradient_magnitude(smooth, grain)
    if enlargement == 1:  # along the rim sheets end, which would speak for the sheet as ink; a small picture is all rim
        edges = np.pad(inner(edges), [(side // 12,) for side in edges.shape])
    even = has_even_paper(grey)
    found: list[tuple[np.ndarray, Ink]] = []
    failures = []
    for candidate in (smooth, 255 - smooth):
        try:
            ink = replace(_dark_ink(candidate, enlargement, even, pick), dark=candidate is smooth)
        except PictureError as failure:
            failures.append(failure)
        else:
            found.append((edges[ink.own & ~ndimage.binary_erosion(ink.own)], ink))
    if not found:
        raise failures[0]
    steepest = max(float(np.percentile(outline, 75)) for outline, _ in found) + 1e-6
    found.sort(key=lambda way: float((np.minimum(way[0] / steepest, 1) - FLAT).sum()), reverse=True)
    inks = [ink for _, ink in found]
    if enlargement > 1:
        # A small picture may be cut so close that its paper is in pieces as narrow as strokes, with the same outlines.
        if not even:
            away = np.median(grey) - grey.astype(np.float32)
            inks.sort(key=lambda ink: ink.dark != ((away**3).sum() > 0))
        inks.sort(key=lambda ink: ink.fills_corners)
    return inks


def has_two_levels(grey: np.ndarray) -> bool:
    """True if nearly all pixels are as dark as the darkest or as light as the lightest."""
    return _share_near_ends(grey, NEAR_LEVEL) > TWO_LEVELS


def has_even_paper(grey: np.ndarray) -> bool:
    """True if many pixels are as dark as the darkest or as light as the lightest, as a drawing's paper is."""
    return _share_near_ends(grey, NEAR_PAPER) > EVEN_SHARE


def _share_near_ends(grey: np.ndarray, near: float) -> float:
    """Share of the pixels that differ from the darkest or the lightest by less than a part of the contrast."""
    step = -(-max(grey.shape) // SAMPLE)
    grey = grey[::step, ::step]
    away = np.minimum(grey - float(grey.min()), float(grey.max()) - grey)
    return float(np.mean(away < near * np.ptp(grey)))


def cut_out(ink: Ink, own: Mask | None = None, exponent: float | None = None) -> Grey:
    """Ink in the box around it, [h, w], 0 paper to 1 ink, everything else taken for paper.

    Args:
        ink: what `find_ink` found.
        own: which of its pixels; all by default.
        exponent: of the grey levels in a tiny picture; less than 1 strengthens faint strokes.
    """
    from scipy import ndimage

    own = ink.own if own is None else own
    rows, columns = box_of(own)
    # A margin around the digit keeps the grey edges of its strokes.
    margin = ndimage.binary_dilation(own, iterations=max(2, ink.enlargement))
    if ink.enlargement >= TINY:  # a pixel that is part ink and part paper shows how much of it is ink
        levels = np.clip(1.2 * ink.depth / np.percentile(ink.depth[own], 95), 0, 1) ** (exponent or 1.5)
    else:
        low = ink.threshold / 2
        levels = np.clip((ink.depth / np.percentile(ink.depth[own], 60) - low) / (0.9 - low), 0, 1)
    return np.pad((levels * margin)[rows, columns], 1)


def _dark_ink(grey: Grey, enlargement: int, even: bool, pick: Callable[[Pieces], Mask]) -> Ink:
    tiny = enlargement >= TINY
    depth = np.maximum(np.percentile(grey, 95) - grey, 0) if tiny and even else under_paper(grey)
    if depth.max() < MINIMUM_CONTRAST:
        raise BlankError(
            f"nothing to read: expected ink that stands out from the paper by {MINIMUM_CONTRAST} of 255 grey levels, "
            f"got {depth.max():.0f}"
        )
    if tiny and depth.max() < FAINT:
        depth = evened(depth)
    first = None
    for threshold in THRESHOLDS[:1] if tiny else THRESHOLDS:
        own = pick(Pieces(depth, threshold, ALONG_CLOSE_RIM if tiny and not even else ALONG_RIM))
        # What goes from one side of the picture to the other is ruled paper, if a higher threshold leaves it out.
        if not (own[0].any() and own[-1].any()) and not (own[:, 0].any() and own[:, -1].any()):
            return Ink(depth, own, threshold, enlargement)
        first = first or Ink(depth, own, threshold, enlargement)
    assert first
    return first


def box_of(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def length(side: slice) -> int:
    """Number of rows or columns."""
    return int(side.stop - side.start)


def stroke_width(part: Mask) -> float:
    """Usual width of the strokes of a mask, pixels."""
    from scipy import ndimage

    distances = ndimage.distance_transform_edt(np.pad(part, 1))
    return float(
        4 * distances[distances > 0].mean()
    )  # in a strip of width w the distance to its edge is w/4 on average


class Pieces:
    """The connected pieces of what may be ink, measured; arrays have one value a piece.

    Attributes:
        depth: [H, W] as in `Ink`.
        labels: [H, W] 0 where there is no ink, else the piece's number, counted from 1.
        boxes: rows and columns of each piece.
        extents: longest side of the box, pixels.
        weights: sum of depth.
        likely: weight, less for what lies along the picture's rim, 0 for frames.
        whole: which pieces may be writing by their place alone.
        at_rim: which pieces reach the picture's rim.
    """

    def __init__(self, depth: Grey, threshold: float, against_rim: float = ALONG_RIM) -> None:
        from scipy import ndimage

        self.depth = depth
        level = np.percentile(depth[depth > 0.5 * depth.max()], 50)
        self.labels, self.count = ndimage.label(depth > threshold * level, np.ones((3, 3)))
        self.boxes = ndimage.find_objects(self.labels)
        self.extents = np.array([max(side.stop - side.start for side in box) for box in self.boxes])
        self.weights = ndimage.sum_labels(depth, self.labels, self.numbers)
        # Shadows, frames and the sheet's edges lie along the rim; a digit, though it may touch it, does not.
        middle = np.zeros_like(depth)
        inner(middle)[:] = 1
        inside = ndimage.sum_labels(depth * middle, self.labels, self.numbers) / self.weights
        rim = np.concatenate([self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1]])
        along_rim = np.bincount(rim, minlength=self.count + 1)[1:] / (2 * self.extents)
        self.likely = self.weights * (inside**2 * np.clip(1 - against_rim * along_rim, 0, 1) + 1e-9)
        self.whole, self.at_rim = (inside > 0.5) & (along_rim < 0.2), along_rim > 0
        for piece in np.flatnonzero(self.likely > 0.1 * self.likely.max()):
            if is_frame(self.labels, int(piece) + 1, self.boxes[piece]):
                self.likely[piece], self.whole[piece] = 0, False

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the pieces in `labels`."""
        return np.arange(1, self.count + 1)

    def pixels(self, pieces: Mask) -> Mask:
        """Which pixels are of these pieces, [H, W]."""
        return np.concatenate([[False], pieces])[self.labels]

    def main(self) -> int:
        """The likeliest piece.

        Raises:
            PictureError: it is no larger than a speck, or one of many like it.
        """
        main = int(self.likely.argmax())
        grainy = np.count_nonzero(self.weights > self.weights[main] / 10) > MANY
        if grainy or self.extents[main] < MINIMUM_EXTENT * max(self.depth.shape):
            raise BlankError("nothing to read: expected a piece of ink, got specks such as paper and cameras make")
        return main


def is_frame(labels: np.ndarray, number: int, box: tuple[slice, slice]) -> bool:
    """True if a piece of ink is large in the picture [H, W] and runs along all four sides of its box."""
    if any(length(side) < 0.5 * whole for side, whole in zip(box, labels.shape, strict=True)):
        return False
    shape = labels[box] == number
    deep = max(2, max(shape.shape) // FRAME)
    sides = (shape[:deep].any(0), shape[-deep:].any(0), shape[:, :deep].any(1), shape[:, -deep:].any(1))
    return bool(min(side.mean() for side in sides) > 0.8)


def every_piece(pieces: Pieces) -> Mask:
    """All ink, [H, W]."""
    return pieces.labels > 0


def one_digit(pieces: Pieces) -> Mask:
    """The main piece of ink and what is near it, as the bar of a 5 is, and the parts of a broken stroke.

    Returns:
        [H, W] which pixels are the digit's.

    Raises:
        PictureError: there is nothing but specks.
    """
    from scipy import ndimage

    main = pieces.main()
    kept = np.arange(pieces.count) == main
    may_join = pieces.whole & (pieces.weights > MINIMUM_PIECE * pieces.weights[main])
    may_join &= pieces.extents < 2 * pieces.extents[main]
    for _ in range(JOININGS):
        may_join &= ~kept
        if not may_join.any():
            break
        own = pieces.pixels(kept)
        reach = REACH * max(side.stop - side.start for side in box_of(own))
        joining = may_join & (
            ndimage.minimum(ndimage.distance_transform_edt(~own), pieces.labels, pieces.numbers) < reach
        )
        if not joining.any():
            break
        kept |= joining
    return pieces.pixels(kept)
