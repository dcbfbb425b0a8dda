"""Digits that the network of rows left out are read once more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recognition.left_out import with_left_out
from recognition.row_reader import RowDigit
from recognition.strip import Strip, Turn


class Reader:
    """Stands for the network: reads what it is given alone as a 0."""

    def __init__(self, confidence: float) -> None:
        self.confidence, self.asked = confidence, 0

    def read(self, row: np.ndarray) -> list[RowDigit]:
        self.asked += 1
        return [RowDigit(0, self.confidence, 0, row.shape[1], row.shape[1] / 2)]


def strip_of(high: int, wide: int, ruled: bool = False) -> Strip:
    """Pieces at columns 10, 40 and 70; the middle one of this size, the others 20×14."""
    ink = np.zeros((40, 100), bool)
    ink[10:30, 10:24] = ink[10:30, 70:84] = ink[20 - high // 2 : 20 + high // 2, 40 : 40 + wide] = True
    turn = Turn((100, 40), 1.0, 0.0, (100, 40))
    return Strip(np.where(ink, 0, 255).astype(np.uint8), ink, 20.0, 0, 0, turn, ruled)


FOUND = [RowDigit(5, 0.9, 10, 45, 17), RowDigit(6, 0.9, 45, 84, 77)]


@pytest.mark.parametrize(
    ("high", "wide", "ruled", "confidence", "read"),
    [
        (14, 12, False, 0.9, [5, 0, 6]),
        (14, 12, True, 0.9, [5, 0, 6]),
        (14, 4, False, 0.9, [5, 0, 6]),
        (14, 4, True, 0.9, [5, 6]),  # a rest of a line
        (6, 6, False, 0.9, [5, 6]),  # a point
        (14, 12, False, 0.3, [5, 6]),
    ],
)
def test_ink_as_high_as_digits_is_read_once_more(
    high: int, wide: int, ruled: bool, confidence: float, read: list[int]
) -> None:
    reader: Any = Reader(confidence)
    found = with_left_out(strip_of(high, wide, ruled), FOUND, reader)
    assert [digit.digit for digit in found] == read
    if len(read) == 3:
        assert found[0].x1 <= 40 and found[2].x0 >= 40 + wide and (found[1].x0, found[1].x1) == (40, 40 + wide)


def test_a_narrow_digit_named_beside_its_ink_is_not_read_again() -> None:
    reader: Any = Reader(0.9)
    found = [FOUND[0], RowDigit(1, 0.9, 36, 46, 46), FOUND[1]]
    assert with_left_out(strip_of(20, 4), found, reader) == found and not reader.asked


def test_pieces_above_each_other_are_no_digits() -> None:
    strip, reader = strip_of(14, 12), Reader(0.9)
    strip.ink[:, 40:52] = False
    strip.ink[4:16, 40:52] = strip.ink[24:36, 40:52] = True
    strip.grey[:] = np.where(strip.ink, 0, 255)
    some: Any = reader
    assert [digit.digit for digit in with_left_out(strip, FOUND, some)] == [5, 6] and not reader.asked


def test_one_digit_has_no_neighbours_that_were_left_out() -> None:
    reader: Any = Reader(0.9)
    assert with_left_out(strip_of(14, 12), FOUND[:1], reader) == FOUND[:1] and not reader.asked
