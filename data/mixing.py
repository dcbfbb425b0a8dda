"""Order of a data set whose images come class by class: mixed, so that the last ones are a fair sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.formats.idx import Bytes


def is_mixed(labels: npt.NDArray[Any]) -> bool:
    """True if neighbours are of two classes at least half as often as in a random order."""
    changes = int(np.count_nonzero(labels[1:] != labels[:-1]))
    counts = np.unique(labels, return_counts=True)[1].astype(float)
    return 2 * changes * len(labels) >= len(labels) ** 2 - float((counts**2).sum())


def mixed_order(labels: npt.NDArray[Any], seed: int) -> npt.NDArray[np.int64]:
    """Places of the images, int64 [N], so that classes take turns evenly, the images of each in a random order."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, firsts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(firsts, counts)
    return by_class[np.argsort((rank + 0.5) / np.repeat(counts, counts), kind="stable")]


def reorder(images: Bytes, order: npt.NDArray[np.int64]) -> Bytes:
    """The images [N, H, W] in another order; row by row in place if they can be written to: no second copy."""
    if not images.flags.writeable:
        return images[order]
    for row in range(images.shape[1]):
        images[:, row] = images[order, row]
    return images
