"""Digits that the network of rows left out: ink as high as the row's digits in which it names none.

Small digits beside tall ones look like the marks that it learned to leave out. Such a piece of ink is read once more,
by itself, so that it fills the strip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy

from recognition.page_ink import Piece, pieces_of
from recognition.strip import Strip

if TYPE_CHECKING:
    from recognition.row_reader import RowDigit, RowReader

LOWEST = 0.5  # of the usual height of the pieces that are digits: lower pieces may be commas, points and dashes
FEWEST = 2  # digits of a row: one alone is often a cell, with rests of its borders and of its neighbours
NARROW, LONG = 0.45, 6  # of its height; digits: narrower pieces at the ends of shorter rows are rests of lines
BESIDE = 0.25, 0.15  # of a piece's width or height: a digit that is named this far beside a piece may be this piece
COVERED = 0.3  # of a piece's width: if others cover more, it is a part of one of them
SURE = 0.5  # confidence of the digit that such a piece is
PAPER = 255


def with_left_out(strip: Strip, digits: Sequence[RowDigit], reader: RowReader) -> list[RowDigit]:
    """The digits of a strip, from the left, with those that the network left out.

    Args:
        strip: a row of writing.
        digits: what `reader` found in it.
        reader: reads the pieces once more, one by one.
    """
    labels, _ = scipy.ndimage.label(strip.ink, np.ones((3, 3)))
    pieces = pieces_of(labels)
    named = [piece for piece in pieces if any(_is_in(digit.middle, piece) for digit in digits)]
    if len(named) < FEWEST:
        return list(digits)
    first, last = min(digit.middle for digit in digits), max(digit.middle for digit in digits)
    least = LOWEST * float(np.median([piece.high for piece in named]))
    found = list(digits)
    high = [piece for piece in pieces if piece.high >= least]
    for piece in high:
        if piece in named or any(_cover(piece, other) > COVERED for other in high if other is not piece):
            continue
        left, top, right, bottom = piece.box
        within = first < (left + right) / 2 < last or len(named) >= LONG
        if piece.wide < NARROW * piece.high and (strip.ruled or not within):
            continue
        part = slice(top, bottom), slice(left, right)
        alone = np.where(labels[part] == piece.number, strip.grey[part], np.uint8(PAPER))
        read = reader.read(np.pad(alone, round(0.2 * piece.high), constant_values=PAPER))
        if len(read) == 1 and read[0].confidence >= SURE:
            found = [_beside(digit, piece) for digit in found]
            found.append(read[0]._replace(x0=float(left), x1=float(right), middle=(left + right) / 2))
    return sorted(found, key=lambda digit: digit.middle)


def _is_in(middle: float, piece: Piece) -> bool:
    left, _, right, _ = piece.box
    beside = max(BESIDE[0] * piece.wide, BESIDE[1] * piece.high)
    return left - beside <= middle <= right + beside


def _cover(piece: Piece, other: Piece) -> float:
    """Part of a piece's width that another one stands above or below."""
    return max(0, min(piece.box[2], other.box[2]) - max(piece.box[0], other.box[0])) / piece.wide


def _beside(digit: RowDigit, piece: Piece) -> RowDigit:
    """A digit without the columns of a piece that is another one."""
    left, _, right, _ = piece.box
    if digit.middle < (left + right) / 2:
        return digit._replace(x1=min(digit.x1, max(float(left), digit.x0)))
    return digit._replace(x0=max(digit.x0, min(float(right), digit.x1)))
