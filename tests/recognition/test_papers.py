"""No sure answer without a mark for papers without a digit, or with several."""

from __future__ import annotations

import numpy as np
import pytest

from data.dataset import Mnist
from recognition.cuts import cut_digit
from recognition.reader import DigitReader
from recognition.shape import DOUBTED
from tests.conftest import MODEL
from tests.recognition.clutter import cluttered
from tests.recognition.numbers import number
from tests.recognition.papers import blank, several, surely_answered


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL)


def test_papers_without_a_digit(reader: DigitReader) -> None:
    assert not surely_answered(blank, reader, [*range(13), 20, 33, 46, 50, 92, 102, 120, 126, 140, 179])


def test_papers_with_several_digits(reader: DigitReader, mnist: Mnist) -> None:
    assert not surely_answered(lambda seed: several(seed, mnist.test_images), reader, [*range(8), 163, 180])


def test_clutter_and_numbers_that_were_answered_surely(reader: DigitReader, mnist: Mnist) -> None:
    clutter = [14, 22, 26, 81, 85, 98, 152, 164, 183, 244, 248]
    assert not surely_answered(cluttered, reader, clutter)
    assert not surely_answered(blank, reader, [1070, 1104, 1154, 1199])
    numbers = [42, 50, 66, 138, 158, 177, 206, 209, 222, 230, 235, 3550, 9201]
    assert not surely_answered(lambda seed: number(seed, mnist.test_images), reader, numbers)


def test_bent_hairs_and_arcs_as_if_drawn_by_compasses(reader: DigitReader) -> None:
    assert not surely_answered(cluttered, reader, [3498, 3719])


def test_exact_rings_are_no_sure_digit(reader: DigitReader) -> None:
    row, column = np.mgrid[:200, :200] - 99.5
    for wide in (6, 14, 22, 30):
        for stretched in (1.0, 0.75):
            away = np.hypot(row, column / stretched)
            ring = np.where((away < 60) & (away > 60 - wide), 50, 230).astype(np.uint8)
            assert (cut_digit(ring).trust == DOUBTED) == (stretched == 1.0), (wide, stretched)
            assert reader.answer(ring).digits[0][0] == "0"


def test_a_gap_in_a_thing_is_no_ink(reader: DigitReader) -> None:
    """Light trousers on black, shaded at their sides, with a gap between the legs; beside them, a dark stroke."""
    trousers, stroke = np.zeros((28, 28), np.uint8), np.full((28, 28), 230, np.uint8)
    trousers[1:27, 8:20] = [60, 120, *[220] * 8, 120, 60]
    trousers[1], trousers[7:26, 13:15], stroke[5:23, 13:16] = trousers[1] // 3, 0, 40
    assert [answer.no_digit for answer in reader.answer_all([trousers, stroke])] == [True, False]


def test_a_line_through_the_picture_is_no_digit_and_a_stroke_is_one(reader: DigitReader) -> None:
    line, stroke = np.full((2, 200, 160), 230, np.uint8)
    line[:, 60:64] = stroke[40:160, 60:70] = 60
    answers = [reader.answer(each) for each in (line, stroke)]
    assert [answer.no_digit for answer in answers] == [True, False]
    assert cut_digit(stroke).trust == 1


def test_the_edges_of_a_sheet_are_no_sure_digit(reader: DigitReader) -> None:
    """A sheet on a dark table; and one with a shadow along its edge, whose bar is no digit's as one on paper is."""
    row, column = np.mgrid[:80, :60]
    table = (column < 7) | (row > 75) | (column > 59 - 0.1 * row)
    answer = reader.answer(np.where(table, 70, 235).astype(np.uint8))
    assert answer.no_digit or answer.digits[0][1] < 0.9
    ruled = np.full((110, 90), 220, np.uint8)
    ruled[84:87], ruled[26:86, 40:47] = 120, 40
    assert reader.answer(ruled).digits[0] > ("1", 0.9), "its photo shows it"
    stroke = np.full((200, 160), 220, np.uint8)
    shadow = stroke.copy()
    shadow[:, 80:], shadow[40:160, 74:84], stroke[40:160, 74:84] = 110, 40, 40
    assert [cut_digit(each).trust for each in (shadow, stroke)] == [DOUBTED, 1]
    assert [cut_digit(each[::2, ::2]).trust for each in (shadow, stroke)] == [DOUBTED, 1]
    stroke[:, 80:] = np.where(stroke[:, 80:] == 220, 200, 40)
    assert cut_digit(stroke).trust == 1, "its paper is shaded"


def test_a_picture_of_mnists_kind_in_a_box(reader: DigitReader, mnist: Mnist) -> None:
    boxed = mnist.test_images[2].copy()
    boxed[[0, -1]] = boxed[:, [0, -1]] = 255
    assert [reader.answer(each).digits[0][0] for each in (boxed, 255 - boxed)] == ["1", "1"]
