"""Other digits in a picture of which one was found: small ones, those in boxes, and those that touch it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from data.dataset import Mnist
from recognition.cuts import Cuts, cut_digit
from recognition.reader import DigitReader
from recognition.row_reader import RowDigit, RowReader
from recognition.second_look import second_look
from recognition.shape import DOUBTED
from tests.conftest import MODEL
from tests.recognition.numbers import number
from tests.recognition.papers import several, surely_answered
from tests.recognition.test_cuts import NUMBERS, digit, picture, put


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL)


def pair(mnist: Mnist, first: int, second: int, height: int, smaller: int) -> np.ndarray:
    """A digit of a height in pixels, and a smaller one beside it."""
    one, other = digit(mnist, first, height), digit(mnist, second, smaller)
    sheet = np.zeros((height + 40, 80 + one.shape[1] + other.shape[1]), np.float32)
    return picture(put(put(sheet, one, 20, 30), other, 30, 38 + one.shape[1]))


def test_numbers_that_were_answered_surely(reader: DigitReader, mnist: Mnist) -> None:
    seeds = [3213, 3255, 3267, 3328, 3335, 3343, 3369]
    assert not surely_answered(lambda seed: number(seed, mnist.test_images), reader, seeds)
    assert not surely_answered(lambda seed: several(seed, mnist.test_images), reader, [3298, 3367])


def test_a_smaller_digit_beside_one(reader: DigitReader, mnist: Mnist) -> None:
    for first in NUMBERS:
        answer = reader.answer(pair(mnist, first, first + 1, 60, 24))
        assert answer.several or answer.digits[0][1] < 0.9, first


def test_a_digit_a_quarter_as_high_beside_one(reader: DigitReader, mnist: Mnist) -> None:
    answers = [reader.answer(pair(mnist, first, first + 1, 120, 30)) for first in NUMBERS]
    assert (
        sum(not each.several and each.digits[0][1] > 0.9 for each in answers) < 4
    )  # 9 if small pieces are passed over


def test_the_network_of_rows_is_asked_in_suspicion_alone(
    reader: DigitReader, mnist: Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reader.rows
    asked: list[np.ndarray] = []

    def read(strip: np.ndarray) -> list[RowDigit]:
        asked.append(strip)
        return []

    monkeypatch.setattr(reader.rows, "read", read)
    narrow = [each for each in NUMBERS if digit(mnist, each, 60).shape[1] < 45]
    assert len(narrow) > 8
    cuts = [cut_digit(picture(np.pad(digit(mnist, each, 60), 30))) for each in narrow]
    assert not any(each.several for each in reader.settled(cuts))
    assert not asked
    answer = reader.answer(several(3298, mnist.test_images)[1])
    assert asked and answer.digits[0][1] < 0.9  # they found nothing
    asked.clear()
    reader.settled([cut_digit(several(3298, mnist.test_images)[1])])
    assert len(asked) == 1


def test_without_a_network_of_rows(mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = shutil.copytree(MODEL, tmp_path / "alone", ignore=shutil.ignore_patterns("rows"))
    assert RowReader.if_any(alone)  # the released one
    monkeypatch.setattr("recognition.row_reader.model_folder", lambda: tmp_path)
    reader = DigitReader.load(alone)
    assert reader.rows is None
    assert surely_answered(lambda seed: several(seed, mnist.test_images), reader, [3298])


def looked(label: int, *found: tuple[int, float]) -> Cuts:
    """A picture of a digit after a second look, in which `lenet_row` finds digits with their confidences."""
    digits = [RowDigit(digit, confidence, 0, 1, 0.5) for digit, confidence in found]
    cuts = Cuts(np.zeros((1, 28, 28), np.uint8))
    return second_look(cuts, lambda _: np.eye(10)[[label]], lambda images: np.zeros(len(images)), lambda _: digits)


def test_a_second_look() -> None:
    assert [each.several for each in (looked(5, (1, 0.9), (5, 0.8)), looked(5, (1, 0.4), (5, 0.9)))] == [True, False]
    for sure in (looked(5, (5, 0.75)), looked(5, (6, 0.8)), looked(5, (5, 0.9), (1, 0.2))):
        assert sure.trust == 1 and not sure.several
    for doubted in (looked(5), looked(5, (5, 0.6)), looked(5, (6, 0.95)), looked(5, (1, 0.4), (5, 0.9))):
        assert doubted.trust == DOUBTED
