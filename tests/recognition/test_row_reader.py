"""A strip with a row of digits is read by the released model, wherever it is tried."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.project import model_folder
from data.dataset import Mnist
from data.rows import Ingredients, RowMaker
from model.saved_model import ModelError
from recognition.row_reader import RowReader

NONE = Ingredients(**dict.fromkeys((field.name for field in fields(Ingredients)), False))
SOME = replace(NONE, pen=True, slant=True, size=True, spacing=True)


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
