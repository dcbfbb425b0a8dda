"""Load a labelled data set of any format, found from its content: `load(path)`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import one_line
from common.files import read_file
from data import sources
from data.dataset import DIGITS, Mnist
from data.formats import idx
from data.formats.class_names import named
from data.formats.detect import read_any
from data.formats.idx import Bytes, DataError
from data.formats.labelled import NAMES_FILE, SIDE, Labelled, Part, number_classes
from data.formats.pictures import LARGEST_FILE, AsTheyAre, Pictures, Places, Prepare, Way, prepare_all
from data.mixing import is_mixed, mixed_order, reorder

TEST_SHARE = 0.2  # of each class, if there is no test part
Split = dict[str, float | int | str]

SPLIT_SEED = 0  # the same for every run, so that scores of runs compare

WORDS: dict[Way, str] = {
    "digit": "each picture cut to its digit",
    "resize": "each picture resized",
    "none": "pictures as they are",
}


@dataclass(frozen=True)
class Reading:
    """The way in which files become images.

    Attributes:
        prepare: makes images of pictures.
        way: how a model of the data prepares the pictures that it reads; None for the usual way.
        strict: a broken picture is an error; else it is reported and left out.
        report: takes lines for the user: the format, and what was left out.
        usual: report the format of MNIST itself too.
        scored: the images are to be scored, not trained on: one class is enough, and one image of each.
    """

    prepare: Prepare = field(default_factory=AsTheyAre)
    way: Way | None = None
    strict: bool = False
    report: Callable[[str], None] = lambda line: None
    usual: bool = True
    scored: bool = False


@dataclass(frozen=True)
class LabelledSet:
    """A labelled data set as it is found, its pictures not decoded yet.

    Attributes:
        source: the file or folder.
        train: images or pictures to train on, and their labels: uint8 [N], uint16 for more than 256 classes.
        test: those to test on; perhaps none.
        classes: names of the classes, in the order of the labels.
        format: the format in words.
        split: share, seed and SHA-256 of the test part if the files have none; else empty.
        validation: number of the last training images that the files keep apart for validation.
        unnamed: the names of the classes are their labels.
        notes: lines for the user.
    """

    source: str
    train: Part
    test: Part
    classes: tuple[str, ...]
    format: str = Mnist.format
    split: Split = field(default_factory=dict)
    validation: int = 0
    unnamed: bool = False
    notes: tuple[str, ...] = ()

    def was_trained_on(self, card: Mapping[str, Any]) -> bool:
        """True if the model of a card was trained on this set: the card records the same split or test images.

        Older cards record no split, and were trained on images, not on pictures.
        """
        if "data_split" in card or isinstance(self.test.images, Pictures):
            return bool(self.split) and bool(card.get("data_split") == self.split)
        return bool(card.get("data_sha256", {}).get(sources.TEST_IMAGES) == idx.checksum(self.test.images))


def find(path: Path, reading: Reading | None = None) -> LabelledSet:
    """Find a labelled data set in a file or folder; its format is found from the content.

    A data set without a test part is split: 20 % of each class, chosen by a fixed seed, are the test images.

    Args:
        path: the file or folder.
        reading: takes lines for the user.

    Raises:
        DataError: no known format, several, or one whose contents cannot be used; in one line.
        UsageError: the format needs a package that is not installed.
        OSError: a file cannot be read.
    """
    reading = reading or Reading()
    found = named(read_any(path, reading.report))
    numbered = number_classes(one_line(path), found, 1 if reading.scored else 2)
    labels = [part.astype(np.uint8) if len(numbered.names) <= 256 else part for part in numbered.labels]
    train = Part(found.train.images, labels[0])
    split: Split = {}
    if found.test is not None:
        test = Part(found.test.images, labels[1])
    elif reading.scored and not (np.bincount(train.labels) > 1).any():  # nothing to keep apart from the rest
        train, test = Part(train.images[:0], train.labels[:0]), train
    else:
        train, test, split = _split(train, found, len(numbered.names))
    return LabelledSet(
        str(path),
        train,
        test,
        numbered.names,
        found.format,
        split,
        found.validation,
        unnamed=not found.names and found.train.labels.dtype.kind in "iu",
        notes=(*found.notes, *numbered.notes),
    )


def load(path: Path, reading: Reading | None = None) -> Mnist:
    """Load the labelled data set in a file or folder, and report its format; see `find`.

    Images that come class by class are mixed, so that the last ones, held out for validation, are a fair sample; those
    of IDX files keep their order.

    Raises:
        DataError, UsageError, OSError: as `find`; or no picture of a part can be used; or no class has two images, of
            which one could be kept for testing.
    """
    reading = reading or Reading()
    found = find(path, reading)
    (images, labels, places), (test_images, test_labels, _) = (
        _decoded(part, reading) for part in (found.train, found.test)
    )
    if not len(test_labels):
        raise DataError(
            f"{one_line(path)}: expected a class of at least two images, to keep one for testing, got none; add images"
        )
    validation = int(np.count_nonzero(places >= len(found.train.labels) - found.validation))
    if validation:
        reading.report(
            f"{one_line(path)}: {validation:,} of the {len(labels):,} training images are the set's own validation part"
        )
    counts = np.bincount(np.concatenate([labels, test_labels]), minlength=len(found.classes))
    if without := ", ".join(name for name, count in zip(found.classes, counts, strict=True) if not count):
        reading.report(f"{one_line(path)}: no images of class {one_line(without, 100)} that can be used")
    if not (reading.scored or validation or found.format.startswith("IDX") or is_mixed(labels)):
        order = mixed_order(labels, SPLIT_SEED)
        images, labels = reorder(images, order), labels[order]
        reading.report(f"{one_line(path)}: class by class: the training images are mixed by seed {SPLIT_SEED}")
    announce(found, reading, len(labels), len(test_labels))
    arrays = (images, labels, test_images, test_labels)
    for array in arrays:
        array.setflags(write=False)
    sums = {name: idx.checksum(array) for name, array in zip(sources.SUMS, arrays, strict=True)}
    prepared = prepared_way(found, reading)
    way = reading.way or usual_way(prepared, found.classes)
    return Mnist(*arrays, sums, str(path), found.classes, found.format, found.split, way, prepared, validation)


def prepared_way(found: LabelledSet, reading: Reading) -> Way | None:
    """The way in which the pictures of a set become images; None if it holds images."""
    images = (found.train if len(found.train.labels) else found.test).images
    return reading.prepare.decide(images) if isinstance(images, Pictures) else None


def announce(found: LabelledSet, reading: Reading, training: int, test: int) -> None:
    """Report the format of a set, the way in which its pictures are prepared, its numbers of images, and its classes.

    Args:
        found: the set.
        reading: takes the lines; MNIST has none unless that asks for it.
        training: number of training images.
        test: number of test images.
    """
    where = one_line(found.source)
    for note in found.notes:
        reading.report(f"{where}: {note}")
    if not (reading.usual or found.unnamed or found.split) and (found.format, found.classes) == (Mnist.format, DIGITS):
        return
    way = prepared_way(found, reading)
    words = f", {WORDS[way]} (--prepare {way})" if way else ""
    counts = f"{training:,} training and {test:,} test images"
    if found.split:
        aside = f" (no test part: a fifth of each class, at least one, set aside by seed {SPLIT_SEED})"
        counts = f"{training + test:,} images" if reading.scored else counts + aside
    hint = f" (their labels; a file {NAMES_FILE} beside the data would name them)" if found.unnamed else ""
    reading.report(
        f"{where}: {found.format}{words}, {counts} of {len(found.classes)} "
        f"{'class' if len(found.classes) == 1 else 'classes'}: "
        f"{one_line(', '.join(found.classes), 60)}{hint}"
    )


def _decoded(part: Part, reading: Reading) -> tuple[Bytes, npt.NDArray[Any], Places]:
    """Images and labels of a part, and their places in it; pictures that cannot be used are left out."""
    if not isinstance(part.images, Pictures):
        return part.images, part.labels, np.arange(len(part.labels))
    if not len(part.images):
        return np.empty((0, SIDE, SIDE), np.uint8), part.labels, np.arange(0)
    images, places = prepare_all(part.images, reading.prepare, reading.strict, reading.report)
    return images, part.labels[places], places


def usual_way(prepared: Way | None, classes: Sequence[str]) -> Way:
    """The way in which a model of a data set prepares the pictures that it reads, unless the user names one.

    Args:
        prepared: the way in which the set's own pictures were prepared; None if it has none.
        classes: names of the classes; if each is one character, the images show handwriting.
    """
    if prepared in ("digit", "resize"):
        return prepared
    return "digit" if all(len(name) == 1 for name in classes) else "none"


def _split(part: Part, found: Labelled, classes: int) -> tuple[Part, Part, Split]:
    """Take a fifth of each class out for testing; a class of one image stays in training, as do validation images.

    Returns:
        Training part; test part; share, seed, and SHA-256 of the list of test files (of their places without names) and
        of the contents of the first.
    """
    chosen = np.zeros(len(part.labels), bool)
    for number in range(classes):
        places = np.flatnonzero(part.labels[: len(part.labels) - found.validation] == number)
        order = np.random.Generator(np.random.Philox(np.random.SeedSequence(SPLIT_SEED, spawn_key=(number,))))
        size = max(round(TEST_SHARE * len(places)), 1) if len(places) > 1 else 0
        chosen[order.permutation(places)[:size]] = True
    tested = np.flatnonzero(chosen)
    names = "".join(f"{found.files[place] if found.files else place}\n" for place in tested.tolist())
    test = Part(part.images[tested], part.labels[tested])
    record: Split = {
        "share": TEST_SHARE,
        "seed": SPLIT_SEED,
        "sha256": hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest(),
        "content": _content(test.images),
    }
    return Part(_without(part.images, chosen), part.labels[~chosen]), test, record


def _content(images: Bytes | Pictures) -> str:
    """SHA-256 of the first images or pictures: other sets have files of the same names, such as 0.png."""
    digest = hashlib.sha256()
    for each in images[:64]:
        if isinstance(each, str):
            with suppress(OSError):  # reported when it is decoded
                digest.update(read_file(Path(each), LARGEST_FILE))
        else:
            digest.update(each if isinstance(each, bytes) else each.tobytes())
    return digest.hexdigest()


def _without(images: Bytes | Pictures, chosen: npt.NDArray[np.bool_]) -> Bytes | Pictures:
    """The images that are not chosen, moved together in place if the array allows it: no second copy."""
    if isinstance(images, Pictures) or not images.flags.writeable:
        return images[~chosen]
    kept = np.flatnonzero(~chosen)
    for start in range(0, len(kept), 1024):
        images[start : start + len(kept[start : start + 1024])] = images[kept[start : start + 1024]]
    return images[: len(kept)]
