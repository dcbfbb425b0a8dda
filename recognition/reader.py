"""Files, folders and standard input -> 28×28 pictures -> digits."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mnist.picture import Limits, read_picture, to_mnist

from common.errors import UserError, one_line
from mnist.dataset import network_input
from model.inference import Predictor, SavedModel

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
    limits: Limits,
    top_k: int = 3,
    reject_below: float = 0.0,
) -> Iterator[Answer | Failure]:
    """Read each picture and say which digit it shows; in the order of `paths`, a chunk at a time.

    Args:
        paths: files, or "-" for standard input.
        model: what `predictor` runs; its card says which picture the network takes.
        predictor: the network.
        limits: beyond which a picture is refused.
        top_k: digits in an answer, 1 to 10.
        reject_below: probability under which an answer counts as rejected.
    """
    picture, labels = model.input, model.card["labels"]
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        remaining = iter(paths)
        while chunk := list(itertools.islice(remaining, CHUNK)):
            read = list(pool.map(lambda path: _read(path, limits), chunk))
            images = [image for image in read if isinstance(image, np.ndarray)]
            answers = iter(())
            if images:
                inputs = network_input(
                    np.stack(images),
                    size=picture["shape"][-1],
                    low=picture["low"],
                    high=picture["high"],
                    fit=picture["fit"],
                )
                answers = iter(predictor.probabilities(inputs))
            for path, image in zip(chunk, read, strict=True):
                if isinstance(image, str):
                    yield Failure(path, image)
                    continue
                probabilities = next(answers)
                order = np.argsort(-probabilities, kind="stable")[:top_k]
                digits = [(labels[digit], float(probabilities[digit])) for digit in order]
                yield Answer(path, digits, rejected=digits[0][1] < reject_below)


def _read(path: str, limits: Limits) -> np.ndarray | str:
    """The picture as MNIST would have it, [28, 28] uint8; or why it cannot be had."""
    try:
        source: bytes | Path = Path(path)
        if path == STANDARD_INPUT:
            source = sys.stdin.buffer.read(limits.max_bytes + 1)
        return to_mnist(read_picture(source, limits))
    except UserError as error:
        return one_line(error)
    except OSError as error:
        return one_line(error.strerror or error)
