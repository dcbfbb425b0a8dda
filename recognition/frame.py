"""The frame around a picture's writing, as a field of a form has."""

from __future__ import annotations

import numpy as np
import scipy

from recognition.depth import block_means, under_closing
from recognition.segmentation import FRAME, MINIMUM_CONTRAST, THRESHOLDS, is_frame, length

LONGEST = 160  # pixels of a side on which a frame is sought
REACH = 3  # pixels there: a line more than twice as thick frames nothing
LEAST = 12  # pixels at least: either side of the inside


def inside_frame(grey: np.ndarray) -> np.ndarray | None:
    """The part of a picture [H, W] uint8 inside a frame of thin lines, dark or light; None if it has none."""
    factor = -(-max(grey.shape) // LONGEST)
    small = block_means(grey.astype(np.float32), factor)
    for candidate in (small, 255 - small):
        depth = under_closing(candidate, REACH)
        if depth.max() < MINIMUM_CONTRAST:
            continue
        labels, _ = scipy.ndimage.label(depth > THRESHOLDS[0] * depth.max(), np.ones((3, 3)))
        for number, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
            if is_frame(labels, number, box):
                thick = 2 * max(2, max(map(length, box)) // FRAME)
                rows, columns = (slice(factor * (side.start + thick), factor * (side.stop - thick)) for side in box)
                inside = grey[rows, columns]
                return inside if min(inside.shape, default=0) >= LEAST else None
    return None
