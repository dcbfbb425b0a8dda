"""Scores: counts over all images or rows of a set, and a loss that is summed before it is divided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.dataset import Subset
from data.row_sets import RowSet
from data.rows import batch
from model.decoding import NONE, aligned, greedy, losses
from model.image import ImageSpec, network_input
from model.world import ALONE, World

IMAGES_AT_A_TIME = 128  # bounds the memory, whatever the size of the data set
ROWS_AT_A_TIME = 32
LONGEST_ANSWER = 16  # digits of an answer that are kept; training rows have at most 11
UNREAD = 255  # behind the last digit of an answer


class Scorer(Protocol):
    """An engine or a saved model, to be scored."""

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each class's probability [N, classes] of images [N, 1, S, S]; of rows [N, T, 11]."""
        ...


@dataclass(frozen=True)
class Scores:
    """The score of a network on a set of images, or of rows of digits.

    Attributes:
        loss: mean negative log-probability of the right class, nats per image.
        correct: right answers.
        total: images.
        answers: the class given for each image, [total] uint8; uint16 for more than 256 classes; of rows, their digits,
            [total, 16], 255 behind the last.
        log_probabilities: of each class for each image, natural logarithm, [total, classes] float32; of rows, for each
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
        return _evaluate_rows(scorer, image, subset, check)
    log_probabilities: np.ndarray = np.zeros(0, np.float32)
    for number, start in enumerate(range(0, len(subset.labels), IMAGES_AT_A_TIME)):
        batch = slice(start, start + IMAGES_AT_A_TIME)
        check()
        if number % world.size != world.rank:
            continue
        images = network_input(subset.images[batch], image)
        found = scorer.log_probabilities(images)
        if not log_probabilities.size:
            log_probabilities = np.zeros((len(subset.labels), found.shape[1]), np.float32)
        log_probabilities[batch] = found
    if not log_probabilities.size:  # there are fewer batches than processes
        classes = scorer.log_probabilities(network_input(subset.images[:1], image)).shape[1]
        log_probabilities = np.zeros((len(subset.labels), classes), np.float32)
    log_probabilities = world.sum(log_probabilities)
    losses = -log_probabilities[np.arange(len(subset.labels)), subset.labels].astype(np.float64)
    answers = log_probabilities.argmax(axis=1).astype(np.uint8 if log_probabilities.shape[1] <= 256 else np.uint16)
    correct = int(np.count_nonzero(answers == subset.labels))
    return Scores(float(losses.sum()) / len(losses), correct, len(losses), answers, log_probabilities, subset.labels)


def _evaluate_rows(
    scorer: Scorer,
    image: ImageSpec,
    rows: RowSet,
    check: Callable[[], None] = lambda: None,
) -> Scores:
    """Score every row of a set; arguments as of `evaluate`.

    A row is right if all its digits are read, and nothing else. Each digit that was read gives its log-probabilities
    and its label, which is `NONE` for a digit that is not there. So does the likeliest place of a digit in a row of
    which nothing was read.
    """
    order = np.argsort([row.shape[1] for row in rows.images], kind="stable")
    answers = np.full((len(rows), LONGEST_ANSWER), UNREAD, np.uint8)
    loss, distances = np.zeros(len(rows)), np.zeros(len(rows), int)
    places: list[tuple[np.ndarray, int]] = []
    for start in range(0, len(order), ROWS_AT_A_TIME):
        check()
        chosen = order[start : start + ROWS_AT_A_TIME]
        images, _ = batch([rows.images[each] for each in chosen], [()] * len(chosen))
        log_probability = scorer.log_probabilities(network_input(images, image))
        loss[chosen] = losses(log_probability, rows.labels[chosen])
        for each, columns in zip(chosen, log_probability, strict=True):
            spans, wanted = greedy(columns), rows.labels[each][rows.labels[each] >= 0].tolist()
            read = [span.digit for span in spans]
            answers[each, : len(read)] = read[:LONGEST_ANSWER]
            distances[each], labels = aligned(read, wanted)
            places += zip([span.log_probability for span in spans], labels, strict=True)
            if not spans:
                places.append((columns[columns[:, NONE].argmin()], wanted[0] if wanted else NONE))
    return Scores(
        loss=float(loss.mean()),
        correct=int(np.count_nonzero(distances == 0)),
        total=len(rows),
        answers=answers,
        log_probabilities=np.stack([place for place, _ in places]),
        labels=np.array([label for _, label in places]),
        digit_error=int(distances.sum()) / max(int((rows.labels >= 0).sum()), 1),
    )


def right_answers(subset: Subset | RowSet) -> np.ndarray:
    """Labels of a set in the form of `Scores.answers`."""
    if isinstance(subset, Subset):
        return subset.labels
    answers = np.full((len(subset), LONGEST_ANSWER), UNREAD, np.uint8)
    width = subset.labels.shape[1]
    answers[:, :width] = np.where(subset.labels < 0, UNREAD, subset.labels)
    return answers
