"""Grey levels of a picture -> the 28×28 image that MNIST would have made of its digit.

MNIST's images were made from scans so (LeCun et al. 1998, section III.A): the digit, its longest side scaled to 20
pixels with anti-aliasing, is placed in 28×28 with its centre of mass in the middle. On the 70,000 images that middle is
pixel (14, 14), counted from 0, within half a pixel, and the longest side is 20 (in 16 of them 19).

A photograph needs its paper taken away first: which of ink and paper is dark, uneven light, ruled or squared lines,
specks, and the dark edges of the sheet.
"""

from __future__ import annotations

import numpy as np

from mnist.picture import PictureError

SIDE, BOX, MIDDLE = 28, 20, 14

# Strokes of MNIST's images are 2.2 to 3.8 pixels wide (10th to 90th percentile); thinner ones are thickened to this.
STROKE = 2.4

LEAST_SIDE = 112  # pixels; smaller pictures are enlarged first, so that a stroke is some pixels wide
INK = 0.4  # part of the ink's contrast from which on a pixel counts as ink: ruled lines and shadows are mostly fainter
LEAST_EXTENT = 0.06  # of the picture's longest side; what is smaller is no digit
LEAST_CONTRAST = 12  # grey levels between ink and paper under which there is nothing to read


def to_mnist(grey: np.ndarray) -> np.ndarray:
    """Make of a picture of one digit what MNIST would have made of it.

    A picture that already is one of MNIST's kind, or its negative, keeps its pixels.

    Args:
        grey: [height, width] uint8, 0 black to 255 white, from `mnist.picture.read_picture`.

    Returns:
        [28, 28] uint8, background 0, ink up to 255.

    Raises:
        PictureError: there is nothing to read.
    """
    for candidate in (grey, 255 - grey):
        if _is_of_mnists_kind(candidate):
            return candidate
    return _centred(_thickened(_digit(*_ink(grey.astype(np.float32)))))


def _is_of_mnists_kind(image: np.ndarray) -> bool:
    """28×28, ink on black corners, in a box of 20 pixels, centre of mass in the middle: true of all of MNIST."""
    if image.shape != (SIDE, SIDE) or image.max() < 250 or image[[0, 0, -1, -1], [0, -1, 0, -1]].any():
        return False
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if max(np.ptp(rows), np.ptp(columns)) + 1 not in (BOX - 1, BOX):
        return False
    return bool(np.abs(_centre_of_mass(image.astype(np.float32)) - MIDDLE).max() < 0.6)


def _centre_of_mass(image: np.ndarray) -> np.ndarray:
    total = image.sum()
    return np.array([image.sum(axis=1) @ np.arange(len(image)), image.sum(axis=0) @ np.arange(image.shape[1])]) / total


