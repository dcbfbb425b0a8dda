"""A picture from the browser -> its digits as the network gets them, each chosen model's answer, feature maps."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import paddle

from common.errors import UserError, one_line
from data.dataset import DIGITS
from model.feature_maps import FeatureMaps
from model.predictor import Predictor
from model.saved_model import CARD, RELEASED, load_model, model_in, read_card
from page.found import Found
from recognition.cuts import Cuts
from recognition.reader import DigitReader
from recognition.row_reader import RowReader
from recognition.rows import joined, read_rows
from recognition.shape import doubted
from recognition.strip import NOTHING, Rows
from recognition.workers import Unread, Workers

Work = TypeVar("Work")
MAX_MODELS = 12  # that answer at once
KEPT_MODELS = 2 * MAX_MODELS  # in memory, the latest used ones
MOST_BARS = 12  # probabilities that are shown one under the other
SHOWN_INSIDE = 16  # digits of a picture whose layers are shown: a page of a hundred would be megabytes


@dataclass(frozen=True)
class Answer:
    """One model's answer for one digit: the labels of its card, and the probability of each."""

    model: str
    labels: Sequence[str]
    probabilities: np.ndarray

    @property
    def likeliest(self) -> int:
        """Index of the most likely label."""
        return int(self.probabilities.argmax())

    @property
    def shown(self) -> list[int]:
        """Indices of the labels whose probability is shown: all, or of many the most likely, the likeliest first."""
        if len(self.labels) <= MOST_BARS:
            return list(range(len(self.labels)))
        return np.argsort(-self.probabilities, kind="stable")[:MOST_BARS].tolist()

    @property
    def of_digits(self) -> bool:
        """True if the classes are the ten digits."""
        return tuple(self.labels) == DIGITS


@dataclass(frozen=True)
class Layer:
    """Output of a layer for one image: [maps, H, W], or [units]."""

    name: str
    output: np.ndarray


@dataclass(frozen=True)
class ReadDigit:
    """A digit of a picture.

    Attributes:
        image: [28, 28] uint8, as MNIST would have made it.
        no_digit: it is unlike every digit (`recognition.novelty`), by the first model that has a detector.
        answers: answers of the chosen models, in their order.
        layers: layers of the first model; none if its card does not name its network, and from the `SHOWN_INSIDE`th
            digit of a picture on.
    """

    image: np.ndarray
    no_digit: bool
    answers: Sequence[Answer]
    layers: Sequence[Layer]


@dataclass
class _Loaded:
    checksum: str
    digits: DigitReader
    feature_maps: FeatureMaps | None


