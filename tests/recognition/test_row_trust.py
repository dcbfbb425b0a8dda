"""No sure digit without a mark in rows that were found on papers without a digit; digits on papers stay sure."""

from __future__ import annotations

import numpy as np
import pytest

from data.dataset import Mnist
from recognition.reader import DigitReader
from recognition.row_reader import RowReader
from recognition.shape import DOUBTED
from tests.conftest import MODEL
from tests.recognition.clutter import cluttered
from tests.recognition.papers import blank, lay, row_answers, surely_answered
from tests.recognition.papers import digit as drawn


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL)


@pytest.fixture(scope="module")
def rows() -> RowReader:
    return RowReader.load(MODEL)


def test_a_mark_alone_on_a_paper_is_no_sure_digit(reader: DigitReader, rows: RowReader) -> None:
    hairs_folds_borders_and_holes = [5060, 5077, 5112, 5120, 5147]
    assert not surely_answered(blank, reader, hairs_folds_borders_and_holes, rows)
    assert not surely_answered(cluttered, reader, [3718, 5037, 5038, 5086, 5174, 5201], rows)


def test_clutter_holds_no_sure_digit(reader: DigitReader, rows: RowReader) -> None:
    assert not surely_answered(cluttered, reader, [5128, 5186], rows)


@pytest.mark.parametrize("numbers", [[2], [5], [0], [3, 2], [2, 2]])
def test_digits_on_an_empty_paper_are_sure(
    mnist: Mnist, reader: DigitReader, rows: RowReader, numbers: list[int]
) -> None:
    ink, left = np.zeros((400, 500), np.float32), 150.0
    for number in numbers:
        patch = drawn(mnist.test_images[number], 70, 0.4)
        lay(ink, patch, 150, left)
        left += patch.shape[1] + 20
    answers = row_answers((230 - 170 * ink).astype(np.uint8), reader, rows)
    assert [answer.digits[0][0] for answer in answers] == [str(mnist.test_labels[number]) for number in numbers]
    assert all(answer.digits[0][1] > DOUBTED + 0.02 for answer in answers)
