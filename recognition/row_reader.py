"""A row of digits in, its digits and their places out: the library behind reading rows by `lenet_row`."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.project import model_folder
from data.row_paper import PAPER, levelled
from model.calibration import tempered
from model.decoding import ColumnSpan, placed, search
from model.image import network_input
from model.predictor import Predictor
from model.saved_model import ROWS, SavedModel, load_model, model_in

MARGIN = 8  # pixels of paper that are added at both ends
WIDEST = 4096  # pixels of a row 32 pixels high
COLUMN, FIRST_COLUMN = 2, 10.5  # pixels from one column of scores to the next, and the first one's place
REACH = 14  # pixels on either side of a digit's middle, 32 being the row's height, that may be its own
INK = PAPER + 60  # level from which on a pixel is ink
STRONG = PAPER + 90  # mean level of the darkest 2 % of a line of pixels that has ink
# Height and width of each view of a row, times its own. The wide one sees small digits between tall ones.
VIEWS = ((1.0, 1.0), (1.15, 0.95), (1.0, 1.5))
TOGETHER = 0.7  # power of a row's own probability that its digits' product is at most; chosen on made rows
TINY = 1e-9  # a probability; so that none is divided by 0
TRIM, TRIM_MARGIN = 0.8, 0.12  # a row is trimmed to less than this share of its height, with this margin of its ink
NARROWEST = 48  # pixels of a row that the network gets, with paper at its end


class RowDigit(NamedTuple):
    """One digit of a row.

    Attributes:
        digit: 0 to 9.
        confidence: probability that it is right, calibrated on validation rows; lower if the row may hold more or
            fewer.
        x0: its left edge, pixels of the row.
        x1: its right edge, the first pixel behind it.
        middle: of the columns that the network names it in, pixels of the row.
    """

    digit: int
    confidence: float
    x0: float
    x1: float
    middle: float


class RowReader:
    """A saved model that reads rows of digits. One thread at a time: Paddle's predictors are not to be shared.

    Attributes:
        files: names and checksums of the model's files.
        trial: see `Predictor.trial`.
    """

    def __init__(self, model: SavedModel, predictor: Predictor) -> None:
        """Create a reader; `predictor` runs `model`."""
        self._image, self._temperature, self._predictor = model.image, model.temperature, predictor
        self.files = model.card["files"]
        self.trial = predictor.trial

    @classmethod
    def load(cls, folder: Path | None = None, threads: int = 1) -> RowReader:
        """A reader of the model in a folder; of the released one if none is named.

        Raises:
            ModelError: the folder holds no usable model that reads rows.
        """
        model = load_model(folder or model_folder(), rows=True)
        return cls(model, Predictor(model, threads=threads))

    @classmethod
    def beside(cls, folder: Path, threads: int = 1) -> RowReader:
        """The reader beside a model that reads single digits; the released one if there is none.

        Raises:
            ModelError: neither is usable.
        """
        return cls.if_any(folder, threads) or cls.load(threads=threads)

    @classmethod
    def if_any(cls, folder: Path, threads: int = 1) -> RowReader | None:
        """The reader of `beside`; None if there is no model of rows.

        Raises:
            ModelError: it is not usable.
        """
        found = [model_in(each, rows=True) for each in (folder, model_folder())]
        return next((cls.load(each, threads) for each in found if each.name == ROWS), None)

    def read(self, row: np.ndarray, photo: np.ndarray | None = None) -> list[RowDigit]:
        """Read a row, from the left.

        Args:
            row: [H, W] uint8 grey levels of a strip with one row of digits, upright; light on dark or dark on light.
                The digits are to fill two fifths of its height at least.
            photo: [H, W] uint8, the same strip as it was photographed, if `row` is what was found to be ink in it. What
                is lost in one is often there in the other; both count alike.

        Returns:
            The likeliest digits; none if there are none.
        """
        row, *others = (_trimmed(each, self._levelled(each)) for each in (row, photo) if each is not None)
        views = [self._levelled(each, *view) for each in (row, *others) for view in VIEWS]
        columns = [self._predictor.log_probabilities(network_input(each[np.newaxis], self._image))[0] for each in views]
        found: dict[tuple[int, ...], float] = defaultdict(float)
        for log_probability in columns:
            for digits, value in search(log_probability):
                found[digits] += math.exp(value)
        likeliest = sorted(found, key=lambda each: -found[each])
        digits = next((each for each in likeliest if len(placed(columns[0], each)) == len(each)), ())
        spans = [placed(log_probability, digits) for log_probability in columns]
        confidences = np.mean([self._confidences(each, len(digits)) for each in spans], axis=0)
        # Sure digits of a row that may hold more or fewer are not sure together.
        together = (found[digits] / len(columns)) ** TOGETHER
        confidences *= min(1.0, together / max(confidences.prod(), TINY)) ** (1 / max(len(digits), 1))
        width = row.shape[1]
        scale = width / self._width(row)
        edges = np.clip((np.array(_edges(spans[0], views[0])).reshape(-1, 2) - MARGIN) * scale, 0, width).tolist()
        middles = [(_middle(span) - MARGIN) * scale for span in spans[0]]
        return [
            RowDigit(digit, confidence, x0, x1, middle)
            for digit, confidence, (x0, x1), middle in zip(digits, confidences.tolist(), edges, middles, strict=True)
        ]

    def _width(self, row: np.ndarray, wider: float = 1.0) -> int:
        """Pixels of a row that is 32 pixels high."""
        return min(max(round(row.shape[1] * self._image.size / len(row) * wider), 1), WIDEST)

    def _levelled(self, row: np.ndarray, taller: float = 1.0, wider: float = 1.0) -> np.ndarray:
        """A row as the network takes it, 32 pixels high, with paper at both ends.

        Args:
            row: [H, W] uint8.
            taller: height of the strip, times its own; its first and last line go on.
            wider: width of its digits, times what it would be.
        """
        above = round(len(row) * (taller - 1) / 2)
        row = np.pad(row, ((above, above), (0, 0)), mode="edge")
        width = self._width(row, wider)
        small = Image.fromarray(row).resize((width, self._image.size), Image.Resampling.BILINEAR)
        end = max(MARGIN, NARROWEST - width - MARGIN)
        return np.pad(levelled(np.asarray(small)), ((0, 0), (MARGIN, end)), constant_values=PAPER)

    def _confidences(self, spans: list[ColumnSpan], count: int) -> np.ndarray:
        """Probability of each of the digits in one view; 0 if it has no place for them."""
        if len(spans) != count or not count:
            return np.zeros(count)
        probabilities = tempered(np.stack([span.log_probability for span in spans]), self._temperature)
        return probabilities[np.arange(count), [span.digit for span in spans]]


def _trimmed(row: np.ndarray, level: np.ndarray) -> np.ndarray:
    """A row without the paper above and below its ink, if that is much; `level` is the row, levelled."""
    darkest = np.sort(level, axis=1)[:, -max(level.shape[1] // 50, 2) :].mean(axis=1)
    inked = np.flatnonzero(darkest > STRONG) / level.shape[0] * row.shape[0]
    if not len(inked):
        return row
    step = row.shape[0] / level.shape[0]
    margin = TRIM_MARGIN * (inked[-1] + step - inked[0])
    top, bottom = max(int(inked[0] - margin), 0), int(np.ceil(inked[-1] + step + margin))
    return row[top:bottom] if len(row[top:bottom]) < TRIM * len(row) else row


def _middle(span: ColumnSpan) -> float:
    """Middle of a digit's columns, pixels of a levelled row."""
    return FIRST_COLUMN + COLUMN * (span.start + span.end - 1) / 2


def _edges(spans: list[ColumnSpan], level: np.ndarray) -> list[tuple[float, float]]:
    """Left and right edge of each digit in a levelled row [32, W]: the ink around it, up to halfway to the next."""
    if not spans:
        return []
    middles = [_middle(span) for span in spans]
    halfway = [(one + other) / 2 for one, other in itertools.pairwise(middles)]
    edges = []
    for middle, left, right in zip(middles, [0.0, *halfway], [*halfway, level.shape[1]], strict=True):
        first, last = round(max(left, middle - REACH)), round(min(right, middle + REACH))
        inked = np.flatnonzero((level[:, first:last] > INK).any(axis=0))
        edges.append((first + inked[0], first + inked[-1] + 1.0) if len(inked) else (float(first), float(last)))
    return edges
