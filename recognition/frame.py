"""The frame around a picture's writing, as a field of a form has."""

from __future__ import annotations

import numpy as np
import scipy

from recognition.depth import block_means, under_closing
from recognition.segmentation import FRAME, MINIMUM_CONTRAST, THRESHOLDS, is_frame, length

# Chosen on digits of thick pens in drawn boxes.
SMALL = 160  # pixels of a side on which a frame is sought
REACH = 3  # pixels there: a line more than twice as thick frames nothing
NARROWEST = 12  # pixels of the inside
NOUGHT, PEN = (0.45, 0.85), 0.035  # width by height, and thickness by the longer side, of a frame that may be a 0


def inside_frame(grey: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """The part of a picture [H, W] uint8 inside a frame of thin lines, dark or light; None if it has none.

    Returns:
        The part; and True if the frame may be a 0 itself, and the part what crosses it out.
    """
    factor = -(-max(grey.shape) // SMALL)
    small = block_means(grey.astype(np.float32), factor)
    for candidate in (small, 255 - small):
        depth = under_closing(candidate, REACH)
        if depth.max() < MINIMUM_CONTRAST:
            continue
        labels, _ = scipy.ndimage.label(depth > THRESHOLDS[0] * depth.max(), np.ones((3, 3)))
        for number, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
            if not is_frame(labels, number, box):
                continue
            high, wide = map(length, box)
            margin = 2 * max(2, min(high, wide) // FRAME)  # the frame may lean
            rows, columns = (slice(factor * (side.start + margin), factor * (side.stop - margin)) for side in box)
            if min(high, wide) > 2 * margin and min(grey[rows, columns].shape) >= NARROWEST:
                thick = np.count_nonzero(labels[box] == number) / (2 * (high + wide))
                may_be_nought = NOUGHT[0] < wide / high < NOUGHT[1] and bool(thick > PEN * max(high, wide))
                return grey[rows, columns], may_be_nought
    return None
