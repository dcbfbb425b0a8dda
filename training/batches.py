"""The batches of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from data.augment import Distorter
from data.dataset import Subset, batches, pass_order
from data.row_sets import rows_in_pass
from data.rows import RowMaker, row_batches
from model.image import ImageSpec, network_input
from model.recipes import Recipe


def pass_batches(
    training: Subset,
    image: ImageSpec,
    recipe: Recipe,
    seed: int,
    pass_number: int,
    first: int = 0,
    own: Callable[[int], slice] = slice,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of a pass, a pure function of the arguments.

    Args:
        training: images and labels to train on.
        image: the picture that the network takes.
        recipe: for batch size, order and distortions.
        seed: of the run.
        pass_number: from 1.
        first: number of the first batch to make, from 0.
        own: from the size of a batch, the slice of its images that this process makes; labels are always whole.

    Returns:
        Images [N, 1, S, S] float32 and labels [N] int64 of each batch; the last one may be smaller. For a network that
        reads rows, rows [N, 1, 32, W] made of the images, and labels [N, 11], -1 behind the last digit.
    """
    if image.is_row:
        yield from _row_batches(training, image, recipe, seed, pass_number, first)
        return
    count = len(training.labels)
    order = pass_order(count, seed, pass_number, recipe.shuffle_buffer)
    distort = None
    if recipe.distortions:
        distort = Distorter(recipe.distortions, seed, pass_number, count)
    for number, chosen in enumerate(batches(order, recipe.batch_size)):
        if number >= first:
            made = chosen[own(len(chosen))]
            picked = training.images[made]
            if distort:
                picked = distort(picked, made)
            yield network_input(picked, image), training.labels[chosen].astype(np.int64)


def _row_batches(
    digits: Subset, image: ImageSpec, recipe: Recipe, seed: int, pass_number: int, first: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of a pass; arguments and result as of `pass_batches`."""
    maker = RowMaker(digits.images, digits.labels, seed, pass_number)
    for images, labels in row_batches(maker, rows_in_pass(len(digits)), recipe.batch_size, first):
        yield network_input(images, image), labels
