"""Photographs of a sheet on a table: rows are the sheet's, not the grain of the table; digits with long tails stay."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from PIL import Image, ImageDraw

from recognition.layout import find_strips
from recognition.paper import sheet_alone

DIGITS = 5  # in each of two rows
SHEET = [(190, 120), (800, 160), (770, 900), (150, 860)]  # corners; a photograph of 960×1000


def likeness(images: np.ndarray) -> np.ndarray:
    return np.ones(len(images))  # of each side alike: the page stays as it lies


def written(picture: Image.Image, tail: int = 0) -> np.ndarray:
    """Two rows of noughts on a picture; the third of the first row has a tail, as a 9 has."""
    pen = ImageDraw.Draw(picture)
    for row in range(2):
        for column in range(DIGITS):
            left, top = 300 + 65 * column, 330 + 170 * row
            pen.ellipse((left, top, left + 30, top + 50), outline=60, width=5)
            if tail and (row, column) == (0, 2):
                pen.line((left + 28, top + 20, left + 14, top + tail), fill=60, width=5)
    return np.asarray(picture)


def noisy(grey: np.ndarray, grain: float | np.ndarray) -> np.ndarray:
    rough = scipy.ndimage.gaussian_filter(np.random.default_rng(0).normal(size=grey.shape), 1.5)
    return np.clip(grey + grain * rough / rough.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    picture = Image.new("L", (960, 1000), 80)
    ImageDraw.Draw(picture).polygon(SHEET, fill=215)
    grey = written(picture)
    return noisy(grey, np.where(grey == 80, 25, 2))


def digits_of(grey: np.ndarray) -> list[int]:
    return [scipy.ndimage.label(strip.ink, np.ones((3, 3)))[1] for strip in find_strips(grey, likeness)]


def test_rows_are_those_of_the_sheet_not_of_the_table(photograph: np.ndarray) -> None:
    assert digits_of(photograph) == [DIGITS, DIGITS]


def test_only_the_surroundings_of_a_sheet_change(photograph: np.ndarray) -> None:
    alone, share = sheet_alone(photograph)
    assert 0.35 < share < 0.5  # the sheet has 46 % of the picture, and its rim is left out
    assert alone.min() < 70  # the writing stays
    assert alone[:100].min() > 190  # the table is gone
    assert (alone[300:600, 270:700] == photograph[300:600, 270:700]).all()


def test_a_grainy_table_on_which_light_shines_is_no_sheet() -> None:
    light = 120 * np.exp(-(np.add.outer(np.arange(1000) ** 2, np.arange(960) ** 2)) / 600**2)
    picture = Image.new("L", (960, 1000), 0)
    ImageDraw.Draw(picture).polygon(SHEET, fill=1)
    sheet = np.asarray(picture, bool)
    page = written(Image.new("L", (960, 1000), 190))
    grey = noisy(np.where(sheet, page, 70 + light), np.where(sheet, 2, 20 + light / 3))
    alone, share = sheet_alone(grey)
    assert 0.35 < share < 0.5 and alone[:100].min() > 170
    assert digits_of(grey) == [DIGITS, DIGITS]


def test_a_shadow_is_no_edge_of_a_sheet() -> None:
    light = 215 - 90 / (1 + np.exp((np.arange(1000) - 500) / 60))
    page = noisy(written(Image.new("L", (960, 1000), 215)) * light[:, np.newaxis] / 215, 2)
    alone, share = sheet_alone(page)
    assert share == 1
    assert alone is page


def test_a_digit_with_a_long_tail_belongs_to_its_row() -> None:
    page = noisy(written(Image.new("L", (960, 1000), 215), tail=150), 2)
    strips = find_strips(page, likeness)
    assert digits_of(page) == [DIGITS, DIGITS]
    assert strips[0].ink.shape[0] < 1.5 * strips[1].ink.shape[0]  # the tail is cut off


def test_a_bright_band_in_a_picture_of_one_row_is_no_sheet() -> None:
    row = np.asarray(written(Image.new("L", (960, 1000), 215))[300:400, 260:640], float)
    row[70:] *= 0.6  # the lower part of the paper has a darker print, whose edge is abrupt
    grey = noisy(row, 2)
    assert sheet_alone(grey)[0] is grey
    assert sheet_alone(np.repeat(np.repeat(grey, 2, 0), 2, 1))[1] < 1
