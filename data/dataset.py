"""A labelled data set such as MNIST: its images and labels, held out for validation, ordered, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from common.errors import UsageError
from data import sources
from data.formats.idx import Bytes

if TYPE_CHECKING:
    from rich.console import Console

    from data.formats.pictures import Way

Order = npt.NDArray[np.int64]

DIGITS = tuple(map(str, range(10)))  # MNIST's classes


@dataclass(frozen=True)
class Mnist:
    """A labelled data set, MNIST or another with images of its size; its arrays cannot be written to.

    Attributes:
        train_images: uint8 [N, 28, 28], 0 background to 255 ink; MNIST has 60,000.
        train_labels: uint8 [N], 0 to classes - 1; uint16 for more than 256 classes.
        test_images: uint8 [M, 28, 28]; MNIST has 10,000.
        test_labels: [M], as train_labels.
        sums: SHA-256 of each of the four as an uncompressed IDX file, by the file's name.
        source: the file or folder it was read from.
        classes: names of the classes, 2 to 1,000, in the order of the labels.
        format: the format that it was read as, in words.
        split: of a set whose files have no test part: `share`, `seed`, `sha256` of the list of test files, and
            `content`, that of the first files; else empty.
        prepare: the way in which a model of the set prepares the pictures that it reads.
        prepared: the way in which the set's own pictures became its images; None if it holds images.
        validation: number of the last training images that the set itself keeps apart for validation; 0 if it does not.
    """

    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    sums: dict[str, str]
    source: str
    classes: tuple[str, ...] = DIGITS
    format: str = "IDX by MNIST's names"
    split: Mapping[str, float | int | str] = field(default_factory=dict)
    prepare: Way = "digit"
    prepared: Way | None = None
    validation: int = 0

    @property
    def cut(self) -> bool:
        """The images were cut out of pictures as digits."""
        return self.prepared == "digit"


@dataclass(frozen=True)
class Subset:
    """Some of the images, uint8 [N, 28, 28], and their labels, uint8 [N]."""

    images: Bytes
    labels: Bytes

    def __len__(self) -> int:
        return len(self.labels)


def load_mnist(data_dir: Path | None = None, console: Console | None = None) -> Mnist:
    """Load MNIST from where it is found or can be fetched (`data.sources`), or another data set of its format.

    Args:
        data_dir: a folder with the four files, which need not hold MNIST itself; None to look in the usual places.
        console: where to draw progress bars; None for silence.

    Raises:
        DataError: no usable data; the message lists what was tried.
        OSError: a file in `data_dir` cannot be read.
    """
    found = sources.find(data_dir, console)
    for array in found.arrays.values():
        array.setflags(write=False)
    return Mnist(
        found.arrays[sources.TRAIN_IMAGES],
        found.arrays[sources.TRAIN_LABELS],
        found.arrays[sources.TEST_IMAGES],
        found.arrays[sources.TEST_LABELS],
        found.sums,
        found.source,
    )


def split(mnist: Mnist, validation_size: int) -> tuple[Subset, Subset]:
    """Hold the last `validation_size` training images, in file order, out for validation, as the Theano tutorial does.

    Returns:
        What is left for training, and the validation set (empty for 0).

    Raises:
        UsageError: a negative size, or one that leaves nothing to train on.
    """
    count = len(mnist.train_labels)
    if not 0 <= validation_size < count:
        raise UsageError(f"validation size: expected 0 to {count - 1} of {count} images, got {validation_size}")
    cut = count - validation_size
    return (
        Subset(mnist.train_images[:cut], mnist.train_labels[:cut]),
        Subset(mnist.train_images[cut:], mnist.train_labels[cut:]),
    )


def pass_order(count: int, seed: int, pass_number: int, shuffle_buffer: int | Literal["all"]) -> Order:
    """The order in which a pass takes its images: a pure function of the arguments, so a resumed run needs no state.

    A buffer of N is that of the fluid tutorial (paddle.reader.shuffle): take the next N images, shuffle them, hand them
    out, and again, so that no image moves further than N. "all" shuffles all images together; 1 keeps the file's order.

    Args:
        count: number of images.
        seed: of the run, not negative.
        pass_number: of the pass, not negative.
        shuffle_buffer: size of the buffer, at least 1, or "all".

    Returns:
        int64 [count], a permutation of 0 to count - 1.

    Raises:
        UsageError: a negative seed, or a buffer below 1.
    """
    if seed < 0:
        raise UsageError(f"seed: expected 0 or more, got {seed}")
    size = count if shuffle_buffer == "all" else shuffle_buffer
    if size < 1 <= count:
        raise UsageError(f"shuffle buffer: expected 1 or more, or all, got {shuffle_buffer}")
    order = np.arange(count)
    if size > 1:
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(pass_number,))))
        for start in range(0, count, size):
            random.shuffle(order[start : start + size])
    return order


def batches(order: Order, batch_size: int) -> Iterator[Order]:
    """Cut `order` into batches; the last one may be short, nothing is dropped."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
