"""The last answers of a function of images: kept, and never changed from outside."""

from __future__ import annotations

import numpy as np

from recognition.memory import MOST, remembering


def test_an_answer_is_computed_once_and_kept_as_it_was() -> None:
    asked: list[np.ndarray] = []

    def doubled(images: np.ndarray) -> np.ndarray:
        asked.append(images)
        return 2.0 * images

    function, images = remembering(doubled), np.arange(6, dtype=np.uint8).reshape(2, 3)
    function(images)[:] = 7
    images_again = np.asfortranarray(images)
    assert np.array_equal(function(images_again), 2 * images) and len(asked) == 1
    function(images.reshape(3, 2))
    function(images.astype(np.uint16))
    function(images[:0])
    assert [(each.shape, each.dtype) for each in asked] == [
        ((2, 3), np.uint8),
        ((3, 2), np.uint8),
        ((2, 3), np.uint16),
        ((0, 3), np.uint8),
    ]
    for number in range(MOST):
        function(np.full(1, number, np.uint8))
    function(images)
    assert len(asked) == 4 + MOST + 1
