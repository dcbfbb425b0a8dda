"""Files, folders and standard input -> 28×28 pictures -> digits."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy

from common.project import model_folder
from model.image import network_input
from model.predictor import Predictor
from model.saved_model import SavedModel, load_model
from recognition.cuts import Chosen, Cuts
from recognition.kind import PictureKind
from recognition.memory import remembering
from recognition.names import STANDARD_INPUT
from recognition.novelty import UNLIKE, NoveltyDetector, odds
from recognition.preparation import cuts_of, way_of
from recognition.row_reader import RowDigit, RowReader
from recognition.rows import DIGITS, FoundDigit, joined
from recognition.second_look import SURE, by_rows_too, by_votes_too, formless, second_look, with_vote
from recognition.shape import doubted
from recognition.workers import Unread, Workers

CHUNK = 256  # pictures in memory at a time, each 28×28 bytes once it is read

# Chosen on drawn digits, as those of `recognition.cuts`.
DOUBT = 0.55  # plausibility of the plain cut under which the others are looked at
GAIN = 0.2  # plausibility that another cut must have beyond the plain one's to be read instead


@dataclass(frozen=True)
class Answer:
    """The network's answer for one picture.

    Attributes:
        path: path as it was given.
        digits: labels with their probabilities, the most likely first.
        rejected: the most likely digit is less probable than `reject_below`.
        no_digit: the picture is unlike every digit (`recognition.novelty`); it may show something else.
        several: the picture plainly holds several digits, of which this is one.
    """

    path: str
    digits: Sequence[tuple[str, float]]
    rejected: bool
    no_digit: bool = False
    several: bool = False


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read.

    Attributes:
        path: path as it was given.
        error: the reason, in one line.
        no_digit: the picture itself is whole, but there is nothing in it.
    """

    path: str
    error: str
    no_digit: bool = False


def recognise(paths: Iterable[str], reader: DigitReader, workers: Workers) -> Iterator[Answer | Failure]:
    """Read the digit of each picture, in the order of `paths`, a chunk at a time.

    Args:
        paths: files, or "-" for standard input.
        reader: answers for the images.
        workers: decode the pictures.
    """
    remaining = iter(paths)
    in_hand: tuple[list[str], Iterator[Cuts | Unread]] | None = None
    while True:
        chunk = list(itertools.islice(remaining, CHUNK))
        # The workers begin with the next chunk before the network answers for this one.
        begun = (chunk, workers.read_cuts([source(path, workers.limits.max_bytes) for path in chunk], reader.way))
        if in_hand:
            yield from _answered(in_hand[0], list(in_hand[1]), reader)
        if not chunk:
            return
        in_hand = begun


def _answered(paths: Sequence[str], read: Sequence[Cuts | Unread], reader: DigitReader) -> Iterator[Answer | Failure]:
    named = [(path, cuts) for path, cuts in zip(paths, read, strict=True) if isinstance(cuts, Cuts)]
    answers = iter(reader.read([path for path, _ in named], [cuts for _, cuts in named]))
    for path, cuts in zip(paths, read, strict=True):
        yield Failure(path, cuts.why, cuts.blank) if isinstance(cuts, Unread) else next(answers)


