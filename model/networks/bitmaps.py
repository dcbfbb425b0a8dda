"""The digits as LeNet-5's F6 is to draw them: ten stylised bitmaps of 7×12 pixels, after LeCun et al. 1998, figure 3.

The figure itself shows all of ASCII; these are this project's own drawings in its manner. Digits that look alike have
codes that are alike, which is why the paper prefers such codes to random ones.
"""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT = 7, 12

_DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...##..  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
.##.##.  ..###..  ##...##  ##...##  ...###.  ##.....  .##....  .....##  ##...##  ##...##
##...##  .####..  .....##  .....##  ..####.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ...##..  .....##  .....##  .##.##.  ######.  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  ....##.  ..####.  ##..##.  .....##  ######.  ....##.  .#####.  ##...##
##...##  ...##..  ...##..  .....##  #######  .....##  ##...##  ...##..  ##...##  .######
##...##  ...##..  ..##...  .....##  ....##.  .....##  ##...##  ...##..  ##...##  .....##
##...##  ...##..  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ...##..  ##.....  ##...##  ....##.  ##...##  ##...##  ..##...  ##...##  ....##.
..###..  .######  #######  .#####.  ....##.  .#####.  .#####.  ..##...  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def digit_bitmaps() -> np.ndarray:
    """The ten bitmaps row by row, [10, 84] float32: +1 ink, -1 background."""
    rows = [line.split() for line in _DIGITS.strip().splitlines()]
    digits = ["".join(parts) for parts in zip(*rows, strict=True)]
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in digit] for digit in digits], np.float32)
