"""A strip with a row of digits is read by the released model, wherever it is tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from common.project import model_folder
from data.dataset import Mnist
from data.rows import PLAIN, RowMaker
from model.saved_model import ModelError
from recognition.row_reader import RowReader

SOME = replace(PLAIN, pen=True, slant=True, size=True, spacing=True)


@pytest.fixture(scope="module")
def reader() -> RowReader:
    return RowReader.load(model_folder() / "released")


@pytest.fixture(scope="module")
def rows(mnist: Mnist) -> tuple[list[np.ndarray], list[list[int]]]:
    """Twenty rows of test digits, 96 pixels high."""
    made, digits = RowMaker(mnist.test_images, mnist.test_labels, 7, 3, SOME).rows(range(20))
    return [np.array(Image.fromarray(row).resize((3 * row.shape[1], 96))) for row in made], digits


def read(reader: RowReader, row: np.ndarray) -> list[int]:
    return [one.digit for one in reader.read(row)]


def test_rows_are_read(reader: RowReader, rows: tuple[list[np.ndarray], list[list[int]]]) -> None:
    right = sum(read(reader, row) == digits for row, digits in zip(*rows, strict=True))
    assert right >= 14  # of 20; cut and choose (recognition/rows.py) reads 8


def test_ink_that_was_lost_is_seen_in_the_photo(
    reader: RowReader, rows: tuple[list[np.ndarray], list[list[int]]]
) -> None:
    """A band of each row is lost, as with a line that was taken away along it."""
    alone = both = 0
    for row, digits in zip(*rows, strict=True):
        found = row.copy()
        found[46:62] = 255
        alone += read(reader, found) == digits
        both += [one.digit for one in reader.read(found, row)] == digits
    assert both >= alone + 4


def test_small_zeros_beside_tall_digits_are_read(reader: RowReader, mnist: Mnist) -> None:
    """Close together and less than half as high, as people write them; without the wide view 27 of 40 are right."""
    random = np.random.default_rng(1)
    right = 0
    for _ in range(40):
        digits = [int(random.integers(1, 10)) if random.random() < 0.6 else 0 for _ in range(random.integers(5, 10))]
        strip, left = np.zeros((100, 1000), np.uint8), 20
        for digit in digits:
            image = mnist.test_images[random.choice(np.flatnonzero(mnist.test_labels == digit))]
            height = 72 if digit else 32
            ink = Image.fromarray(image).crop(Image.fromarray(image).point(lambda level: 255 * (level > 80)).getbbox())
            small = np.asarray(ink.resize((max(round(0.8 * ink.width * height / ink.height), 3), height)))
            strip[50 - height // 2 :, left:][:height, : small.shape[1]] = small
            left += small.shape[1] + 3
        right += read(reader, 255 - strip[:, : left + 20]) == digits
    assert right >= 32


def test_sure_digits_of_a_row_that_may_hold_more_are_not_sure(reader: RowReader) -> None:
    """The network is sure of a 5, and sees a 7 behind it with 45 %."""
    columns = np.full((1, 20, 11), 1e-6)
    columns[0, :, 10] = columns[0, 4, 5] = 1
    columns[0, 4, 10], columns[0, 12, [7, 10]] = 1e-6, (0.45, 0.55)
    model = SimpleNamespace(image=reader._image, temperature=1.0, card={"files": {}})
    predictor = SimpleNamespace(trial=None, log_probabilities=lambda _: np.log(columns))
    (digit,) = RowReader(cast(Any, model), cast(Any, predictor)).read(np.full((32, 60), 255, np.uint8))
    assert digit.digit == 5 and 0.5 < digit.confidence < 0.7


def test_light_ink_is_read_like_dark_ink(reader: RowReader, rows: tuple[list[np.ndarray], list[list[int]]]) -> None:
    for row in rows[0][:5]:
        assert read(reader, 255 - row) == read(reader, row)


def test_places_are_those_of_the_digits(reader: RowReader, mnist: Mnist) -> None:
    """Three digits of MNIST, 40 pixels apart in a strip with much paper above and below."""
    strip = np.full((120, 300), 230, np.uint8)
    lefts = (40, 110, 180)
    for left, image in zip(lefts, mnist.test_images[:3], strict=True):
        digit = np.array(Image.fromarray(image).resize((56, 56), Image.Resampling.BILINEAR)).astype(int)
        strip[30:86, left : left + 56] = 230 - digit * 200 // 255
    found = reader.read(strip)
    assert [one.digit for one in found] == mnist.test_labels[:3].tolist()
    for one, left in zip(found, lefts, strict=True):
        assert left - 4 <= one.x0 < one.x1 <= left + 60 and one.x1 - one.x0 >= 6
        assert 0.5 < one.confidence <= 1


def test_paper_without_writing_has_no_digits(reader: RowReader) -> None:
    noise = np.random.default_rng(0).normal(200, 3, (64, 400))
    for paper in (np.full((64, 400), 255), noise, np.full((1, 1), 0)):
        assert reader.read(paper.astype(np.uint8)) == []


def test_a_model_that_reads_single_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a model that reads rows of digits"):
        RowReader.load(Path(__file__).parents[1] / "samples" / "c93bf08" / "run" / "inference_model")
