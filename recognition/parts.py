"""Parts of one digit's ink that may be digits themselves: a column, a fraction, or two digits that touch."""

from __future__ import annotations

import numpy as np
import scipy

from recognition.digit import centred
from recognition.segmentation import Ink, Mask, box_of, cut_out

# Chosen on drawn rows, dates and fractions (tests/recognition/papers.py and numbers.py, seeds below 3400).
HEAVY, HIGH = 0.012, 0.15  # of the heaviest and of the highest piece: a piece as large may be a digit too
WIDE = 1.0  # width by height from which on one piece may be two digits that touch
SIDES = 0.25  # of the width on each side, through which two digits are not parted
STEP = 0.01  # cost of one pixel sideways, so that a path through paper is straight
FEWEST = 20  # pixels of a part


def parts_of(ink: Ink) -> tuple[np.ndarray, bool]:
    """The ink's large pieces; or, if it is one wide piece, its halves.

    Returns:
        [K, 28, 28] uint8, none if it can be but one digit; and True if they are pieces.
    """
    box = box_of(ink.own)
    own = ink.own[box]
    labels, count = scipy.ndimage.label(own, np.ones((3, 3)))
    weights = scipy.ndimage.sum_labels(ink.depth[box], labels, range(1, count + 1))
    heights = np.array([rows.stop - rows.start for rows, _ in scipy.ndimage.find_objects(labels)])
    sizes = np.bincount(labels.ravel())[1:]
    large = (weights > HEAVY * weights.max()) & (heights > HIGH * heights.max()) & (sizes >= FEWEST)
    large = np.flatnonzero(large)
    masks: list[Mask] = []
    if len(large) > 1:
        masks = [labels == piece + 1 for piece in large]
    elif own.shape[1] > WIDE * len(own):
        left = np.arange(own.shape[1]) < _cheapest_path(own)[:, None]
        masks = [own & left, own & ~left]
    if not masks or min(map(np.count_nonzero, masks)) < FEWEST:
        return np.empty((0, 28, 28), np.uint8), False
    images = []
    for mask in masks:
        part = np.zeros_like(ink.own)
        part[box] = mask
        images.append(centred(cut_out(ink, part)))
    return np.stack(images), len(large) > 1


def _cheapest_path(own: Mask) -> np.ndarray:
    """Column in each row, [H], of the path from top to bottom, near the middle, that crosses least ink."""
    height, width = own.shape
    first = int(SIDES * width)
    cost = own[:, first : width - first].astype(np.float32)
    columns = np.arange(cost.shape[1])
    cost += 2 * STEP * np.abs(columns / len(columns) - 0.5)
    came_from = np.zeros(cost.shape, int)
    for row in range(1, height):
        beside = np.pad(cost[row - 1], 1, constant_values=np.inf)
        ways = np.stack([beside[:-2] + STEP, beside[1:-1], beside[2:] + STEP])
        best = ways.argmin(axis=0)
        came_from[row] = columns + best - 1
        cost[row] += ways[best, columns]
    path = np.empty(height, int)
    path[-1] = cost[-1].argmin()
    for row in range(height - 1, 0, -1):
        path[row - 1] = came_from[row, path[row]]
    return path + first
