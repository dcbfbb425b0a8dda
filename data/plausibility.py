"""Doubts about a data set: what would train in silence to a model that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from common.errors import one_line
from data.dataset import Mnist, Subset
from data.formats.idx import Bytes

NARROW = 64  # grey levels between the faintest and the brightest pixel, below which the range is implausible
MOST_DUPLICATES = 0.01  # of the training images; MNIST has none
MOST_NAMES = 120  # characters of names of classes in a line
RARE = 20  # times fewer images than the most frequent class has: reported as rare


def doubts(data: Mnist, training: Subset, validation: Subset) -> Iterator[str]:
    """One line for each thing that is implausible in a data set and its split, with counts.

    Args:
        data: all images.
        training: those to train on.
        validation: those held out.
    """
    yield from _values(data)
    yield from _constant(data)
    yield from _classes(data, training, validation)
    yield from _duplicates(data)


def _values(data: Mnist) -> Iterator[str]:
    for name, images in (("training", data.train_images), ("test", data.test_images)):
        lowest, highest = (int(images.min()), int(images.max())) if images.size else (0, 255)
        if highest - lowest < NARROW:
            yield (
                f"{name} images: expected pixels of 0 to 255, got {lowest} to {highest}; "
                "scale them to bytes, 255 for full ink"
            )


def _constant(data: Mnist) -> Iterator[str]:
    for name, images in (("training", data.train_images), ("test", data.test_images)):
        pixels = images.reshape(len(images), -1)
        count = int(np.count_nonzero(pixels.min(axis=1) == pixels.max(axis=1))) if pixels.size else 0
        if count:
            yield f"{name} images: {count} of {len(images)} are of one grey level and show nothing"


def _classes(data: Mnist, training: Subset, validation: Subset) -> Iterator[str]:
    everywhere = np.bincount(np.concatenate([data.train_labels, data.test_labels]), minlength=len(data.classes))
    parts = [("training", training), ("validation", validation), ("test", Subset(data.test_images, data.test_labels))]
    for name, part in parts:
        counts = np.bincount(part.labels, minlength=len(data.classes))
        missing = _names(data.classes[label] for label in np.flatnonzero((counts == 0) & (everywhere > 0)))
        if missing and len(part):
            elsewhere = int(everywhere[counts == 0].sum())
            yield (
                f"{name} images: none of the {len(part)} is of class {missing}, though the data set has "
                f"{elsewhere} of these; shuffle the images, or choose another --validation-size"
            )
    if np.count_nonzero(everywhere) == 1:
        only = data.classes[int(everywhere.argmax())]
        yield f"labels: all {int(everywhere.sum())} are {only}; nothing can be learned"
    counts = np.bincount(training.labels, minlength=len(data.classes))
    few = [label for label, count in enumerate(counts) if 0 < count * RARE < counts.max()]
    rare = _names(f"{data.classes[label]} ({counts[label]})" for label in few)
    if rare:
        yield f"training images: few of class {rare}; the most frequent has {int(counts.max())}"


def _names(names: Iterable[str]) -> str:
    return one_line(", ".join(names), MOST_NAMES)


def _duplicates(data: Mnist) -> Iterator[str]:
    training, test = (_fingerprints(images) for images in (data.train_images, data.test_images))
    repeated = len(training) - len(set(training))
    if repeated > MOST_DUPLICATES * len(training):
        yield f"training images: {repeated} of {len(training)} repeat another, byte for byte"
    known = set(training)
    shared = sum(each in known for each in test)
    if shared:
        yield f"test images: {shared} of {len(test)} are training images too; scores on them prove nothing"


def _fingerprints(images: Bytes) -> list[int]:
    return [hash(image.tobytes()) for image in images]
