"""Squared paper whose lines are about as dark as the ink: it parts no row, and no sheet; a table's cells stay."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recognition.layout import find_strips
from recognition.paper import sheet_alone

ROWS, DIGITS = 3, 5


def unsure(images: np.ndarray) -> np.ndarray:
    return np.full(len(images), 0.5)


def squared(pitch: int, thick: int, level: int, lean: float = 0.0, paper: int = 220) -> np.ndarray:
    """Three rows of five noughts, 50 pixels high and of level 50, on squared paper."""
    picture = Image.new("L", (760, 430), paper)
    pen = ImageDraw.Draw(picture)
    for along in range(11, 760, pitch):
        pen.line((along, 0, along, 430), fill=level, width=thick)
        pen.line((0, along, 760, along), fill=level, width=thick)
    for row in range(ROWS):
        for column in range(DIGITS):
            left, top = 100 + 50 * column, 60 + 110 * row
            pen.ellipse((left, top, left + 32, top + 50), outline=50, width=6)
    return np.asarray(picture.rotate(lean, Image.Resampling.BICUBIC, fillcolor=paper))


@pytest.mark.parametrize(
    ("pitch", "thick", "level"), [(20, 3, 85), (28, 2, 60), (28, 1, 110), (56, 2, 60), (70, 3, 100)]
)
@pytest.mark.parametrize("lean", [-3.0, 0.0, 1.5])
def test_dark_squares_part_no_row(pitch: int, thick: int, level: int, lean: float) -> None:
    strips = find_strips(squared(pitch, thick, level, lean), unsure)
    assert len(strips) == ROWS
    for strip in strips:
        gaps = np.diff(np.flatnonzero(strip.ink.any(axis=0)))
        assert 45 < strip.height < 60 and np.count_nonzero(gaps > 8) == DIGITS - 1


def test_a_part_of_squared_paper_is_no_sheet() -> None:
    assert sheet_alone(squared(18, 2, 80))[1] == 1


def test_numbers_in_square_cells_stay_apart() -> None:
    picture = Image.new("L", (820, 820), 220)
    pen = ImageDraw.Draw(picture)
    for along in range(50, 800, 90):
        pen.line((along, 50, along, 770), fill=60, width=2)
        pen.line((50, along, 770, along), fill=60, width=2)
    for top in (140, 410):  # three rows would show columns
        for left in range(50, 410, 90):
            for right in (18, 48):
                pen.ellipse((left + right, top + 25, left + right + 22, top + 62), outline=50, width=5)
    assert len(find_strips(np.asarray(picture), unsure)) == 8