def _ink(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """How much darker (or lighter, if the ink is light) than the paper around it each pixel is, and the paper's grain.

    Both in grey levels; the grain is the standard deviation of most of the picture.

    The paper's brightness is taken from a closing by a window that no stroke fills, which follows uneven light.
    """
    from scipy import ndimage  # here, so that reading MNIST's own images does not wait for SciPy

    factor = -(-LEAST_SIDE // max(grey.shape))
    if factor > 1:
        grey = ndimage.zoom(grey, factor, order=1, mode="nearest", grid_mode=True)
    grey = ndimage.gaussian_filter(grey, max(grey.shape) / 400)
    dark = _ink_is_dark(grey)
    if not dark:
        grey = 255 - grey
    window = max(grey.shape) // 3 | 1
    ink = ndimage.grey_closing(grey, size=(window, window)) - grey
    ink -= np.median(ink)
    if ink.max() < LEAST_CONTRAST:
        raise PictureError(
            f"nothing to read: expected ink that stands out from the paper by {LEAST_CONTRAST} of 255 grey levels, "
            f"got {ink.max():.0f}"
        )
    return np.maximum(ink, 0), 1.4826 * float(np.median(np.abs(ink)))


def _ink_is_dark(grey: np.ndarray) -> bool:
    """Whether the ink is darker than the paper; the paper is what most of the picture shows."""
    low, paper, high = np.percentile(grey, (1, 50, 99))
    return bool(paper - low >= high - paper)


def _digit(ink: np.ndarray, grain: float) -> np.ndarray:
    """Cut the digit out: the main piece of ink and what belongs to it; everything else becomes paper. Levels 0 to 1."""
    from scipy import ndimage

    level = np.percentile(ink[ink > 0.5 * ink.max()], 50)
    mask = ink > INK * level
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    weights = ndimage.sum_labels(ink, labels, np.arange(1, count + 1))
    # Shadows, frames and the sheet's edges lie along the picture's rim; a digit, though it may touch it, does not.
    inside = ndimage.sum_labels(_without_rim(ink), labels, np.arange(1, count + 1)) / weights
    main = int((weights * inside**2).argmax())
    # Grain is many pieces of like weight, and nowhere far from its own spread; handwriting is few, or stands out.
    grainy = ink.max() < 6 * grain and weights[main] < 0.5 * weights.sum()
    if grainy or max(side.stop - side.start for side in boxes[main]) < LEAST_EXTENT * max(ink.shape):
        raise PictureError("nothing to read: expected a piece of ink, got specks such as paper and cameras make")
    kept = [
        piece
        for piece in range(count)
        if piece == main
        or (weights[piece] > 0.04 * weights[main] and inside[piece] > 0.5 and _belongs(boxes[piece], boxes[main]))
    ]
    own = np.isin(labels, np.array(kept) + 1)
    level = np.percentile(ink[own], 60)
    # A margin around the digit keeps the grey edges of its strokes.
    margin = ndimage.binary_dilation(own, iterations=2)
    levels = np.clip((ink / level - INK / 2) / (0.9 - INK / 2), 0, 1) * margin
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    return np.pad(levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)


def _without_rim(ink: np.ndarray) -> np.ndarray:
    """Ink with the picture's outer twelfth on each side taken for empty."""
    rows, columns = (round(side / 12) for side in ink.shape)
    inner = np.zeros_like(ink)
    inner[rows : len(ink) - rows, columns : ink.shape[1] - columns] = 1
    return ink * inner


def _belongs(piece: tuple[slice, slice], main: tuple[slice, slice]) -> bool:
    """Whether a piece is near the main one, as the bar of a 5 is: its middle is in the main one's box, or not far."""
    reach = 0.3 * max(side.stop - side.start for side in main)
    return all(
        other.start - reach <= (own.start + own.stop) / 2 <= other.stop + reach
        for own, other in zip(piece, main, strict=True)
    )


def _thickened(digit: np.ndarray) -> np.ndarray:
    """Widen strokes that would be thinner than `STROKE` at MNIST's size."""
    from scipy import ndimage

    scale = BOX / max(digit.shape)
    inside = np.pad(digit > 0.5, 1)
    # In a strip of width w the distance to its edge is w/4 on average.
    stroke = 4 * ndimage.distance_transform_edt(inside)[inside].mean() * scale
    grow = (STROKE - stroke) / 2 / scale
    if grow < 0.5:
        return digit
    radius = round(grow)
    disc = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius + 0.3
    return ndimage.grey_dilation(np.pad(digit, radius), footprint=disc)


def _centred(digit: np.ndarray) -> np.ndarray:
    """Scale the longest side to `BOX` pixels and put the centre of mass on pixel (`MIDDLE`, `MIDDLE`)."""
    from PIL import Image

    height, width = digit.shape
    scale = BOX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(Image.fromarray(digit.astype(np.float32)).resize(size, Image.Resampling.BOX))
    small = small / max(small.max(), 1e-6)
    top, left = np.rint(MIDDLE - _centre_of_mass(small)).astype(int)
    image = np.zeros((SIDE, SIDE), np.float32)
    top, left = (int(np.clip(start, 0, SIDE - side)) for start, side in zip((top, left), small.shape, strict=True))
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return np.rint(image * 255).astype(np.uint8)
