"""Trust in what was found on a page: dirt is read as digits too, mostly as 1 or 0, and seldom surely.

A page on which next to nothing is surely another digit than 1 shows clutter: lines of print, a stamp, noise. A digit
alone in its row is judged by its shape and place, as in a picture of one digit. A short stroke on an empty page is a
hair as likely as a 1. Sure digits above 1 elsewhere on the page speak for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from recognition.segmentation import Ink
from recognition.shape import DOUBTED, trust
from recognition.strip import LEVEL

if TYPE_CHECKING:
    from recognition.rows import FoundDigit

# Chosen on drawn papers (tests/recognition/papers.py and clutter.py, seeds 5000 to 5259) and on strangers' pages.
# Of what is found, sure digits other than 1 are at most 0.13 on the former, 0.37 and more on the latter.
SURE = 0.8  # confidence
FEWEST, CLUTTER = 4, 0.2  # digits of a page; the share of them that is sure and no 1, below which it is clutter
COMPANY = 0.5  # share of a page's other digits that is sure and neither 0 nor 1: then a digit alone is trusted


def trusted(rows: Sequence[Sequence[FoundDigit]]) -> list[list[FoundDigit]]:
    """The digits of a page, each with the trust that it deserves."""
    votes = [digit.vote for row in rows for digit in row]
    sure = [digit for digit, confidence in votes if confidence > SURE]
    if len(votes) >= FEWEST and sum(digit != 1 for digit in sure) < CLUTTER * len(votes):
        return [[replace(digit, trust=DOUBTED) for digit in row] for row in rows]
    others = sum(digit > 1 for digit in sure)

    def of(digit: FoundDigit) -> float:
        company = others - (digit.vote[0] > 1 and digit.vote[1] > SURE)
        return 1.0 if len(votes) > 1 and company >= COMPANY * (len(votes) - 1) else _alone(digit)

    return [[replace(row[0], trust=of(row[0]))] if len(row) == 1 else list(row) for row in rows]


def _alone(digit: FoundDigit) -> float:
    """Trust by shape, and by place on the page: 1 or `DOUBTED`."""
    strip, near = digit.strip, digit.ink
    mask = np.asarray(Image.fromarray(near.own).resize(strip.ink.shape[::-1], Image.Resampling.NEAREST))
    width, height = strip.turn.turned
    row, column = np.nonzero(mask)
    row, column = strip.top + row + np.rint(strip.fall * column).astype(int), strip.left + column
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    own = np.zeros((height, width), bool)
    own[row[inside], column[inside]] = True
    if not own.any():
        return DOUBTED
    # Depth is unknown here; faint ink was judged when the page's ink was found.
    page = Ink(np.where(own, np.float32(LEVEL), 0), own, near.threshold, max(round(1 / strip.turn.scale), 1))
    return max(trust(page, near, in_row=True), DOUBTED)