class Reader:
    """Reader of pictures with the released model and with those of the runs, which may come and go meanwhile.

    Attributes:
        max_bytes: size of the largest picture that is accepted.
    """

    def __init__(self, model_dir: Path, runs_dir: Path, workers: Workers, trust: bool = False) -> None:
        """Create a reader.

        Raises:
            ModelError: the model in `model_dir` cannot be used.
        """
        self.max_bytes = workers.limits.max_bytes
        self._first, self._trust = model_dir, trust
        self._runs_dir = runs_dir
        self._workers = workers
        self._loaded: dict[str, _Loaded] = {}
        self._row_reader: RowReader | None = None
        # One thread has all of Paddle to itself: predictors are not to be shared, and the static mode is a thread's
        # own, which a new thread takes over from the one that started it.
        paddle.enable_static()
        self._paddle = ThreadPoolExecutor(1)
        self._paddle.submit(self._load, self.models()[0]).result()

    def models(self) -> list[str]:
        """Names of the models: the first one's folder, the released one, then the runs that have saved one."""
        return list(self._folders())

    def labels(self) -> dict[str, str]:
        """Name, network and test accuracy of each model, as far as its card has them; by the name alone."""
        return {name: self._label(name, folder) for name, folder in self._folders().items()}

    def _label(self, name: str, folder: Path) -> str:
        try:
            card = read_card(folder)
            score = card["scores"]["test"]
            return one_line(f"{name}: {card['network']}, {100 * score['correct'] / score['total']:.2f} %", 200)
        except (UserError, KeyError, TypeError, ZeroDivisionError):
            return name

    def find(self, picture: object, row: bool = False) -> Found:
        """The digits in a picture: one, or those of its rows, which the first model helps to separate.

        Args:
            picture: of unknown origin; expected is a data URL, as browsers make them of a canvas or a file.
            row: find rows of digits.

        Raises:
            UserError: it is no picture, or too large, or cannot be read.
        """
        data = self._bytes(picture)
        if row:
            rows = self.rows(data)
            found = self.with_first(lambda _: read_rows(rows, self.row_reader()))
            digits = [digit for row in found for digit in row]
            if not digits:
                raise UserError(NOTHING)
            images, boxes = [digit.image for digit in digits], [digit.box for digit in digits]
            votes, trust = [digit.vote for digit in digits], [digit.trust for digit in digits]
            return Found(images, rows.size, boxes, votes=votes, trust=trust)
        with_form = self.cuts(data)
        (cuts,) = self.with_first(lambda digits: digits.settled([with_form]))
        (chosen,) = self.with_first(lambda digits: digits.choose([cuts]))
        return Found.of_one(chosen)

    def cuts(self, picture: bytes) -> Cuts:
        """The digit of a picture, cut out in different ways.

        Raises:
            UserError: it cannot be read.
        """
        (cuts,) = self._workers.read_cuts([picture], self.with_first(lambda digits: digits.way))
        if isinstance(cuts, Unread):
            raise UserError(cuts.why)
        return cuts

    def rows(self, picture: bytes) -> Rows:
        """Rows of digits in a picture, which the first model helps to separate.

        Raises:
            UserError: it cannot be read, or the first model takes no digits that are cut out of pictures.
        """
        if (way := self.with_first(lambda digits: digits.way)) != "digit":
            raise UserError(f"rows: expected a model of handwriting, got one trained with --prepare {way}")
        rows = self._workers.read_rows(picture, lambda images: self.with_first(lambda digits: digits.likeness(images)))
        if isinstance(rows, Unread):
            raise UserError(rows.why)
        return rows

    def with_first(self, work: Callable[[DigitReader], Work]) -> Work:
        """Result of `work`, done with the first model in Paddle's thread."""
        return self._paddle.submit(lambda: work(self._load(self.models()[0]).digits)).result()

    def row_reader(self) -> RowReader:
        """The network of rows, loaded when it is first wanted; only for `work` of `with_first`."""
        self._row_reader = self._row_reader or RowReader.beside(self._first)
        return self._row_reader

    def answer(self, found: Found, models: Sequence[str]) -> list[ReadDigit]:
        """The answer of each of `models` for each digit, as infer.py has it.

        For one digit it is the mean of the plain and the chosen cut's; `lenet_row` reads these too, and the photo's
        vote counts. In a row it is the mean of it and of the network of rows.

        Args:
            found: from `find`.
            models: names from `models`; the layers shown are those of the first.

        Raises:
            UserError: a model is gone, or cannot be used; or too many are wanted.
        """
        if len(models) > MAX_MODELS:
            raise UserError(f"expected at most {MAX_MODELS} models at once, got {len(models)}")
        return self._paddle.submit(self._answer, found, models).result()

    def _answer(self, found: Found, models: Sequence[str]) -> list[ReadDigit]:
        stack = np.asarray(found.images)
        loaded = {name: self._load(name) for name in models}
        first_way = self._load(self.models()[0]).digits.way
        for name, each in loaded.items():
            if each.digits.way != first_way:
                raise UserError(
                    f"{name}: it prepares pictures otherwise (--prepare {each.digits.way}) than {self.models()[0]}, "
                    "which reads first; name it by --model-dir when the page starts"
                )
        digits = {name: each.digits for name, each in loaded.items()}
        telling = next((name for name, each in digits.items() if each.can_tell), None)
        unlike = np.zeros(len(stack), bool)
        if found.is_row:
            unlike = digits[telling].no_digit(stack) if telling else unlike
            alone = {name: each.probabilities(stack) for name, each in digits.items()}
            both = {name: joined(found.votes, alone[name], unlike, each.labels) for name, each in digits.items()}
            probabilities = {name: doubted(each, np.asarray(found.trust)) for name, each in both.items()}
        else:
            read = {name: each.of_chosen(found.chosen) for name, each in digits.items()}
            probabilities = {name: each for name, (each, _) in read.items()}
            unlike = read[telling or models[0]][1] if models else unlike
        layers: dict[str, np.ndarray] = {}
        first = loaded[models[0]] if models else None
        if first and first.feature_maps:
            layers = first.feature_maps.of(first.digits.inputs(stack[:SHOWN_INSIDE]))
        return [
            ReadDigit(
                image,
                bool(unlike[number]),
                [Answer(name, loaded[name].digits.labels, probabilities[name][number]) for name in models],
                [Layer(name, output[number]) for name, output in layers.items() if number < SHOWN_INSIDE],
            )
            for number, image in enumerate(found.images)
        ]

    def _folders(self) -> dict[str, Path]:
        name = one_line(self._first.name or self._first)
        first, released = model_in(self._first), self._first / RELEASED
        folders = {} if first == released else {name: first}
        if (released / CARD).exists():
            folders[f"{name}/{RELEASED}"] = released
        for card in sorted(self._runs_dir.glob("*/inference_model/card.json")):
            folders[one_line(f"{self._runs_dir.name}/{card.parent.parent.name}", 1000)] = card.parent
        return folders

    def _load(self, name: str) -> _Loaded:
        folder = self._folders().get(name)
        if folder is None:
            raise UserError(f"{one_line(name, 100)}: this model is gone")
        model = load_model(folder, self._trust and folder == model_in(self._first))
        known = self._loaded.pop(name, None)
        if known is None or known.checksum != model.card["sha256"]:  # a run that goes on replaces its model
            try:
                feature_maps = FeatureMaps.of_model(model)
            except UserError:  # it reads digits all the same
                feature_maps = None
            known = _Loaded(
                checksum=model.card["sha256"],
                digits=DigitReader(model, Predictor(model), top_k=len(model.card["labels"])),
                feature_maps=feature_maps,
            )
        self._loaded[name] = known  # as the last one
        if len(self._loaded) > KEPT_MODELS:
            del self._loaded[next(iter(self._loaded))]
        return known

    def _bytes(self, picture: object) -> bytes:
        if not isinstance(picture, str) or not picture.startswith("data:"):
            raise UserError("expected a picture, got none")
        if len(picture) > 100 + 4 * self.max_bytes / 3:
            raise UserError(f"expected at most {self.max_bytes} bytes, got more")
        try:
            return base64.b64decode(picture.partition(",")[2], validate=True)
        except ValueError as error:  # binascii's, and that of characters beyond ASCII
            raise UserError("expected a picture, got broken base64") from error
