"""Scores: counts over all images, and a loss that is summed before it is divided."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data.dataset import Subset
from model.image import ImageSpec, network_input
from model.world import ALONE, World
from training.rows import RowSet, evaluate_rows
from training.scores import Scorer, Scores

EVALUATION_BATCH = 128  # images at a time; bounds the memory, whatever the size of the data set


def evaluate(
    scorer: Scorer,
    image: ImageSpec,
    subset: Subset | RowSet,
    check: Callable[[], None] = lambda: None,
    *,
    world: World = ALONE,
) -> Scores:
    """Score every image of a set; it changes nothing.

    Args:
        scorer: an engine or a saved model.
        image: the picture that its network takes.
        subset: images and labels, or rows; at least one.
        check: called between batches; may raise to leave.
        world: processes that share the batches; each gets all scores.
    """
    if isinstance(subset, RowSet):
        return evaluate_rows(scorer, image, subset, check)
    log_probabilities: np.ndarray = np.zeros(0, np.float32)
    for number, start in enumerate(range(0, len(subset.labels), EVALUATION_BATCH)):
        batch = slice(start, start + EVALUATION_BATCH)
        check()
        if number % world.size != world.rank:
            continue
        images = network_input(subset.images[batch], image)
        found = scorer.log_probabilities(images)
        if not log_probabilities.size:
            log_probabilities = np.zeros((len(subset.labels), found.shape[1]), np.float32)
        log_probabilities[batch] = found
    log_probabilities = world.sum(log_probabilities)
    losses = -log_probabilities[np.arange(len(subset.labels)), subset.labels].astype(np.float64)
    answers = log_probabilities.argmax(axis=1).astype(np.uint8 if log_probabilities.shape[1] <= 256 else np.uint16)
    correct = int(np.count_nonzero(answers == subset.labels))
    return Scores(float(losses.sum()) / len(losses), correct, len(losses), answers, log_probabilities, subset.labels)
