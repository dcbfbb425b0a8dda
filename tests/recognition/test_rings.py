"""Numbers with a stroke drawn around them: it is left out, and what it surrounds or touches is read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recognition.layout import find_strips
from tests.recognition.test_squares import unsure


def circled(digits: int, high: int, down: int, span: tuple[int, int]) -> np.ndarray:
    """Noughts, 32×50 pixels, the first one moved down, in an ellipse of a height and of `span` degrees."""
    picture = Image.new("L", (800, 500), 220)
    pen = ImageDraw.Draw(picture)
    for digit in range(digits):
        top = 225 + (down if digit == 0 else 0)
        pen.ellipse((300 + 50 * digit, top, 332 + 50 * digit, top + 50), outline=50, width=6)
    middle, reach = 291 + 25 * digits, 40 + 30 * digits
    pen.arc((middle - reach, 250 - high // 2, middle + reach, 250 + high // 2), *span, fill=50, width=3)
    return np.asarray(picture)


@pytest.mark.parametrize(("digits", "high", "down"), [(1, 90, 0), (3, 90, 0), (5, 130, 5), (3, 110, 24), (5, 110, 24)])
@pytest.mark.parametrize("span", [(0, 360), (-80, 270)])  # closed and open
def test_a_stroke_around_a_number_is_left_out(digits: int, high: int, down: int, span: tuple[int, int]) -> None:
    (strip,) = find_strips(circled(digits, high, down, span), unsure)
    left, _, right, _ = strip.box(0, 0, *strip.ink.shape[::-1])
    assert 40 < strip.height < 60 and 280 <= left < right <= 300 + 50 * digits + 5
    assert np.count_nonzero(np.diff(np.flatnonzero(strip.ink.any(axis=0))) > 8) == digits - 1
