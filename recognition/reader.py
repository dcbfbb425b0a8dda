"""Files, folders and standard input -> 28×28 pictures -> digits."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.image import network_input
from model.predictor import Predictor
from model.saved_model import SavedModel
from recognition.kind import PictureKind
from recognition.novelty import NoveltyDetector
from recognition.workers import Unread, Workers

CHUNK = 256  # pictures in memory at a time, each 28×28 bytes once it is read

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Answer:
    """The network's answer for one picture.

    Attributes:
        path: path as it was given.
        digits: labels with their probabilities, the most likely first.
        rejected: the most likely digit is less probable than `reject_below`.
        no_digit: the picture is unlike every digit (`recognition.novelty`); it may show something else.
    """

    path: str
    digits: Sequence[tuple[str, float]]
    rejected: bool
    no_digit: bool = False


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read.

    Attributes:
        path: path as it was given.
        error: the reason, in one line.
        no_digit: the picture itself is whole, but there is nothing in it.
    """

    path: str
    error: str
    no_digit: bool = False


def find_pictures(arguments: Iterable[str]) -> Iterator[str]:
    """Files as they are named, and every file under each folder, in order of name; hidden ones are skipped.

    Links are followed, and each folder is read once, whichever way leads to it. A folder that cannot be listed is
    yielded itself, so that reading it reports why.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT or not os.path.isdir(argument):  # noqa: PTH112  (a name may be no valid Path)
            yield argument
            continue
        yield from _files_under(argument)


def _files_under(top: str) -> Iterator[str]:
    """Files under a folder; a list instead of recursion, which ends at a depth of a thousand folders."""
    folders, seen = [top], set[tuple[int, int]]()
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                paths = sorted(entry.path for entry in entries if not entry.name.startswith("."))
        except OSError:
            yield folder
            continue
        inner = {path for path in paths if os.path.isdir(path)}  # noqa: PTH112
        yield from (path for path in paths if path not in inner)
        folders += sorted(inner, reverse=True)


def recognise(paths: Iterable[str], reader: DigitReader, workers: Workers) -> Iterator[Answer | Failure]:
    """Read the digit of each picture, in the order of `paths`, a chunk at a time.

    Args:
        paths: files, or "-" for standard input.
        reader: answers for the images.
        workers: decode the pictures.
    """
    remaining = iter(paths)
    in_hand: tuple[list[str], Iterator[np.ndarray | Unread]] | None = None
    while True:
        chunk = list(itertools.islice(remaining, CHUNK))
        # The workers begin with the next chunk before the network answers for this one.
        begun = (chunk, workers.read([source(path, workers.limits.max_bytes) for path in chunk]))
        if in_hand:
            yield from _answered(in_hand[0], list(in_hand[1]), reader)
        if not chunk:
            return
        in_hand = begun


def _answered(
    paths: Sequence[str], read: Sequence[np.ndarray | Unread], reader: DigitReader
) -> Iterator[Answer | Failure]:
    named = [(path, image) for path, image in zip(paths, read, strict=True) if isinstance(image, np.ndarray)]
    answers = iter(reader.answers([path for path, _ in named], [image for _, image in named]))
    for path, image in zip(paths, read, strict=True):
        yield Failure(path, image.why, image.blank) if isinstance(image, Unread) else next(answers)


class DigitReader:
    """A saved model that answers for images made like MNIST's; infer.py and the page both use it.

    Attributes:
        labels: the names of its classes.
        can_tell: it can tell pictures that hold no digit.
    """

    def __init__(self, model: SavedModel, predictor: Predictor, top_k: int = 3, reject_below: float = 0.0) -> None:
        """Create a reader.

        Args:
            model: the model that `predictor` runs; its card records the kind of pictures that it takes.
            predictor: computes the probabilities.
            top_k: digits in an answer, 1 to 10.
            reject_below: probability below which an answer counts as rejected.

        Raises:
            NoveltyError: the model's detector of pictures without a digit is of another release.
        """
        self.labels: Sequence[str] = model.card["labels"]
        self._image, self._kind = model.image, PictureKind.of_card(model.card)
        self._predictor, self._top_k, self._reject_below = predictor, top_k, reject_below
        self._novelty = NoveltyDetector.from_bytes(model.novelty) if model.novelty is not None else None
        self.can_tell = self._novelty is not None

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """The network's input, [N, 1, S, S] float32, of images [N, 28, 28] uint8 made like MNIST's."""
        return network_input(self._kind.apply(images), self._image)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probability of each digit, [N, 10], of images [N, 28, 28] uint8 made like MNIST's."""
        return self._predictor.calibrated(self.inputs(images))

    def no_digit(self, images: np.ndarray) -> np.ndarray:
        """True for each image [N, 28, 28] uint8 that is unlike every digit; [N] bool, all False unless `can_tell`."""
        return self._novelty.holds_no_digit(self._kind.apply(images)) if self._novelty else np.zeros(len(images), bool)

    def answers(self, paths: Sequence[str], images: Sequence[np.ndarray]) -> list[Answer]:
        """The answer for each image [28, 28] uint8."""
        if not images:
            return []
        stack = np.stack(images)
        return [
            self._answer(path, probabilities, bool(no_digit))
            for path, probabilities, no_digit in zip(
                paths, self.probabilities(stack), self.no_digit(stack), strict=True
            )
        ]

    def _answer(self, path: str, probabilities: np.ndarray, no_digit: bool) -> Answer:
        order = np.argsort(-probabilities, kind="stable")[: self._top_k]
        digits = [(self.labels[digit], float(probabilities[digit])) for digit in order]
        return Answer(path, digits, digits[0][1] < self._reject_below, no_digit)


def source(path: str, max_bytes: int) -> str | bytes:
    """Source for the workers: a path, or the bytes of standard input, up to one byte too many."""
    return sys.stdin.buffer.read(max_bytes + 1) if path == STANDARD_INPUT else path
