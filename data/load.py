"""Load a labelled data set of any format, found from its content: `load(path)`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from common.errors import one_line
from common.files import open_file, user_path
from common.kinds import HEAD, kind_of
from data import sources
from data.dataset import DIGITS, Mnist, load_mnist
from data.formats import idx
from data.formats.folder import Decode, read_class_folders
from data.formats.idx import DataError
from data.formats.idx_sets import idx_set_in, read_idx_set
from data.formats.labelled import Labelled, Part, number_classes
from data.formats.npz import read_npz
from data.formats.parquet import read_parquet
from data.formats.pictures import SUFFIXES, decode_as_it_is
from data.formats.table import read_csv

if TYPE_CHECKING:
    from rich.console import Console

TEST_SHARE = 0.2  # of each class, if there is no test part
Split = dict[str, float | int | str]

SPLIT_SEED = 0  # the same for every run, so that scores of runs compare


@dataclass(frozen=True)
class Reading:
    """The way in which files become images.

    Attributes:
        decode: makes uint8 [28, 28] of a picture's name and bytes; raises DataError.
        strict: a broken picture of a folder is an error; else it is reported and left out.
        report: takes lines for the user: the format, and what was left out.
        usual: report the format of MNIST itself too.
    """

    decode: Decode = decode_as_it_is
    strict: bool = False
    report: Callable[[str], None] = lambda line: None
    usual: bool = True


def load_data(path: Path | None, console: Console | None = None) -> Mnist:
    """Load the data set in `path`, else in the folder that MNIST_DIR names, else MNIST from where it is found.

    Args:
        path: a file or folder of any format; None for MNIST.
        console: where to report the format and draw progress bars; None for silence.

    Raises:
        DataError, UsageError, OSError: as `load` and `load_mnist`.
    """
    if path is None and os.environ.get(sources.FOLDER_VARIABLE):
        path = user_path(os.environ[sources.FOLDER_VARIABLE])
    if path is None:
        return load_mnist(None, console)

    def report(line: str) -> None:
        if console:
            console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

    return load(path, Reading(report=report, usual=False))


def load(path: Path, reading: Reading | None = None) -> Mnist:
    """Load the data set in a file or folder; the format is found from the content and reported.

    A data set without a test part is split: 20 % of each class, chosen by a fixed seed, are the test images.

    Returns:
        The data set; `classes` has the names in the order of the labels' numbers.

    Raises:
        DataError: no known format, several, or one whose contents cannot be used; in one line.
        UsageError: the format needs a package that is not installed.
        OSError: a file cannot be read.
    """
    reading = reading or Reading()
    found = _read(path, reading)
    numbers, classes = number_classes(one_line(path), found)
    labels = [part.astype(np.uint8) if len(classes) <= 256 else part for part in numbers]
    train = Part(found.train.images, labels[0])
    split: Split = {}
    if found.test is None:
        train, test, split = _split(train, found.files, len(classes), one_line(path))
    else:
        test = Part(found.test.images, labels[1])
    arrays = (train.images, train.labels, test.images, test.labels)
    for array in arrays:
        array.setflags(write=False)
    if reading.usual or (found.format, classes) != (Mnist.format, DIGITS):
        reading.report(
            f"{one_line(path)}: {found.format}, {len(train.labels):,} training and {len(test.labels):,} test images of "
            f"{len(classes)} classes: {one_line(', '.join(classes), 60)}"
        )
    sums = {name: idx.checksum(array) for name, array in zip(sources.SUMS, arrays, strict=True)}
    return Mnist(*arrays, sums, str(path), classes, found.format, split)


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
        return read_parquet(path, reading.decode)
    if head.startswith(b"\x1f\x8b") and path.name == sources.PICKLE:
        return _pickle(path)
    kind = kind_of(head)
    if kind or b"\0" in head or b"," not in head:
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
        readers["Parquet"] = lambda: read_parquet(path, reading.decode)
    if tables := sorted(path.glob("*.csv")):
        readers["CSV"] = lambda: read_csv(tables[0] if len(tables) == 1 else path)
    if _has_class_folders(path):
        readers["folder per class"] = lambda: read_class_folders(path, reading.decode, reading.strict, reading.report)
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
    arrays = sources.read_folder(path).arrays  # MNIST's files elsewhere, or called nearly so; or says what is missing
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


def _split(part: Part, files: tuple[str, ...], classes: int, where: str) -> tuple[Part, Part, Split]:
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
    if not chosen.any():
        raise DataError(
            f"{where}: expected a class of at least two images, to keep one for testing, got none; add images"
        )
    tested = np.flatnonzero(chosen)
    names = "".join(f"{files[place] if files else place}\n" for place in tested)
    record: Split = {"share": TEST_SHARE, "seed": SPLIT_SEED, "sha256": hashlib.sha256(names.encode()).hexdigest()}
    test = Part(part.images[tested], part.labels[tested])
    return Part(_without(part.images, chosen), part.labels[~chosen]), test, record


def _without(images: npt.NDArray[np.uint8], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The images that are not chosen, moved together in place if the array allows it: no second copy."""
    if not images.flags.writeable:
        return images[~chosen]
    kept = np.flatnonzero(~chosen)
    for start in range(0, len(kept), 1024):
        images[start : start + len(kept[start : start + 1024])] = images[kept[start : start + 1024]]
    return images[: len(kept)]
