"""The score of a network, and what can be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Scorer(Protocol):
    """An engine or a saved model, to be scored."""

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each digit's probability [N, 10] of images [N, 1, S, S]; of rows [N, T, 11]."""
        ...


@dataclass(frozen=True)
class Scores:
    """The score of a network on a set of images, or of rows of digits.

    Attributes:
        loss: mean negative log-probability of the right digit, nats per image.
        correct: right answers.
        total: images.
        answers: the digit given for each image, [total] uint8; uint16 for more than 256 classes; of rows, their digits,
            [total, 16], 255 behind the last.
        log_probabilities: of each digit for each image, natural logarithm, [total, classes] float32; of rows, for each
            digit that was read, [digits, classes + 1].
        labels: the right classes, as many as log-probabilities.
        digit_error: of rows, digits to change, leave out or add for each right one; None for single digits.
    """

    loss: float
    correct: int
    total: int
    answers: np.ndarray
    log_probabilities: np.ndarray
    labels: np.ndarray
    digit_error: float | None = None

    @property
    def accuracy(self) -> float:
        """Fraction of right answers."""
        return self.correct / self.total

    @property
    def error(self) -> float:
        """Fraction of wrong answers, the Theano tutorial's zero-one loss."""
        return (self.total - self.correct) / self.total
