"""Load a labelled data set; its pictures are prepared as infer.py prepares them, in parallel, and cached by content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.console import print_line
from common.errors import one_line
from common.files import user_path
from data import sources
from data.dataset import Mnist, load_mnist
from data.formats.idx import Bytes
from data.formats.labelled import SIDE, Part
from data.formats.pictures import PIECE, Picture, Pictures, Piece, Places, Way, pieces, size_of, usable
from data.load import LabelledSet, Reading, find, load
from recognition.picture import Limits
from recognition.set_cache import keep_piece, piece_path, read_piece
from recognition.workers import Unread, Workers

if TYPE_CHECKING:
    from rich.console import Console

LOOKED_AT = 256  # pictures of a set, evenly spaced: if most have 28×28 pixels, all are taken as they are


def load_data(path: Path | None, console: Console | None = None, way: Way | None = None, strict: bool = False) -> Mnist:
    """Load the data set in `path`, else in the folder that MNIST_DIR names, else MNIST from where it is found.

    Args:
        path: a file or folder of any format; None for MNIST.
        console: where to report the format and draw progress bars; None for silence.
        way: how pictures are prepared; None for the usual way: as they are if most have 28×28 pixels, else cut to
            their digit.
        strict: a broken picture is an error; else it is reported and left out.

    Raises:
        DataError, UsageError, OSError: as `data.load.load` and `load_mnist`.
    """
    if found := _named(path):
        return load(found, reading(console, way, strict))
    mnist = load_mnist(None, console)
    return replace(mnist, prepare=way) if way else mnist


def find_data(path: Path | None, console: Console | None = None) -> LabelledSet:
    """Find the data set that `load_data` loads, to be scored, without decoding its pictures.

    Raises:
        DataError, UsageError, OSError: as `load_data`.
    """
    if found := _named(path):
        return find(found, reading(console, scored=True))
    mnist = load_mnist(None, console)
    train, test = Part(mnist.train_images, mnist.train_labels), Part(mnist.test_images, mnist.test_labels)
    return LabelledSet(mnist.source, train, test, mnist.classes)


def reading(console: Console | None, way: Way | None = None, strict: bool = False, scored: bool = False) -> Reading:
    """The way to read a data set, as `load_data` has it; if its images are to be `scored`, without a progress bar."""
    report = line_printer(console)
    prepare = Preparer(way, None if scored else console, report=report)
    return Reading(prepare, way, strict, report, usual=False, scored=scored)


Chunk = tuple[Bytes, npt.NDArray[Any], Places]


def image_stream(parts: Iterable[Part], reading: Reading) -> Iterator[Chunk]:
    """Images of some parts piece by piece: uint8 [K, 28, 28], their labels [K], and their places in all parts [K].

    Pictures that cannot be used are reported and left out, or an error, as `reading` has it.
    """
    first = 0
    for part in parts:
        if isinstance(part.images, Pictures):
            for images, places in usable(part.images, reading.prepare, reading.strict, reading.report):
                yield images, part.labels[places], first + places
        else:
            for places in np.split(np.arange(len(part.labels)), range(PIECE, len(part.labels), PIECE)):
                yield part.images[places], part.labels[places], first + places
        first += len(part.labels)


def line_printer(console: Console | None) -> Callable[[str], None]:
    """Prints a line on a console; nothing without one."""

    def report(line: str) -> None:
        print_line(one_line(line, 1000), console)

    return report


def _named(path: Path | None) -> Path | None:
    if path is None and os.environ.get(sources.FOLDER_VARIABLE):
        return user_path(os.environ[sources.FOLDER_VARIABLE])
    return path


class Preparer:
    """Prepares pictures in infer.py's worker processes, with a progress bar on a terminal."""

    def __init__(
        self,
        way: Way | None = None,
        console: Console | None = None,
        limits: Limits | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._way = way
        self._console, self._limits, self._report = console, limits or Limits(), report

    def __call__(self, pictures: Pictures) -> Iterator[Piece]:
        """See `data.formats.pictures.Prepare`."""
        from rich.progress import Progress

        way = self.decide(pictures)
        drawn = self._console is not None and self._console.is_terminal
        with (
            Workers(self._limits, most=max(1, len(pictures))) as workers,
            Progress(console=self._console, transient=True, disable=not drawn) as bar,
        ):
            task = bar.add_task("pictures", total=len(pictures))
            for piece in _prepared(pictures, way, workers):
                bar.advance(task, len(piece))
                yield piece

    def decide(self, pictures: Pictures) -> Way:
        """As they are if most of the pictures have 28×28 pixels, else cut to their digit, unless the user named a way.

        The pictures that are looked at lie evenly in the part. Those whose size cannot be read do not count, so that
        neither broken files nor a few of another size decide.
        """
        if self._way:
            return self._way
        sizes = list(filter(None, map(size_of, pictures[:: max(1, len(pictures) // LOOKED_AT)])))
        small = sizes.count((SIDE, SIDE))
        self._way = "none" if 2 * small > len(sizes) else "digit"
        if 0 < small < len(sizes):
            self._report(
                f"{pictures.where}: {small} of {len(sizes)} pictures looked at have {SIDE}×{SIDE} pixels: --prepare "
                f"{self._way} for all"
            )
        return self._way


def _prepared(pictures: Iterable[Picture], way: Way, workers: Workers) -> Iterator[Piece]:
    """The pictures' images; the workers begin with a piece before that of before is taken."""
    before: Callable[[], Piece] | None = None
    for some in pieces(pictures):
        begun = _begin(workers, some, way)
        if before:
            yield before()
        before = begun
    if before:
        yield before()


def _begin(workers: Workers, pictures: Sequence[Picture], way: Way) -> Callable[[], Piece]:
    """Begin to prepare a piece; returns a function that waits for it. Pieces that take long are cached."""
    path = None if way == "none" else piece_path(pictures, way)
    kept = path and read_piece(path, len(pictures))
    if kept:
        return lambda: kept
    answers = workers.prepare(pictures, way)

    def wait() -> Piece:
        found = list(answers)
        piece = Piece.of(each.why if isinstance(each, Unread) else each for each in found)
        lost = any(isinstance(each, Unread) and each.lost for each in found)
        found.clear()  # the piece has a copy
        if path and not lost and piece_path(pictures, way) == path:  # else a file changed meanwhile
            keep_piece(path, piece)
        return piece

    return wait
