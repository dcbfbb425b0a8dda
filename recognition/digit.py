"""Grey levels of a picture -> the 28×28 image that MNIST would have made of its digit.

MNIST's images were made from scans so (LeCun et al. 1998, section III.A): the digit, its longest side scaled to 20
pixels with anti-aliasing, is placed in 28×28 with its centre of mass in the middle. On the 70,000 images that middle is
pixel (14, 14), counted from 0, within half a pixel. The longest side is 20 (in 16 of them 19).

Of a photograph, a scan or a drawing the ink has to be found first: `recognition.segmentation`.
"""

from __future__ import annotations

import numpy as np
import scipy

from recognition.picture import BlankError
from recognition.segmentation import Ink, box_of, cut_out, find_inks, one_digit, stroke_width

SIDE, BOX, MIDDLE = 28, 20, 14

# Strokes of MNIST's images are 2.2 to 3.8 pixels wide (10th to 90th percentile); thinner ones are thickened to this.
STROKE = 2.4

NEAR = 0.12  # of the picture's longest side: a smaller digit is looked at from near
MINIMUM_MARGIN = 0.03  # of the picture's longest side, around a small digit
SPECK = 3.0  # stroke widths: what is small and no longer is a speck


def to_mnist(grey: np.ndarray) -> np.ndarray:
    """Make of a picture of one digit what MNIST would have made of it.

    A picture that already is one of MNIST's kind, or its negative, keeps its pixels.

    Args:
        grey: [height, width] uint8, 0 black to 255 white, from `recognition.picture.read_picture`.

    Returns:
        [28, 28] uint8, background 0, ink up to 255.

    Raises:
        PictureError: there is nothing to read.
    """
    own = as_mnist(grey)
    return centred(cut_out(digit_ink(grey)[1][0])) if own is None else own


def as_mnist(grey: np.ndarray) -> np.ndarray | None:
    """The picture, or its negative, if that is of MNIST's kind; else None."""
    return next((image for image in (grey, 255 - grey) if _is_of_mnists_kind(image)), None)


def digit_ink(grey: np.ndarray) -> tuple[Ink, list[Ink]]:
    """The ink of one digit as found in the picture; and, likelier first, as found from near if it is small there.

    Raises:
        PictureError: there is nothing to read.
    """
    inks = find_inks(grey, one_digit)
    # On a large paper a speck is all that there is; a small picture is cut close to a digit, dark or light.
    for page in inks if inks[0].enlargement > 1 else inks[:1]:
        box = page.box
        side, longest = max(each.stop - each.start for each in box), max(grey.shape)
        if side >= NEAR * longest:
            return page, [page, *(ink for ink in inks if ink is not page)]
        margin = round(max(side, MINIMUM_MARGIN * longest))
        near = find_inks(grey[tuple(slice(max(each.start - margin, 0), each.stop + margin) for each in box)], one_digit)
        if not _is_speck(near[0].own):
            return page, near
    raise BlankError("nothing to read: expected a piece of ink, got a speck")


def _is_speck(own: np.ndarray) -> bool:
    part = own[box_of(own)]
    return max(part.shape) < SPECK * stroke_width(part)


def _is_of_mnists_kind(image: np.ndarray) -> bool:
    """28×28, ink on black corners, in a box of 20 pixels, centre of mass in the middle: true of all of MNIST."""
    if image.shape != (SIDE, SIDE) or image.max() < 250 or image[[0, 0, -1, -1], [0, -1, 0, -1]].any():
        return False
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if max(np.ptp(rows), np.ptp(columns)) + 1 not in (BOX - 1, BOX):
        return False
    return bool(np.abs(centre_of_mass(image.astype(np.float32)) - MIDDLE).max() < 0.6)


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    """Row and column of the centre of mass of [h, w] float; the image must not be empty."""
    total = image.sum()
    return np.array([image.sum(axis=1) @ np.arange(len(image)), image.sum(axis=0) @ np.arange(image.shape[1])]) / total


def centred(digit: np.ndarray) -> np.ndarray:
    """Size a digit as MNIST does, longest side `BOX`, and put its centre of mass on pixel (`MIDDLE`, `MIDDLE`).

    Strokes that would be thinner than `STROKE` are widened to it.

    Args:
        digit: [h, w] the digit in its box, 0 paper to 1 ink.

    Returns:
        [28, 28] uint8, background 0, ink up to 255.
    """
    return _placed(_thickened(digit))


def _thickened(digit: np.ndarray) -> np.ndarray:
    """Widen strokes that would be thinner than `STROKE` at MNIST's size."""
    scale = BOX / max(digit.shape)
    stroke = stroke_width(digit > 0.5) * scale
    grow = (STROKE - stroke) / 2 / scale
    if grow < 0.5:
        return digit
    wider = np.pad(digit, int(np.ceil(grow)))
    distance = scipy.ndimage.distance_transform_edt(wider <= 0.5)
    return np.maximum(wider, np.clip(grow + 1 - distance, 0, 1))


def _placed(digit: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = digit.shape
    scale = BOX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(Image.fromarray(digit.astype(np.float32)).resize(size, Image.Resampling.BOX))
    small = small / max(small.max(), 1e-6)
    return np.rint(place(small, centre_of_mass(small), MIDDLE) * 255).astype(np.uint8)


def place(digit: np.ndarray, point: np.ndarray, middle: float) -> np.ndarray:
    """Put a digit [h, w] into 28×28 so that its point (row, column) lies on pixel (`middle`, `middle`).

    A digit that would leave the picture is moved back into it.
    """
    image = np.zeros((SIDE, SIDE), digit.dtype)
    starts = np.rint(middle - point).astype(int)
    top, left = (int(np.clip(start, 0, SIDE - side)) for start, side in zip(starts, digit.shape, strict=True))
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image
