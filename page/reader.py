"""A picture from the browser -> its digits as the network gets them, what each chosen model says, feature maps."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from common.errors import UserError, one_line
from model.feature_maps import FeatureMaps
from model.image import network_input
from model.predictor import Predictor
from model.saved_model import SavedModel, load_model
from recognition.kind import PictureKind
from recognition.novelty import NoveltyDetector
from recognition.rows import MOST_PIECES
from recognition.workers import Workers

MAX_MODELS = 12  # that answer at once
KEPT_MODELS = 2 * MAX_MODELS  # in memory, the latest used ones
SHOWN_INSIDE = 16  # digits of a picture whose layers are shown: a page of a hundred would be megabytes


@dataclass(frozen=True)
class Answer:
    """What one model says of one digit: the labels of its card, and the probability of each."""

    model: str
    labels: Sequence[str]
    probabilities: np.ndarray

    @property
    def likeliest(self) -> int:
        """Index of the likeliest label."""
        return int(self.probabilities.argmax())


@dataclass(frozen=True)
class Layer:
    """Output of a layer for one image: [maps, H, W], or [units]."""

    name: str
    output: np.ndarray


@dataclass(frozen=True)
class Found:
    """The digits of a picture.

    Attributes:
        images: [28, 28] uint8 each, as MNIST would have made it.
        size: width and height of the picture as it was read; (0, 0) where no boxes are known.
        boxes: left, top, right, bottom of each digit in pixels of that picture.
    """

    images: Sequence[np.ndarray]
    size: tuple[int, int] = (0, 0)
    boxes: Sequence[tuple[int, int, int, int]] = ()

    def for_browser(self) -> dict[str, Any]:
        """The same as JSON has it: the browser keeps what was found, the page does not."""
        images = base64.b64encode(np.asarray(self.images, np.uint8).tobytes()).decode()
        return {"size": list(self.size), "boxes": [list(box) for box in self.boxes], "images": images}

    @classmethod
    def from_browser(cls, sent: Any) -> Found:
        """The images of `for_browser`, without boxes.

        Raises:
            UserError: `sent`, of unknown origin, is not such a thing.
        """
        try:
            pixels = np.frombuffer(base64.b64decode(sent["images"], validate=True), np.uint8)
            images = pixels.reshape(-1, 28, 28)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("expected digits that were found on a picture") from error
        if not 1 <= len(images) <= MOST_PIECES:
            raise UserError(f"expected 1 to {MOST_PIECES} digits, got {len(images)}")
        return cls(list(images))


@dataclass(frozen=True)
class ReadDigit:
    """A digit of a picture.

    Attributes:
        image: [28, 28] uint8, as MNIST would have made it.
        no_digit: it is unlike every digit (`recognition.novelty`), says the first model that can tell.
        answers: of the chosen models, in their order.
        layers: of the first model; none if its card does not tell which network it is, and from the `SHOWN_INSIDE`th
            digit of a picture on.
    """

    image: np.ndarray
    no_digit: bool
    answers: Sequence[Answer]
    layers: Sequence[Layer]


@dataclass
class _Loaded:
    checksum: str
    model: SavedModel
    predictor: Predictor
    feature_maps: FeatureMaps | None
    novelty: NoveltyDetector | None


class Reader:
    """Reads pictures with the released model and with those of the runs, which may come and go while it lives.

    Attributes:
        max_bytes: largest picture that is taken.
    """

    def __init__(self, model_dir: Path, runs_dir: Path, workers: Workers, trust: bool = False) -> None:
        """Create it.

        Raises:
            ModelError: the model in `model_dir` cannot be used.
        """
        self.max_bytes = workers.limits.max_bytes
        self._first, self._trust = model_dir, trust
        self._runs_dir = runs_dir
        self._workers = workers
        self._loaded: dict[str, _Loaded] = {}
        # One thread has all of Paddle to itself: predictors are not to be shared, and the static mode is a thread's
        # own, which a new thread takes over from the one that started it.
        paddle.enable_static()
        self._paddle = ThreadPoolExecutor(1)
        self._paddle.submit(self._load, self.models()[0]).result()

    def models(self) -> list[str]:
        """Names of the models there are: the first one's folder, then the runs that have saved one."""
        return list(self._folders())

    def find(self, picture: object, row: bool = False) -> Found:
        """The digits in a picture: one, or those of its rows, which the first model helps to tell apart.

        Args:
            picture: of unknown origin; expected is a data URL, as browsers make them of a canvas or a file.
            row: look for rows of digits.

        Raises:
            UserError: it is none, or too large, or cannot be read.
        """
        data = self._bytes(picture)
        if row:
            rows = self._workers.read_rows(data, self._certainty)
            if isinstance(rows, str):
                raise UserError(rows)
            return Found([digit.image for digit in rows.digits], rows.size, [digit.box for digit in rows.digits])
        (image,) = self._workers.read([data])
        if isinstance(image, str):
            raise UserError(image)
        return Found([image])

    def answer(self, images: Sequence[np.ndarray], models: Sequence[str]) -> list[ReadDigit]:
        """What each of `models` says of each image.

        Args:
            images: from `find`.
            models: names from `models`; the first one also shows its layers.

        Raises:
            UserError: a model is not there any more, or cannot be used; or too many are wanted.
        """
        if len(models) > MAX_MODELS:
            raise UserError(f"expected at most {MAX_MODELS} models at once, got {len(models)}")
        return self._paddle.submit(self._answer, images, models).result()

    def _certainty(self, images: np.ndarray) -> np.ndarray:
        return self._paddle.submit(self._probabilities, self.models()[0], images).result().max(axis=1)

    def _probabilities(self, name: str, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        loaded = self._load(name)
        return loaded.predictor.calibrated(_inputs(loaded.model, images))

    def _answer(self, images: Sequence[np.ndarray], models: Sequence[str]) -> list[ReadDigit]:
        probabilities = {name: self._probabilities(name, images) for name in models}
        first = self._load(models[0]) if models else None
        named = next((name for name in models if self._loaded[name].novelty), None)
        detector = self._loaded[named].novelty if named else None
        kind = PictureKind.of_card(self._loaded[named].model.card) if named else PictureKind()
        unlike = detector.holds_no_digit(kind.apply(np.asarray(images))) if detector else np.zeros(len(images), bool)
        layers: dict[str, np.ndarray] = {}
        if first and first.feature_maps:
            layers = first.feature_maps.of(_inputs(first.model, images[:SHOWN_INSIDE]))
        return [
            ReadDigit(
                image,
                bool(unlike[number]),
                [Answer(name, self._loaded[name].model.card["labels"], probabilities[name][number]) for name in models],
                [Layer(name, output[number]) for name, output in layers.items() if number < SHOWN_INSIDE],
            )
            for number, image in enumerate(images)
        ]

    def _folders(self) -> dict[str, Path]:
        folders = {one_line(self._first.name or self._first): self._first}
        for card in sorted(self._runs_dir.glob("*/inference_model/card.json")):
            folders[one_line(f"{self._runs_dir.name}/{card.parent.parent.name}", 1000)] = card.parent
        return folders

    def _load(self, name: str) -> _Loaded:
        folder = self._folders().get(name)
        if folder is None:
            raise UserError(f"{one_line(name, 100)}: this model is not there any more")
        model = load_model(folder, self._trust and folder == self._first)
        known = self._loaded.pop(name, None)
        if known is None or known.checksum != model.card["sha256"]:  # a run that goes on replaces its model
            try:
                feature_maps = FeatureMaps.of_model(model)
            except UserError:  # it reads digits all the same
                feature_maps = None
            known = _Loaded(
                checksum=model.card["sha256"],
                model=model,
                predictor=Predictor(model),
                feature_maps=feature_maps,
                novelty=NoveltyDetector.from_bytes(model.novelty) if model.novelty is not None else None,
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
        except binascii.Error as error:
            raise UserError("expected a picture, got broken base64") from error


def _inputs(model: SavedModel, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    spec = model.input
    made_alike = PictureKind.of_card(model.card).apply(np.asarray(images))
    return network_input(made_alike, size=spec["shape"][-1], low=spec["low"], high=spec["high"], fit=spec["fit"])
