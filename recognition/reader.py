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
from recognition.workers import Blank, Workers

CHUNK = 256  # pictures in memory at a time, each 28×28 bytes once it is read

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Answer:
    """What the network says of one picture.

    Attributes:
        path: as it was given.
        digits: the labels, likeliest first, with their probabilities.
        rejected: the likeliest is less probable than was asked for.
        no_digit: the picture is unlike every digit (`recognition.novelty`); it may show something else.
    """

    path: str
    digits: Sequence[tuple[str, float]]
    rejected: bool
    no_digit: bool = False


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read, and why, in one line.

    Attributes:
        path: as it was given.
        error: why.
        no_digit: the picture itself is whole, but there is nothing in it.
    """

    path: str
    error: str
    no_digit: bool = False

    @classmethod
    def told(cls, path: str, why: str) -> Failure:
        """From what a worker said."""
        return cls(path, str(why), isinstance(why, Blank))


def find_pictures(arguments: Iterable[str]) -> Iterator[str]:
    """Files as they are named, and every file under each folder, in order of name; hidden ones are passed over.

    Links are followed, and each folder is read once, whichever way leads to it. A folder that cannot be listed is
    yielded itself, so that reading it says why.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT or not os.path.isdir(argument):  # noqa: PTH112  (a name may be no valid Path)
            yield argument
            continue
        yield from _files_under(argument)


def _files_under(top: str) -> Iterator[str]:
    """See `find_pictures`; a list instead of recursion, which ends at a depth of a thousand folders."""
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
    """Read each picture and say which digit it shows; in the order of `paths`, a chunk at a time.

    Args:
        paths: files, or "-" for standard input.
        reader: says what they show.
        workers: read the pictures.
    """
    remaining = iter(paths)
    in_hand: tuple[list[str], Iterator[np.ndarray | str]] | None = None
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
    paths: Sequence[str], read: Sequence[np.ndarray | str], reader: DigitReader
) -> Iterator[Answer | Failure]:
    named = [(path, image) for path, image in zip(paths, read, strict=True) if isinstance(image, np.ndarray)]
    answers = iter(reader.answers([path for path, _ in named], [image for _, image in named]))
    for path, image in zip(paths, read, strict=True):
        yield Failure.told(path, image) if isinstance(image, str) else next(answers)


class DigitReader:
    """What a saved model says of images that are made like MNIST's."""

    def __init__(self, model: SavedModel, predictor: Predictor, top_k: int = 3, reject_below: float = 0.0) -> None:
        """Say how it is to answer.

        Args:
            model: what `predictor` runs; its card says which picture it takes.
            predictor: computes the probabilities.
            top_k: digits in an answer, 1 to 10.
            reject_below: probability under which an answer counts as rejected.

        Raises:
            NoveltyError: what the model has to tell pictures without a digit is of another release.
        """
        self._labels, self._input = model.card["labels"], model.input
        self._kind = PictureKind.of_card(model.card)
        self._predictor, self._top_k, self._reject_below = predictor, top_k, reject_below
        self._novelty = NoveltyDetector.from_bytes(model.novelty) if model.novelty is not None else None

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probability of each digit, [N, 10], of [N, 28, 28] uint8 made like MNIST's."""
        return self._probabilities(self._kind.apply(images))

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        spec = self._input
        inputs = network_input(images, size=spec["shape"][-1], low=spec["low"], high=spec["high"], fit=spec["fit"])
        return self._predictor.calibrated(inputs)

    def answers(self, paths: Sequence[str], images: Sequence[np.ndarray]) -> list[Answer]:
        """What is to be said of each image [28, 28] uint8."""
        if not images:
            return []
        stack = self._kind.apply(np.stack(images))
        unlike = self._novelty.holds_no_digit(stack) if self._novelty else np.zeros(len(stack), bool)
        return [
            self._answer(path, probabilities, bool(no_digit))
            for path, probabilities, no_digit in zip(paths, self._probabilities(stack), unlike, strict=True)
        ]

    def _answer(self, path: str, probabilities: np.ndarray, no_digit: bool) -> Answer:
        order = np.argsort(-probabilities, kind="stable")[: self._top_k]
        digits = [(self._labels[digit], float(probabilities[digit])) for digit in order]
        return Answer(path, digits, digits[0][1] < self._reject_below, no_digit)


def source(path: str, max_bytes: int) -> str | bytes:
    """What the workers are given: a path, or what standard input holds, up to one byte too much."""
    return sys.stdin.buffer.read(max_bytes + 1) if path == STANDARD_INPUT else path
