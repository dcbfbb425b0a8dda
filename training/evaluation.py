"""Scores: counts over all images, and a loss that is summed before it is divided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.dataset import Subset
from model.image import ImageSpec, network_input
from model.world import ALONE, World

EVALUATION_BATCH = 128  # images at a time; bounds the memory, whatever the size of the data set


class Scorer(Protocol):
    """An engine or a saved model, to be scored."""

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each digit's probability [N, 10] of images [N, 1, S, S] float32."""
        ...


@dataclass(frozen=True)
class Scores:
    """The score of a network on a set of images.

    Attributes:
        loss: mean negative log-probability of the right digit, nats per image.
        correct: right answers.
        total: images.
        answers: the digit given for each image, [total] uint8; uint16 for more than 256 classes.
        log_probabilities: of each digit for each image, natural logarithm, [total, classes] float32.
    """

    loss: float
    correct: int
    total: int
    answers: np.ndarray
    log_probabilities: np.ndarray

    @property
    def accuracy(self) -> float:
        """Fraction of right answers."""
        return self.correct / self.total

    @property
    def error(self) -> float:
        """Fraction of wrong answers, the Theano tutorial's zero-one loss."""
        return (self.total - self.correct) / self.total


def evaluate(
    scorer: Scorer,
    image: ImageSpec,
    subset: Subset,
    check: Callable[[], None] = lambda: None,
    *,
    world: World = ALONE,
) -> Scores:
    """Score every image of a set; it changes nothing.

    Args:
        scorer: an engine or a saved model.
        image: the picture that its network takes.
        subset: images and labels; at least one.
        check: called between batches; may raise to leave.
        world: processes that share the batches; each gets all scores.
    """
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
    return Scores(float(losses.sum()) / len(losses), correct, len(losses), answers, log_probabilities)
