"""Files, folders and standard input -> 28×28 pictures -> digits."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mnist.dataset import network_input
from model.inference import Predictor, SavedModel
from recognition.workers import Workers

CHUNK = 256  # pictures in memory at a time, each 28×28 bytes once it is read

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Answer:
    """What the network says of one picture.

    Attributes:
        path: as it was given.
        digits: the labels, likeliest first, with their probabilities.
        rejected: the likeliest is less probable than was asked for.
    """

    path: str
    digits: Sequence[tuple[str, float]]
    rejected: bool


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read, and why, in one line."""

    path: str
    error: str


def find_pictures(arguments: Iterable[str]) -> Iterator[str]:
    """Files as they are named, and every file under each folder, in order of name; hidden ones are passed over.

    A folder that cannot be listed is yielded itself, so that reading it says why.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT or not os.path.isdir(argument):  # noqa: PTH112  (a name may be no valid Path)
            yield argument
            continue
        unlisted: list[OSError] = []
        for folder, folders, names in os.walk(argument, onerror=unlisted.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (os.path.join(folder, name) for name in sorted(names) if not name.startswith("."))  # noqa: PTH118
        yield from (str(error.filename) for error in unlisted)


def recognise(
    paths: Iterable[str],
    model: SavedModel,
    predictor: Predictor,
    workers: Workers,
    top_k: int = 3,
    reject_below: float = 0.0,
) -> Iterator[Answer | Failure]:
    """Read each picture and say which digit it shows; in the order of `paths`, a chunk at a time.

    Args:
        paths: files, or "-" for standard input.
        model: what `predictor` runs; its card says which picture the network takes.
        predictor: the network.
        workers: read the pictures.
        top_k: digits in an answer, 1 to 10.
        reject_below: probability under which an answer counts as rejected.
    """
    remaining = iter(paths)
    in_hand: tuple[list[str], Iterator[np.ndarray | str]] | None = None
    while True:
        chunk = list(itertools.islice(remaining, CHUNK))
        # The workers begin with the next chunk before the network answers for this one.
        begun = (chunk, workers.read([_source(path, workers.limits.max_bytes) for path in chunk]))
        if in_hand:
            for path, picture in zip(in_hand[0], _answered(list(in_hand[1]), model, predictor), strict=True):
                if isinstance(picture, str):
                    yield Failure(path, picture)
                else:
                    order = np.argsort(-picture, kind="stable")[:top_k]
                    digits = [(model.card["labels"][digit], float(picture[digit])) for digit in order]
                    yield Answer(path, digits, rejected=digits[0][1] < reject_below)
        if not chunk:
            return
        in_hand = begun


def _answered(read: list[np.ndarray | str], model: SavedModel, predictor: Predictor) -> Iterator[np.ndarray | str]:
    """Probabilities [10] for each picture [28, 28]; why there are none stays as it is."""
    images = [image for image in read if isinstance(image, np.ndarray)]
    spec = model.input
    probabilities: Iterator[np.ndarray] = iter(())
    if images:
        inputs = network_input(
            np.stack(images), size=spec["shape"][-1], low=spec["low"], high=spec["high"], fit=spec["fit"]
        )
        probabilities = iter(predictor.probabilities(inputs))
    return (image if isinstance(image, str) else next(probabilities) for image in read)


def _source(path: str, max_bytes: int) -> str | bytes:
    """What the workers are given: a path, or what standard input holds, up to one byte too much."""
    return sys.stdin.buffer.read(max_bytes + 1) if path == STANDARD_INPUT else path
