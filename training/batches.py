"""The batches of a pass, made ahead by a thread, so that a step never waits for its images."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from data.augment import Distorter
from data.dataset import Subset, batches, pass_order
from model.image import ImageSpec, network_input
from model.recipes import Recipe

Item = TypeVar("Item")

_END = object()


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
        first: number of the batch to begin with, from 0.
        own: the images, of a batch of so many, that are made; all labels are given.

    Returns:
        Images [N, 1, S, S] float32 and labels [N] int64 of each batch; the last one may be smaller.
    """
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


@contextmanager
def prefetch(items: Iterator[Item], depth: int = 4) -> Iterator[Iterator[Item]]:
    """Yield an iterator over `items`, which a thread makes up to `depth` ahead; an error in making them is raised here.

    The thread ends with the block, also when the block leaves early.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    leaving = threading.Event()

    def make() -> None:
        try:
            for item in items:
                if not _put(item):
                    return
            _put(_END)
        except BaseException as error:  # handed over, to be raised where the items are used
            _put(_Failure(error))

    def _put(item: object) -> bool:
        while not leaving.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def take() -> Iterator[Item]:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        leaving.set()
        thread.join()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error
