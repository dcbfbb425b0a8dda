"""Digits of shapes that MNIST lacks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from data.dataset import Mnist
from data.row_shapes import CROSSED, LINE, MIRRORED, SHARES, UPSTROKE, reshape

SHAPES = {
    "upstroke": (1, UPSTROKE / 2),
    "line": (1, (UPSTROKE + LINE) / 2),
    "long upstroke": (1, (LINE + SHARES[1]) / 2),
    "open four": (4, SHARES[4] / 2),
    "crossed seven": (7, CROSSED / 2),
    "short seven": (7, (CROSSED + SHARES[7]) / 2),
    "nine like a P": (9, MIRRORED / 2),
    "loop and stem": (9, (MIRRORED + SHARES[9]) / 2),
    "tailed nought": (0, SHARES[0] / 2),
    "looped two": (2, SHARES[2] / 2),
    "five like a root": (5, SHARES[5] / 2),
}


def reshaped(mnist: Mnist, name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """A digit, and ten with another shape of it."""
    label, first = SHAPES[name]
    own = mnist.train_images[mnist.train_labels == label][0].astype(np.float32) / 255
    others = []
    for shares in np.random.default_rng(1).random((10, 5)):
        image = own.copy()
        reshape(image, label, np.array([first, *shares[1:]]))
        others.append(image)
    return own, others


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_one_piece_of_ink_unlike_the_digit(name: str, mnist: Mnist) -> None:
    own, others = reshaped(mnist, name)
    for image in others:
        assert not np.array_equal(image, own)
        assert image.min() >= 0 and image.max() <= 1
        assert scipy.ndimage.label(image > 0.4, np.ones((3, 3)))[1] == 1
        rows = np.flatnonzero((image > 0.4).any(axis=1))
        assert 16 <= np.ptp(rows) <= 24, "as high as MNIST's digits"


def test_strokes_are_where_the_shapes_have_them(mnist: Mnist) -> None:
    """A straight 1 has one stroke in its middle line, one with a long upstroke two; a 7 like a t has a cross."""
    for name, strokes in (("line", 1), ("long upstroke", 2)):
        images = reshaped(mnist, name)[1]
        most = [max(scipy.ndimage.label(line > 0.4)[1] for line in image) for image in images]
        assert most == [strokes] * len(images)
    inked = (np.mean(reshaped(mnist, "short seven")[1], axis=0) > 0.3).sum(axis=1)
    assert inked[11:15].max() > inked[6:9].max()
    assert np.mean([_rings(image) for image in reshaped(mnist, "looped two")[1]]) > 0.7
    nought, others = reshaped(mnist, "tailed nought")
    longer = [np.flatnonzero((image > nought + 0.4).any(axis=1)) for image in others]
    assert max(rows.max() for rows in longer) < 15, "strokes go on from the upper half"
    root = np.mean(reshaped(mnist, "five like a root")[1], axis=0)
    assert root[:8, 18:].max() > 0.5 > root[12:, 18:].max(), "a bar to the right at the top, and no belly"
    own, others = reshaped(mnist, "nine like a P")
    assert np.array_equal(others[0], own[:, ::-1])


def _rings(image: np.ndarray) -> int:
    """Number of closed loops."""
    return int(scipy.ndimage.label(image <= 0.4)[1]) - 1
