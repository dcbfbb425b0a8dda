"""The score of a saved model on a labelled data set: counts by class, confidence, and the surest wrong answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from common.errors import UserError, one_line
from model.calibration import Confidences, expected_calibration_error, tempered
from model.image import network_input
from model.saved_model import SavedModel
from results.significance import wilson_interval

BATCH = 1024  # images that are counted at a time

MOST_WRONG = 40  # wrong answers that are kept with their images: a contact sheet of 5 rows


@dataclass(frozen=True)
class WrongAnswer:
    """An image that was read wrong.

    Attributes:
        number: its place in the data set, from 0.
        image: [28, 28] uint8.
        label: its class.
        probabilities: [classes], calibrated.
    """

    number: int
    image: np.ndarray
    label: int
    probabilities: np.ndarray

    @property
    def confidence(self) -> float:
        """Probability of the wrong answer."""
        return float(self.probabilities.max())


def surest(wrong: Iterable[WrongAnswer]) -> list[WrongAnswer]:
    """The `MOST_WRONG` surest wrong answers, the surest first; equally sure ones in the order of the data set."""
    return sorted(wrong, key=lambda each: (-each.confidence, each.number))[:MOST_WRONG]


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one class, fractions; None if there is nothing to divide by."""

    label: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass
class Evaluation:
    """Score of a model; grows batch by batch, by a few bytes an image.

    Attributes:
        labels: names of the classes.
        confusion: [classes, classes] int64; row: true class, column: answer.
        wrong: the surest wrong answers, at most `MOST_WRONG`, the surest first.
        left_out: pictures of the data set that could not be prepared for the model.
    """

    labels: Sequence[str]
    confusion: np.ndarray = field(init=False)
    wrong: list[WrongAnswer] = field(default_factory=list)
    left_out: int = 0
    _numbers: list[np.ndarray] = field(default_factory=list)
    _loss: float = 0.0
    _right: list[np.ndarray] = field(default_factory=list)
    _confidence: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.confusion = np.zeros((len(self.labels), len(self.labels)), np.int64)

    def add(
        self,
        images: np.ndarray,
        truth: np.ndarray,
        numbers: np.ndarray,
        log_probabilities: np.ndarray,
        probabilities: np.ndarray,
    ) -> None:
        """Count a batch.

        Args:
            images: [N, 28, 28] uint8.
            truth: [N], the right classes.
            numbers: [N], the images' places in the data set, ascending from batch to batch.
            log_probabilities: [N, classes] of the network, natural logarithm.
            probabilities: [N, classes], calibrated.
        """
        answers = log_probabilities.argmax(axis=1)
        np.add.at(self.confusion, (truth, answers), 1)
        self._loss -= float(log_probabilities[np.arange(len(truth)), truth].astype(np.float64).sum())
        self._numbers.append(numbers.astype(np.uint32))
        self._right.append(answers == truth)
        self._confidence.append(probabilities.max(axis=1).astype(np.float32))
        missed = (
            WrongAnswer(int(numbers[place]), images[place].copy(), int(truth[place]), probabilities[place].copy())
            for place in np.flatnonzero(answers != truth)
        )
        self.wrong = surest([*self.wrong, *missed])

    @property
    def total(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Number of right answers."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Fraction of right answers."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy, fractions."""
        return wilson_interval(self.correct, self.total)

    @property
    def loss(self) -> float:
        """Mean negative log-probability of the right class by the network, nats per image."""
        return self._loss / self.total

    @property
    def right(self) -> np.ndarray:
        """True for each image that was read right, [total] bool, in the order of the data set."""
        return np.concatenate(self._right)

    @property
    def numbers(self) -> np.ndarray:
        """Places of the images in the data set, [total] uint32, ascending."""
        return np.concatenate(self._numbers)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the calibrated probabilities, a fraction (Guo et al. 2017)."""
        return expected_calibration_error(Confidences(np.concatenate(self._confidence).astype(float), self.right))

    def classes(self) -> Iterable[ClassScore]:
        """One score per class that the data or the answers hold."""
        right, true, answered = np.diag(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        for number, label in enumerate(self.labels):
            if true[number] or answered[number]:
                yield ClassScore(
                    label,
                    int(true[number]),
                    _share(right[number], answered[number]),
                    _share(right[number], true[number]),
                    _share(2 * right[number], true[number] + answered[number]),
                )


class Network(Protocol):
    """A saved model that runs (`model.predictor.Predictor`)."""

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each class's probability, [N, classes], of images [N, 1, S, S] float32."""
        ...


class Evaluator:
    """Evaluates a saved model on images that come piece by piece.

    Attributes:
        model: it.
        evaluation: of the images so far.
    """

    def __init__(
        self, model: SavedModel, network: Network, classes: Sequence[str], truth: Iterable[np.ndarray]
    ) -> None:
        """Begin an evaluation.

        Args:
            model: what `network` runs.
            network: answers.
            classes: names of the data set's classes; the model may have more, in another order.
            truth: the right classes of all images to come, each a place in `classes`; one array or more.

        Raises:
            UserError: the data set has a class that the model does not know, or no image.
        """
        labels = list(model.card["labels"])
        present = [classes[number] for number in sorted({int(label) for part in truth for label in np.unique(part)})]
        if unknown := [name for name in present if name not in labels]:
            raise UserError(
                f"{one_line(model.folder)}: expected a model of the classes of the data, but it does not know "
                f"{one_line(', '.join(unknown), 100)}; it knows {one_line(', '.join(labels), 100)}"
            )
        if not present:
            raise UserError("expected images to score, got none; name another --part")
        self.evaluation = Evaluation(labels)
        self.model, self._network = model, network
        self._places = np.array([labels.index(name) if name in labels else -1 for name in classes])

    def add(self, images: np.ndarray, truth: np.ndarray, numbers: np.ndarray) -> None:
        """Evaluate some images.

        Args:
            images: [N, 28, 28] uint8.
            truth: [N], the right classes, each a place in `classes`.
            numbers: [N], the images' places in the data set, ascending from call to call.
        """
        for start in range(0, len(truth), BATCH):
            batch = slice(start, start + BATCH)
            log_probabilities = self._network.log_probabilities(network_input(images[batch], self.model.image))
            probabilities = tempered(log_probabilities, self.model.temperature)
            right = self._places[truth[batch]]
            self.evaluation.add(images[batch], right, numbers[batch], log_probabilities, probabilities)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
