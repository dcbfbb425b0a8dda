"""Doubts about a data set: what would train in silence to a model that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from common.errors import one_line
from data.dataset import Mnist, Subset
from model.recipes import Recipe
from recognition.kind import NARROW, Images, PictureKind
from training.settings import Settings

MOST_DUPLICATES = 0.01  # of the training images; MNIST has none
MOST_NAMES = 120  # characters of names of classes in a line
RARE = 20  # times fewer images than the most frequent class has: reported as rare


def doubts(data: Mnist, training: Subset, validation: Subset, kind: PictureKind | None) -> Iterator[str]:
    """One line for each thing that is implausible in a data set and its split, with counts.

    Args:
        data: all images.
        training: those to train on.
        validation: those held out.
        kind: what the training images look like; None if nothing is in them.
    """
    yield from _values(data)
    yield from _constant(data)
    yield from _classes(data, training, validation)
    yield from _duplicates(data)
    tested = PictureKind.measure(data.test_images)
    if kind and tested and kind.differs(tested):
        yield f"test images: {tested.describe()}, but the training images have {kind.describe()}; scores may be wrong"
    if kind is None or kind.sizes_vary:
        yield (
            f"training images: {kind.describe() if kind else 'nothing is in them'}; pictures are framed as MNIST's "
            "when they are read, which may be wrong"
        )


def size_notes(settings: Settings, recipe: Recipe, training: int, validation: int) -> Iterator[str]:
    """One line for each size that does not fit a small data set, with what helps.

    Args:
        settings: as the user gave them.
        recipe: as it is used.
        training: number of images to train on.
        validation: number of those held out.
    """
    if recipe.validation_size != settings.resolved_recipe().validation_size and settings.validation_size is None:
        yield f"validation images: {validation} of {training + validation}, a fifth, as the set is small"
    elif settings.validation_size is None and validation > training:
        yield f"validation images: {validation}, more than the {training} to train on; try --validation-size 0.2"
    if recipe.batch_size > training:
        yield (
            f"--batch-size {recipe.batch_size}: more than the {training} training images, so that a pass is one step; "
            "try --batch-size 8 --passes 50"
        )


def kind_note(kind: PictureKind | None) -> Iterator[str]:
    """A line for training images that are not like MNIST's, which is no fault."""
    if kind and not kind.is_mnist and not kind.sizes_vary:
        yield f"training images: {kind.describe()}; recorded in card.json, and pictures are made alike when read"


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


def _fingerprints(images: Images) -> list[int]:
    return [hash(image.tobytes()) for image in images]
