"""Distance of an image from the shapes of the classes, by the directions of its outline.

An image is described by a histogram of gradient directions around the points of a grid. Each class is a modified
quadratic discriminant function (Kimura et al., IEEE PAMI 9(1), 1987). Both are as in Liu et al., "Handwritten digit
recognition: benchmarking of state-of-the-art techniques", Pattern Recognition 36 (2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

from data.formats.idx import Bytes
from recognition.digit import SIDE

DIRECTIONS, GRID = 8, 4
FEATURES = DIRECTIONS * GRID**2
# Chosen on validation images and letters (docs/reading.md names them); no letter is learnt from.
BLUR = 0.7  # pixels, before the gradient is taken
MARGIN, REACH = 3.5, 0.55  # pixels from the picture's sides to the grid; its points' deviation, in their distances
AXES = 32  # in which a class varies most; in all others it varies alike
LEAST = 0.3  # of the classes' mean variance: no axis varies less

CHUNK = 500  # images at a time; bounds the memory


@dataclass(frozen=True)
class ClassShapes:
    """A normal distribution of descriptions for each of K classes.

    Attributes:
        centres: [K, FEATURES] float32.
        axes: [K, AXES, FEATURES] float32, in which a class varies most, each by the root of how much less it counts.
        weight: [1] float32, inverse variance along all other axes.
        extents: [K] float32, logarithms of the covariances' determinants.
    """

    centres: np.ndarray
    axes: np.ndarray
    weight: np.ndarray
    extents: np.ndarray

    def distances(self, images: Bytes) -> np.ndarray:
        """-2 log of the likelihood as the likeliest class of each image of [N, 28, 28] uint8, [N]."""
        described = describe(images)
        each = []
        for centre, axes, extent in zip(self.centres, self.axes, self.extents, strict=True):
            away = described - centre
            each.append(self.weight * (away**2).sum(axis=1) - ((away @ axes.T) ** 2).sum(axis=1) + extent)
        return np.asarray(np.min(each, axis=0))

    def is_whole(self) -> bool:
        """True for arrays of the shapes and the type that the class states, and finite."""
        count = len(self.extents)
        shapes = (count, FEATURES), (count, AXES, FEATURES), (1,), (count,)
        arrays = self.centres, self.axes, self.weight, self.extents
        return count >= 1 and all(is_array(*each) for each in zip(arrays, shapes, strict=True))


def is_array(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    """True for a float32 array of that shape whose values are finite."""
    return array.shape == shape and array.dtype == np.float32 and bool(np.isfinite(array).all())


def fit(images: Bytes, labels: Bytes) -> ClassShapes:
    """Fit the distributions of the classes that `labels` [N] name to images [N, 28, 28] uint8."""
    described = describe(images).astype(np.float64)
    groups = [described[labels == label] for label in np.unique(labels)]
    covariances = [np.cov(group.T, bias=True) for group in groups]
    usual = sum(len(group) * np.trace(each) for group, each in zip(groups, covariances, strict=True))
    least = LEAST * usual / len(described) / FEATURES + 1e-6
    fitted = [_fit(group.mean(axis=0), each, least) for group, each in zip(groups, covariances, strict=True)]
    parts = [np.stack(part).astype(np.float32) for part in zip(*fitted, strict=True)]
    return ClassShapes(parts[0], parts[1], np.array([1 / least], np.float32), parts[2])


def _fit(centre: np.ndarray, covariance: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    variances, axes = np.linalg.eigh(covariance)
    largest = np.maximum(variances[-AXES:], least)
    extent = np.log(largest).sum() + (FEATURES - AXES) * np.log(least)
    return centre, axes[:, -AXES:].T * np.sqrt(1 / least - 1 / largest)[:, None], extent


def describe(images: Bytes) -> np.ndarray:
    """Descriptions [N, FEATURES] float32 of [N, 28, 28] uint8."""
    chunks = [_describe(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
    return np.concatenate([np.empty((0, FEATURES), np.float32), *chunks])


def _describe(images: Bytes) -> np.ndarray:
    levels = images.astype(np.float32) / 255
    smooth, slope, grid = _filters()
    across, down = smooth @ levels @ slope.T, slope @ levels @ smooth.T
    strength, turn = np.hypot(across, down), np.arctan2(down, across) * (DIRECTIONS / (2 * np.pi))
    described = np.empty((len(images), DIRECTIONS, GRID, GRID), np.float32)
    for direction in range(DIRECTIONS):
        off = np.abs((turn - direction + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2)
        described[:, direction] = grid @ (strength * np.maximum(1 - off, 0)) @ grid.T
    flat = described.reshape(len(images), FEATURES)
    # Of the whole, so that the contrast does not count; the root makes the distribution more like a normal one.
    return np.sqrt(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6))


@cache
def _filters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices that smooth a column of pixels, take its slope as Sobel's filter does, and sum it at the grid."""
    pixels, one = np.arange(SIDE), np.eye(SIDE)
    blurred = scipy.ndimage.gaussian_filter1d(one, BLUR, axis=0, mode="constant")
    smooth = scipy.ndimage.correlate1d(blurred, [1, 2, 1], axis=0, mode="constant")
    slope = scipy.ndimage.correlate1d(blurred, [-1, 0, 1], axis=0, mode="constant")
    points = np.linspace(MARGIN, SIDE - MARGIN, GRID)[:, None]
    grid = np.exp(-(((pixels + 0.5 - points) / (REACH * (points[1] - points[0]))) ** 2) / 2)
    weighted = grid / grid.sum(axis=1, keepdims=True)
    return smooth.astype(np.float32), slope.astype(np.float32), weighted.astype(np.float32)
