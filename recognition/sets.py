"""Load a labelled data set; its pictures are prepared as infer.py prepares them, in parallel, and cached by content."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL
import scipy

from common.checksummed import dump_checksummed, load_checksummed
from common.errors import one_line
from common.files import make_folder, read_file, sha256, user_path, write_file
from data import sources
from data.dataset import Mnist, load_mnist
from data.formats.pictures import Way, is_small
from data.load import Reading, load
from recognition.digit import SIDE
from recognition.picture import Limits
from recognition.workers import Unread, Workers

if TYPE_CHECKING:
    from rich.console import Console

PIECE = 1024  # pictures that are prepared and cached together
LARGEST_PIECE = 32 << 20  # bytes of their files, if these are in memory
LOOKED_AT = 64  # first pictures of a set, of all classes: if one is not 28×28, all are cut to their digit
LONGEST_CACHED = 4 << 20  # bytes of a cached piece: 1,024 images in base 64, and why others are left out

Image = np.ndarray | str  # or why there is none


def load_data(path: Path | None, console: Console | None = None, way: Way | None = None, strict: bool = False) -> Mnist:
    """Load the data set in `path`, else in the folder that MNIST_DIR names, else MNIST from where it is found.

    Args:
        path: a file or folder of any format; None for MNIST.
        console: where to report the format and draw progress bars; None for silence.
        way: how pictures are prepared; None for the usual way: as they are if they have 28×28 pixels, else cut to
            their digit.
        strict: a broken picture is an error; else it is reported and left out.

    Raises:
        DataError, UsageError, OSError: as `data.load.load` and `load_mnist`.
    """
    if path is None and os.environ.get(sources.FOLDER_VARIABLE):
        path = user_path(os.environ[sources.FOLDER_VARIABLE])
    if path is None:
        mnist = load_mnist(None, console)
        return replace(mnist, prepare=way) if way else mnist

    def report(line: str) -> None:
        if console:
            console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

    return load(path, Reading(Preparer(way, console), way, strict, report, usual=False))


class Preparer:
    """Prepares pictures in infer.py's worker processes, with a progress bar on a terminal.

    Attributes:
        way: how; if None, decided by the first pictures.
    """

    def __init__(self, way: Way | None = None, console: Console | None = None, limits: Limits | None = None) -> None:
        self.way: Way | None = way
        self._console, self._limits = console, limits or Limits()

    def __call__(self, pictures: Iterable[Path | bytes], count: int) -> Iterator[Image]:
        """See `data.formats.pictures.Prepare`."""
        from rich.progress import Progress

        remaining = iter(pictures)
        first = list(itertools.islice(remaining, LOOKED_AT))
        if self.way is None:
            self.way = "none" if all(map(is_small, first)) else "digit"
        drawn = self._console is not None and self._console.is_terminal
        with (
            Workers(self._limits, most=max(1, count)) as workers,
            Progress(console=self._console, transient=True, disable=not drawn) as bar,
        ):
            task = bar.add_task("pictures", total=count)
            for image in _prepared(itertools.chain(first, remaining), self.way, workers):
                bar.advance(task)
                yield image


def _prepared(pictures: Iterator[Path | bytes], way: Way, workers: Workers) -> Iterator[Image]:
    """The pictures' images; the workers begin with a piece before those of the one before are taken."""
    before: Iterator[Image] = iter(())
    for piece in _pieces(pictures):
        images = _as_images(workers, piece, way) if way == "none" else _cached(workers, piece, way)
        yield from before
        before = images
    yield from before


def _pieces(pictures: Iterator[Path | bytes]) -> Iterator[list[Path | bytes]]:
    """Pieces of `PIECE` pictures, or fewer if their bytes are many."""
    piece, size = list[Path | bytes](), 0
    for picture in pictures:
        piece.append(picture)
        size += len(picture) if isinstance(picture, bytes) else 0
        if len(piece) == PIECE or size > LARGEST_PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _asked(workers: Workers, piece: list[Path | bytes], way: Way) -> Iterator[np.ndarray | Unread]:
    """Images that the workers make of a piece, in order."""
    return workers.prepare([str(each) if isinstance(each, Path) else each for each in piece], way)


def _as_images(workers: Workers, piece: list[Path | bytes], way: Way) -> Iterator[Image]:
    found = _asked(workers, piece, way)
    return (each.why if isinstance(each, Unread) else each for each in found)


def _cached(workers: Workers, piece: list[Path | bytes], way: Way) -> Iterator[Image]:
    """Images of a piece from the cache; else prepared, and kept there once all are taken."""
    key = sha256("\n".join([way, _code(), *(_sum(each) for each in piece)]).encode())
    path = cache_folder() / f"{key}.json"
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # none there, or damaged: prepare anew
        return iter(_from_json(read_file(path, LONGEST_CACHED), len(piece)))
    found = _asked(workers, piece, way)

    def images() -> Iterator[Image]:
        taken, lost = list[Image](), False
        for each in found:
            lost = lost or (isinstance(each, Unread) and each.lost)
            taken.append(each.why if isinstance(each, Unread) else each)
            yield taken[-1]
        if not lost:
            with suppress(OSError):  # a full disk or a home that cannot be written: it works without
                make_folder(path.parent)
                write_file(path, _to_json(taken))

    return images()


def cache_folder() -> Path:
    """Folder of prepared pieces: within the one that MNIST_CACHE_DIR names, or in the user's cache folder."""
    return sources.cache_root() / "prepared"


def _to_json(images: list[Image]) -> bytes:
    whole = b"".join(image.tobytes() for image in images if not isinstance(image, str))
    left_out = {str(place): image for place, image in enumerate(images) if isinstance(image, str)}
    return dump_checksummed({"images": base64.b64encode(whole).decode(), "left_out": left_out})


def _from_json(data: bytes, count: int) -> list[Image]:
    values = load_checksummed(data)
    left_out = values["left_out"]
    stack = np.frombuffer(base64.b64decode(values["images"], validate=True), np.uint8).reshape(-1, SIDE, SIDE)
    if len(stack) + len(left_out) != count:
        raise ValueError(f"expected {count} images")
    images = iter(stack)
    return [str(left_out[str(place)]) if str(place) in left_out else next(images) for place in range(count)]


def _sum(picture: Path | bytes) -> str:
    """SHA-256 of a picture's bytes; why they cannot be read, if so."""
    try:
        return sha256(picture if isinstance(picture, bytes) else read_file(picture, Limits().max_bytes))
    except OSError as error:
        return str(error.errno)


@cache
def _code() -> str:
    """Names the code that prepares pictures: another release has other pieces."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    versions = f"{PIL.__version__} {np.__version__} {scipy.__version__}"
    return hashlib.sha256(versions.encode() + b"".join(file.read_bytes() for file in files)).hexdigest()