class DigitReader:
    """A saved model that answers for images made like MNIST's; infer.py and the page both use it.

    Attributes:
        labels: the names of its classes.
        can_tell: it can mark pictures that hold no digit.
        way: how a picture is prepared for it.
    """

    def __init__(self, model: SavedModel, predictor: Predictor, top_k: int = 3, reject_below: float = 0.0) -> None:
        """Create a reader.

        Args:
            model: the model that `predictor` runs; its card records the kind of pictures that it takes.
            predictor: computes the probabilities.
            top_k: digits in an answer, 1 to 10.
            reject_below: probability below which an answer counts as rejected.

        Raises:
            NoveltyError: the model's detector of pictures without a digit is of another release.
        """
        self.labels: Sequence[str] = model.card["labels"]
        self.way = way_of(model.card)
        self._is_for_digits = tuple(self.labels) == DIGITS and self.way == "digit"
        self._folder, self._image, self._kind = model.folder, model.image, PictureKind.of_card(model.card)
        self._predictor, self._top_k, self._reject_below = predictor, top_k, reject_below
        self._calibrated = remembering(lambda images: predictor.calibrated(self.inputs(images)))
        self._novelty = NoveltyDetector.from_bytes(model.novelty) if model.novelty is not None else None
        self.can_tell = self._novelty is not None
        if novelty := self._novelty:
            self._scores = remembering(lambda images: novelty.scores(self._kind.apply(images)))
        self._shapes = self._novelty.shapes if self._novelty else None
        self._least_odds = model.card.get("no_digit", {}).get("least_odds") if self._shapes else None

    @classmethod
    def load(cls, folder: str | Path | None = None, top_k: int = 3, reject_below: float = 0.0) -> DigitReader:
        """A reader of the model in a folder, or in that of a run; of the default model if none is named.

        Raises:
            ModelError: the folder holds no usable model.
        """
        model = load_model(Path(folder) if folder else model_folder())
        return cls(model, Predictor(model), top_k, reject_below)

    def answer(self, picture: str | Path | np.ndarray) -> Answer:
        """The answer for one picture of one digit, read in this process.

        Args:
            picture: a file, or pixels: uint8 [H, W] grey or [H, W, 3] red, green, blue; ink dark or light.

        Raises:
            PictureError: it cannot be read, or there is nothing to read.
        """
        return self.answer_all([picture])[0]

    def answer_all(self, pictures: Sequence[str | Path | np.ndarray]) -> list[Answer]:
        """The answers for several pictures, in their order; see `answer`."""
        names = ["array" if isinstance(each, np.ndarray) else str(each) for each in pictures]
        return self.read(names, [cuts_of(each, self.way) for each in pictures])

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """The network's input, [N, 1, S, S] float32, of images [N, 28, 28] uint8 made like MNIST's."""
        return network_input(self._kind.apply(images), self._image)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probability of each digit, [N, 10], of images [N, 28, 28] uint8 made like MNIST's."""
        return self._calibrated(images)

    def of_chosen(self, chosen: Sequence[Chosen]) -> tuple[np.ndarray, np.ndarray]:
        """Read what was chosen of each picture.

        Returns:
            Calibrated probability of each digit, [N, 10], nearer to each other for ink of little trust. It is the mean
            of both cuts' if they differ; `rows` reads these too, and the photo's vote counts. True for each picture
            without a digit, [N]: of trust 0, or unlike every digit by the plain cut, for some cut of any thing looks
            like a digit. If that is coarse, or was set aside on uneven paper, which spoils cuts, doubt is not enough.
        """
        plain, images = np.stack([each.plain for each in chosen]), np.stack([each.image for each in chosen])
        probabilities = self.probabilities(plain)
        no_digit = self.no_digit(plain, probabilities)
        changed = (plain != images).any(axis=(1, 2))
        coarse, even = np.array([(each.coarse, each.even_paper) for each in chosen]).T
        unsure = no_digit & (coarse | (changed & ~even))
        if unsure.any():
            no_digit[unsure] = self.no_digit(plain[unsure])
        if changed.any():
            each = (by_rows_too(cut[changed], self.probabilities, self.rows) for cut in (plain, images))
            probabilities[changed] = sum(each) / 2
        if not self._is_for_digits:  # the page's first model may have let a photo vote
            chosen = [replace(each, vote=None) for each in chosen]
        probabilities, no_digit, trust = by_votes_too(probabilities, no_digit, chosen)
        return doubted(probabilities, trust), no_digit | (trust == 0)

    def no_digit(self, images: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """True for each image [N, 28, 28] uint8 without a digit; [N] bool, all False unless `can_tell`.

        With the network's probabilities [N, 10], letters are found too.
        """
        if not self._novelty:
            return np.zeros(len(images), bool)
        images, scores = self._kind.apply(images), self._scores(images)
        if probabilities is None or self._least_odds is None:
            return self._novelty.holds_no_digit(images, scores)
        return self._novelty.shows_none(images, probabilities, self._least_odds, scores)

    def likeness(self, images: np.ndarray) -> np.ndarray:
        """Logarithm of the odds, [N], that each of [N, 28, 28] uint8 shows a digit as it stands; for `upright`."""
        away = self._shapes.distances(self._kind.apply(images)) / UNLIKE if self._shapes else np.zeros(len(images))
        return odds(away, self.probabilities(images))

    def trial(self) -> bytes:
        """All numbers that are computed for a few images of noise; see `Predictor.trial`."""
        noise = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
        numbers = [self._predictor.trial()]
        if self._novelty:
            numbers.append(self._novelty.scores(noise))
            # Apart from the scores, in whose sum with them a small difference would be rounded away.
            numbers += [self._novelty.shapes.distances(noise)] if self._novelty.shapes else []
        return b"".join(each.tobytes() for each in numbers)

    def read(self, paths: Sequence[str], cuts: Sequence[Cuts]) -> list[Answer]:
        """The answer for each picture's cuts."""
        if not cuts:
            return []
        chosen = self.choose(self.settled(cuts))
        probabilities, no_digit = self.of_chosen(chosen)
        marks = zip(no_digit, [each.several for each in chosen], strict=True)
        return [
            replace(self._answer(path, row, bool(none)), several=several)
            for path, row, (none, several) in zip(paths, probabilities, marks, strict=True)
        ]

    def settled(self, cuts: Sequence[Cuts]) -> list[Cuts]:
        """The same cuts: without a form's lines, if more plausible so; marked as several, if the parts are digits."""

        def shows_digit(photo: np.ndarray) -> bool:
            return self.rows is None or bool(self.rows.read(photo))

        whole = (formless(each, self._plausible, shows_digit) for each in cuts)
        return [second_look(each, self.probabilities, self._plausible, self._read_strip) for each in whole]

    def _read_strip(self, cuts: Cuts) -> list[RowDigit] | None:
        """Digits that `lenet_row` finds in a picture that may hold several; None if it is not asked."""
        strip = cuts.suspicion.strip
        if strip is None or cuts.scan or self.rows is None or self.no_digit(cuts.images[:1])[0]:
            return None
        return self.rows.read(strip)

    @cached_property
    def rows(self) -> RowReader | None:
        """The reader of second digits and of doubted ones; None if the model reads no digits, or if there is none.

        Raises:
            ModelError: it is not usable.
        """
        return RowReader.if_any(self._folder) if self._is_for_digits else None

    def choose(self, cuts: Sequence[Cuts]) -> list[Chosen]:
        """Choose the cut of each picture that is read along with the plain one.

        It is the second cut, if there is one; else the plain one itself, or if that is in doubt, a surer cut.
        """
        if not cuts:
            return []
        images = [each.images[:2][-1] for each in cuts]
        likely = self._plausible(np.stack([each.images[0] for each in cuts]))
        for number in np.flatnonzero(likely < DOUBT).tolist():
            if len(cuts[number].images) > 1:
                continue
            others = cuts[number].others()
            if len(others):
                values = self._plausible(others)
                best = int(values.argmax())
                if values[best] > likely[number] + GAIN:
                    images[number] = others[best]
        chosen = []
        for each, image, in_doubt in zip(cuts, images, (likely < SURE).tolist(), strict=True):
            one, photo = each.chosen(image), each.photo_if(in_doubt)
            chosen.append(with_vote(one, photo, self.rows) if photo is not None and self.rows else one)
        return chosen

    def _plausible(self, images: np.ndarray) -> np.ndarray:
        """The likeliest digit's probability, less for a picture unlike every digit, [N] of [N, 28, 28] uint8."""
        probabilities = self.probabilities(images).max(axis=1)
        if not self._novelty:
            return probabilities
        return probabilities * scipy.special.expit((self._novelty.threshold - self._scores(images)) / UNLIKE)

    def row(self, path: str, found: Sequence[FoundDigit]) -> list[Answer]:
        """The answer for each digit of a row: a mean of the row reader's and this one's."""
        stack = np.stack([each.image for each in found])
        no_digit = self.no_digit(stack)
        both = joined([each.vote for each in found], self.probabilities(stack), no_digit, self.labels)
        both = doubted(both, np.array([each.trust for each in found]))
        return [self._answer(path, row, bool(unlike)) for row, unlike in zip(both, no_digit, strict=True)]

    def _answer(self, path: str, probabilities: np.ndarray, no_digit: bool) -> Answer:
        order = np.argsort(-probabilities, kind="stable")[: self._top_k]
        digits = [(self.labels[digit], float(probabilities[digit])) for digit in order]
        return Answer(path, digits, digits[0][1] < self._reject_below, no_digit)


def source(path: str, max_bytes: int) -> str | bytes:
    """Source for the workers: a path, or the bytes of standard input, up to one byte too many."""
    return sys.stdin.buffer.read(max_bytes + 1) if path == STANDARD_INPUT else path
