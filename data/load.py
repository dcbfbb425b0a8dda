"""Load a labelled data set of any format, found from its content: `load(path)`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import one_line
from common.files import open_file
from common.kinds import HEAD, kind_of
from data import sources
from data.dataset import DIGITS, Mnist
from data.formats import idx
from data.formats.folder import read_class_folders
from data.formats.idx import Bytes, DataError
from data.formats.idx_sets import idx_set_in, read_idx_set
from data.formats.labelled import SIDE, Labelled, Part, number_classes
from data.formats.npz import read_npz
from data.formats.parquet import read_parquet
from data.formats.pictures import SUFFIXES, AsTheyAre, Pictures, Prepare, Way, prepare_all
from data.formats.table import read_csv

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
        way: how a model of the data shall prepare the pictures that it reads; None for the usual way.
        strict: a broken picture is an error; else it is reported and left out.
        report: takes lines for the user: the format, and what was left out.
        usual: report the format of MNIST itself too.
    """

    prepare: Prepare = field(default_factory=AsTheyAre)
    way: Way | None = None
    strict: bool = False
    report: Callable[[str], None] = lambda line: None
    usual: bool = True


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
    """

    source: str
    train: Part
    test: Part
    classes: tuple[str, ...]
    format: str = Mnist.format
    split: Split = field(default_factory=dict)


def find(path: Path, reading: Reading | None = None, fewest: int = 2) -> LabelledSet:
    """Find a labelled data set in a file or folder; its format is found from the content.

    A data set without a test part is split: 20 % of each class, chosen by a fixed seed, are the test images.

    Args:
        path: the file or folder.
        reading: takes lines for the user.
        fewest: classes that it must have.

    Raises:
        DataError: no known format, several, or one whose contents cannot be used; in one line.
        UsageError: the format needs a package that is not installed.
        OSError: a file cannot be read.
    """
    found = _read(path, reading or Reading())
    numbers, classes = number_classes(one_line(path), found, fewest)
    labels = [part.astype(np.uint8) if len(classes) <= 256 else part for part in numbers]
    train = Part(found.train.images, labels[0])
    if found.test is not None:
        return LabelledSet(str(path), train, Part(found.test.images, labels[1]), classes, found.format)
    train, test, split = _split(train, found.files, len(classes))
    return LabelledSet(str(path), train, test, classes, found.format, split)


def load(path: Path, reading: Reading | None = None) -> Mnist:
    """Load the labelled data set in a file or folder, and report its format; see `find`.

    Raises:
        DataError, UsageError, OSError: as `find`; or no picture of a part can be used; or no class has two images, of
            which one could be kept for testing.
    """
    reading = reading or Reading()
    found = find(path, reading)
    train, test = (_decoded(part, reading) for part in (found.train, found.test))
    arrays = (*train, *test)
    if not len(test[1]):
        raise DataError(
            f"{one_line(path)}: expected a class of at least two images, to keep one for testing, got none; add images"
        )
    for array in arrays:
        array.setflags(write=False)
    announce(found, reading, len(train[1]), len(test[1]))
    sums = {name: idx.checksum(array) for name, array in zip(sources.SUMS, arrays, strict=True)}
    prepared = prepared_way(found, reading)
    way = reading.way or usual_way(prepared, found.classes)
    return Mnist(*arrays, sums, str(path), found.classes, found.format, found.split, way, prepared)


def prepared_way(found: LabelledSet, reading: Reading) -> Way | None:
    """The way in which the pictures of a set become images; None if it holds images."""
    return reading.prepare.decide(found.train.images) if isinstance(found.train.images, Pictures) else None


def announce(found: LabelledSet, reading: Reading, training: int, test: int) -> None:
    """Report the format of a set, the way in which its pictures are prepared, its numbers of images, and its classes.

    Args:
        found: the set.
        reading: takes the line; MNIST has none unless that asks for it.
        training: number of training images.
        test: number of test images.
    """
    if reading.usual or (found.format, found.classes) != (Mnist.format, DIGITS):
        way = prepared_way(found, reading)
        words = f", {WORDS[way]} (--prepare {way})" if way else ""
        reading.report(
            f"{one_line(found.source)}: {found.format}{words}, {training:,} training and {test:,} test images of "
            f"{len(found.classes)} classes: {one_line(', '.join(found.classes), 60)}"
        )


def _decoded(part: Part, reading: Reading) -> tuple[Bytes, npt.NDArray[Any]]:
    """Images and labels of a part; pictures that cannot be used are left out."""
    if not isinstance(part.images, Pictures):
        return part.images, part.labels
    if not len(part.images):
        return np.empty((0, SIDE, SIDE), np.uint8), part.labels
    images, places = prepare_all(part.images, reading.prepare, reading.strict, reading.report)
    return images, part.labels[places]


def usual_way(prepared: Way | None, classes: Sequence[str]) -> Way:
    """The way in which a model of a data set prepares the pictures that it reads, unless the user names one.

    Args:
        prepared: the way in which the set's own pictures were prepared; None if it has none.
        classes: names of the classes; if each is one character, the images show handwriting.
    """
    if prepared in ("digit", "resize"):
        return prepared
    return "digit" if all(len(name) == 1 for name in classes) else "none"


def _read(path: Path, reading: Reading) -> Labelled:
    if not path.exists():
        raise DataError(f"{one_line(path)}: expected a data set, got nothing of that name")
    return _read_folder(path, reading) if path.is_dir() else _read_file(path, reading)


def _read_file(path: Path, reading: Reading) -> Labelled:
    with open_file(path) as file:
        head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return read_npz(path)
    if head.startswith(b"PAR1"):
        return read_parquet(path)
    if head.startswith(b"\x1f\x8b") and path.name == sources.PICKLE:
        return _pickle(path)
    kind = kind_of(head)
    if kind or b"\0" in head or not any(mark in head for mark in b",;\t"):
        raise DataError(
            f"{one_line(path)}: expected NPZ, CSV, Parquet, {sources.PICKLE}, or a folder of IDX files or of "
            f"one folder per class, got {kind or 'none of them'}"
        )
    return read_csv(path)


def _read_folder(path: Path, reading: Reading) -> Labelled:
    """Read the one format that a folder holds; of several none is guessed."""
    readers: dict[str, Callable[[], Labelled]] = {}
    if name := idx_set_in(path):
        readers[f"IDX by {name}'s names"] = lambda: read_idx_set(path, name)
    elif (path / sources.PICKLE).exists():
        readers[sources.PICKLE] = lambda: _pickle(path / sources.PICKLE)
    npz = sorted(path.glob("*.npz"))
    if npz:
        readers["NPZ"] = lambda: read_npz(npz[0] if len(npz) == 1 else path)
    if any(path.glob("*.parquet")) or any((path / "data").glob("*.parquet")):
        readers["Parquet"] = lambda: read_parquet(path)
    if tables := sorted(path.glob("*.csv")):
        readers["CSV"] = lambda: read_csv(tables[0] if len(tables) == 1 else path)
    if _has_class_folders(path):
        readers["folder per class"] = lambda: read_class_folders(path, reading.report)
    if len(readers) > 1:
        raise DataError(
            f"{one_line(path)}: expected one format, got {' and '.join(readers)}; name one file, or move one"
        )
    if readers:
        return next(iter(readers.values()))()
    if any(entry.suffix.lower() in SUFFIXES for entry in path.iterdir()):
        raise DataError(
            f"{one_line(path)}: expected a folder per class, got pictures without classes; put each class's "
            "pictures into a folder of its name; infer.py reads pictures without labels"
        )
    arrays = sources.read_folder(path).arrays  # MNIST's files, perhaps under similar names; or the error
    return Labelled(
        Part(arrays[sources.TRAIN_IMAGES], arrays[sources.TRAIN_LABELS]),
        Part(arrays[sources.TEST_IMAGES], arrays[sources.TEST_LABELS]),
        "IDX by MNIST's names",
        {},
    )


def _has_class_folders(path: Path) -> bool:
    root = path / "train" if (path / "train").is_dir() else path
    folders = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return any(entry.suffix.lower() in SUFFIXES for folder in folders for entry in folder.iterdir())


def _pickle(path: Path) -> Labelled:
    train, validation, test = idx.read_pickle(path)
    images, labels = (np.concatenate(parts) for parts in zip(train, validation, strict=True))
    return Labelled(Part(images, labels), Part(*test), sources.PICKLE, dict(enumerate(DIGITS)))


def _split(part: Part, files: Sequence[str], classes: int) -> tuple[Part, Part, Split]:
    """Take a fifth of each class out for testing; a class of one image stays in training.

    Returns:
        Training part; test part; share, seed, and SHA-256 of the list of test files (of their places without names).
    """
    chosen = np.zeros(len(part.labels), bool)
    for number in range(classes):
        places = np.flatnonzero(part.labels == number)
        order = np.random.Generator(np.random.Philox(np.random.SeedSequence(SPLIT_SEED, spawn_key=(number,))))
        size = max(round(TEST_SHARE * len(places)), 1) if len(places) > 1 else 0
        chosen[order.permutation(places)[:size]] = True
    tested = np.flatnonzero(chosen)
    names = "".join(f"{files[place] if files else place}\n" for place in tested.tolist())
    record: Split = {
        "share": TEST_SHARE,
        "seed": SPLIT_SEED,
        "sha256": hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest(),
    }
    test = Part(part.images[tested], part.labels[tested])
    return Part(_without(part.images, chosen), part.labels[~chosen]), test, record


def _without(images: Bytes | Pictures, chosen: npt.NDArray[np.bool_]) -> Bytes | Pictures:
    """The images that are not chosen, moved together in place if the array allows it: no second copy."""
    if isinstance(images, Pictures) or not images.flags.writeable:
        return images[~chosen]
    kept = np.flatnonzero(~chosen)
    for start in range(0, len(kept), 1024):
        images[start : start + len(kept[start : start + 1024])] = images[kept[start : start + 1024]]
    return images[: len(kept)]
