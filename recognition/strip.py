"""A row of writing, cut out of a page and turned upright; and where on the page it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from recognition.segmentation import Mask

LEVEL = 200.0  # grey levels of ink in a strip
NOTHING = "nothing to read: expected rows of digits, got none"

Floats = npt.NDArray[np.floating]
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are the first ones outside


@dataclass(frozen=True)
class Turn:
    """Scaling and turning of a page that made its rows level.

    Attributes:
        size: width and height of the picture.
        scale: pixels of the picture for one of the page.
        degrees: by which it was turned, counter-clockwise.
        turned: width and height of the page afterwards.
    """

    size: tuple[int, int]
    scale: float
    degrees: float
    turned: tuple[int, int]

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Smallest box of the picture that holds one of the page."""
        across, down = self.place(np.array([left, right, left, right]), np.array([top, top, bottom, bottom]))
        first = [
            min(max(math.floor(side.min()), 0), most - 1) for side, most in zip((across, down), self.size, strict=True)
        ]
        last = [min(max(math.ceil(side.max()), 1), most) for side, most in zip((across, down), self.size, strict=True)]
        return first[0], first[1], last[0], last[1]

    def place(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Points of the picture, across and down, of points of the page."""
        x, y = x - self.turned[0] / 2, y - self.turned[1] / 2
        sine, cosine = np.sin(np.radians(self.degrees)), np.cos(np.radians(self.degrees))
        across = (x * cosine - y * sine) * self.scale + self.size[0] / 2
        return across, (x * sine + y * cosine) * self.scale + self.size[1] / 2


@dataclass(frozen=True)
class Strip:
    """One row of writing, upright.

    Attributes:
        grey: [H, W] uint8, dark ink on white paper, without what belongs to other rows or to lines.
        ink: [H, W] bool, its writing.
        height: usual height of its digits, pixels.
        left: of the strip, pixels of the upright page.
        top: likewise.
        turn: of the page.
        ruled: lines were taken away here, of which narrow pieces of ink may be rests.
        fall: pixels by which the row falls for each to the right; its columns are moved up by as much.
    """

    grey: npt.NDArray[np.uint8]
    ink: Mask
    height: float
    left: int
    top: int
    turn: Turn
    ruled: bool = False
    fall: float = 0.0

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Box of the picture around one of the strip."""
        level = self.top + self.fall * (left + right) / 2
        return self.turn.box(self.left + left, level + top, self.left + right, level + bottom)

    def photo(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The strip as the picture [height, width] shows it, with paper, lines and neighbours: [H, W] uint8."""
        height, width = self.grey.shape
        x = np.arange(width) + 0.5
        y = self.top + np.arange(height)[:, np.newaxis] + 0.5 + self.fall * (x - 0.5)
        across, down = self.turn.place(self.left + x, y)
        pixels = scipy.ndimage.map_coordinates(picture, [down - 0.5, across - 0.5], np.float32, order=1, mode="nearest")
        return np.rint(pixels).astype(np.uint8)


@dataclass(frozen=True)
class Rows:
    """Rows of writing in a picture.

    Attributes:
        grey: [height, width] uint8, the picture as it was read, in whose pixels the boxes are.
        own_size: width and height of the picture itself, of which `grey` may be a reduced copy.
        strips: one a row, from the top.
    """

    grey: npt.NDArray[np.uint8]
    own_size: tuple[int, int]
    strips: Sequence[Strip]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture as it was read."""
        return self.grey.shape[1], self.grey.shape[0]
