"""Pictures of rows of digits -> the answer for each row, each digit with its place: `infer.py --lines`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UsageError
from recognition.reader import Answer, DigitReader, Failure, source
from recognition.row_reader import RowReader
from recognition.rows import read_rows
from recognition.strip import NOTHING, Rows
from recognition.workers import Unread, Workers

REJECTED = "?"  # stands for a rejected digit in a row's text

Box = tuple[int, int, int, int]  # left, top, width, height in pixels of the picture, turned by its EXIF data


@dataclass(frozen=True)
class PlacedDigit:
    """One digit of a row: the reader's answer, and its box in the picture itself and in `PageAnswer.grey`."""

    answer: Answer
    box: Box
    box_in_grey: Box

    @property
    def text(self) -> str:
        """The digit, or `REJECTED`."""
        return REJECTED if self.answer.rejected else self.answer.digits[0][0]


@dataclass(frozen=True)
class RowAnswer:
    """A row of digits, from the left; at least one."""

    digits: Sequence[PlacedDigit]

    @property
    def text(self) -> str:
        """The digits, `REJECTED` for each rejected one."""
        return "".join(digit.text for digit in self.digits)

    @property
    def probability(self) -> float:
        """Probability that all digits are right, if they are independent."""
        return math.prod(digit.answer.digits[0][1] for digit in self.digits)

    @property
    def rejected(self) -> bool:
        """True if a digit is rejected."""
        return any(digit.answer.rejected for digit in self.digits)

    @property
    def no_digit(self) -> bool:
        """True if one of the pieces is unlike every digit."""
        return any(digit.answer.no_digit for digit in self.digits)

    @property
    def box(self) -> Box:
        """Box around all digits."""
        left, top = (min(digit.box[side] for digit in self.digits) for side in (0, 1))
        right, bottom = (max(digit.box[side] + digit.box[side + 2] for digit in self.digits) for side in (0, 1))
        return left, top, right - left, bottom - top


@dataclass(frozen=True)
class PageAnswer:
    """A picture with the answers for its rows.

    Attributes:
        path: path as it was given.
        rows: at least one, from the top.
        grey: [height, width] uint8, the picture as it was read: turned upright, and reduced if it was large.
    """

    path: str
    rows: Sequence[RowAnswer]
    grey: np.ndarray


def read_pages(
    paths: Iterable[str], reader: DigitReader, rows: RowReader, workers: Workers
) -> Iterator[PageAnswer | Failure]:
    """Find and read the rows of digits in each picture; arguments as for `recognition.reader.recognise`.

    `rows` reads each row; `reader` reads its digits once more, one by one.

    Raises:
        UsageError: the model takes no digits that are cut out of pictures.
    """
    if reader.way != "digit":
        raise UsageError(f"--lines: expected a model of handwriting, got one trained with --prepare {reader.way}")
    for path in paths:
        found = workers.read_rows(source(path, workers.limits.max_bytes), reader.likeness)
        if isinstance(found, Unread):
            yield Failure(path, found.why, found.blank)
        else:
            page = page_of(path, found, reader, rows)
            yield page if page.rows else Failure(path, NOTHING, no_digit=True)


def page_of(path: str, found: Rows, reader: DigitReader, rows: RowReader) -> PageAnswer:
    """The rows found in a picture, as `rows` and `reader` read them; `path` is the picture's name."""
    scales = [own / read for own, read in zip(found.own_size, found.size, strict=True)]
    answers = []
    for row in read_rows(found, rows):
        placed = zip(reader.row(path, row), [digit.box for digit in row], strict=True)
        digits = [PlacedDigit(answer, _scaled(box, scales), _scaled(box, [1, 1])) for answer, box in placed]
        answers.append(RowAnswer(digits))
    return PageAnswer(path, answers, found.grey)


def _scaled(corners: tuple[int, int, int, int], scales: Sequence[float]) -> Box:
    """Smallest box of whole pixels that holds these corners after scaling."""
    left, top = (math.floor(corner * scale) for corner, scale in zip(corners[:2], scales, strict=True))
    right, bottom = (math.ceil(corner * scale) for corner, scale in zip(corners[2:], scales, strict=True))
    return left, top, right - left, bottom - top
