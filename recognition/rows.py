"""Rows of digits in a picture -> MNIST's image of each digit, in reading order.

Digits are pieces of ink; pieces above each other are one digit (the bar of a 5), and a wide piece may be
several that touch: of all ways to cut it where little ink is in the way, the one whose parts a network is surest of.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recognition.digit import centred
from recognition.picture import PictureError
from recognition.segmentation import Ink, Mask, Pieces, cut_out, find_ink

Certainty = Callable[[np.ndarray], np.ndarray]

MOST_PIECES = 100  # of ink in a picture; bounds the time
MINIMUM_HEIGHT = 0.35  # of the tallest digit's: what is smaller is a speck, a comma, or part of a digit
SHARED_WIDTH = 0.5  # of the narrower's width: two pieces that share more are one digit
NARROWEST = 0.5  # of the row's height: a narrower piece is one digit
CUT_EVERY = 0.1  # of the row's height: cuts are tried at this distance
MOST_CUT = 3.0  # stroke widths that a cut may cross
MINIMUM_PART = 0.7  # of the row's height: what a cut leaves must have a piece as tall
WIDEST = 1.7  # of the row's height: what is left between two cuts is no wider
MOST_DIGITS = 12  # that touch; a longer piece is no writing
SLANT = 1  # columns that a cut may move from one row to the next


@dataclass(frozen=True)
class FoundDigit:
    """One digit of a picture.

    Attributes:
        box: left, top, right, bottom in pixels of the picture; right and bottom are the first ones outside.
        image: [28, 28] uint8, as MNIST would have made it.
    """

    box: tuple[int, int, int, int]
    image: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows of digits in a picture.

    Attributes:
        grey: [height, width] uint8, the picture as it was read, in whose pixels the boxes are.
        own_size: width and height of the picture itself, of which `grey` may be a reduced copy.
        rows: from the top, each from the left.
    """

    grey: np.ndarray
    own_size: tuple[int, int]
    rows: list[list[FoundDigit]]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture as it was read."""
        return self.grey.shape[1], self.grey.shape[0]

    @property
    def digits(self) -> list[FoundDigit]:
        """All of them, in reading order."""
        return [digit for row in self.rows for digit in row]


def find_rows(grey: np.ndarray, certainty: Certainty) -> list[list[FoundDigit]]:
    """Find the digits of one or more rows, from the top, each from left to right.

    Args:
        grey: [height, width] uint8, 0 black to 255 white, from `recognition.picture.read_picture`.
        certainty: how sure a network is of its answer for each image, [N] 0 to 1 from [N, 28, 28] uint8; it decides
            whether and where pieces of ink are cut into digits.

    Raises:
        PictureError: there is nothing to read, or more than a page of digits.
    """
    from scipy import ndimage

    ink = find_ink(grey, all_writing)
    labels, count = ndimage.label(ink.own, np.ones((3, 3)))
    if count > MOST_PIECES:
        raise PictureError(f"expected rows of at most {MOST_PIECES} digits, got {count} pieces of ink")
    masks = _joined([labels == number for number in range(1, count + 1)])
    tallest = max(_height(mask) for mask in masks)
    rows = _rows([mask for mask in masks if _height(mask) >= MINIMUM_HEIGHT * tallest])
    return [
        [_found(ink, part) for mask in row for part in _parted(ink, mask, _usual_height(row), certainty)]
        for row in rows
    ]


def all_writing(pieces: Pieces) -> Mask:
    """Every piece that is large against the likeliest one and does not lie along the picture's rim.

    Returns:
        [H, W] which pixels are writing.

    Raises:
        PictureError: there is nothing but specks.
    """
    main = pieces.main()
    # One digit may be written much fainter than another, and a 1 has a third of an 8's ink.
    kept = pieces.whole & (pieces.weights > pieces.weights[main] / 20) & (pieces.extents > pieces.extents[main] / 8)
    return pieces.pixels(kept | (np.arange(pieces.count) == main))


def _span(mask: Mask, axis: int) -> tuple[int, int]:
    """First row (axis 0) or column (axis 1) of the mask, and the first after it."""
    places = np.flatnonzero(mask.any(axis=1 - axis))
    return int(places[0]), int(places[-1]) + 1


def _height(mask: Mask) -> int:
    top, bottom = _span(mask, 0)
    return bottom - top


def _shared(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Part of the shorter span that both cover; negative if they are apart."""
    both = min(first[1], second[1]) - max(first[0], second[0])
    return both / min(first[1] - first[0], second[1] - second[0])


def _joined(masks: list[Mask]) -> list[Mask]:
    """Pieces that share columns and are close above each other, as one."""
    tallest = max(_height(mask) for mask in masks)
    joined: list[tuple[Mask, tuple[int, int], tuple[int, int]]] = []
    for mask in sorted(masks, key=lambda mask: _span(mask, 0)):
        rows, columns = _span(mask, 0), _span(mask, 1)
        for number, (other, its_rows, its_columns) in enumerate(joined):
            together = max(rows[1], its_rows[1]) - its_rows[0]
            close = rows[0] - its_rows[1] < 0.3 * tallest and together < 1.4 * tallest
            if close and _shared(columns, its_columns) > SHARED_WIDTH:
                wide = min(columns[0], its_columns[0]), max(columns[1], its_columns[1])
                joined[number] = mask | other, (its_rows[0], its_rows[0] + together), wide
                break
        else:
            joined.append((mask, rows, columns))
    return [mask for mask, *_ in joined]


def _rows(masks: list[Mask]) -> list[list[Mask]]:
    """Pieces that share most of their height are one row; rows from the top, pieces from the left."""
    rows: list[list[Mask]] = []
    for mask in sorted(masks, key=_height, reverse=True):
        for row in rows:
            if max(_shared(_span(mask, 0), _span(other, 0)) for other in row) > 0.5:
                row.append(mask)
                break
        else:
            rows.append([mask])
    for row in rows:
        row.sort(key=lambda mask: sum(_span(mask, 1)))
    return sorted(rows, key=lambda row: np.mean([sum(_span(mask, 0)) for mask in row]))


def _usual_height(row: list[Mask]) -> float:
    return float(np.median([_height(mask) for mask in row]))


def _parted(ink: Ink, mask: Mask, height: float, certainty: Certainty) -> list[Mask]:
    """The digits of one piece, from the left: of all ways to cut it, the one whose parts look most like digits."""
    (top, bottom), (left, right) = _span(mask, 0), _span(mask, 1)
    if not NARROWEST * height <= right - left <= MOST_DIGITS * height:
        return [mask]
    # Only the piece's surroundings are looked at: a page has many pieces. A cut bends within its reach.
    margin = int(CUT_EVERY * height) + 2
    window = slice(max(top - margin, 0), bottom + margin), slice(max(left - margin, 0), right + margin)
    near = Ink(ink.depth[window], ink.own[window], ink.threshold, ink.enlargement)
    found = []
    for part in _best_parts(near, mask[window], height, certainty, len(mask)):
        whole = np.zeros_like(mask)
        whole[window] = part
        found.append(whole)
    return found


def _best_parts(ink: Ink, mask: Mask, height: float, certainty: Certainty, page_height: int) -> list[Mask]:
    from scipy import ndimage

    left, right = _span(mask, 1)
    # In a stroke of width w the distance to its edge is w/4 on average.
    stroke = 4 * float(ndimage.distance_transform_edt(mask)[mask].mean())
    step = CUT_EVERY * height
    cuts = [np.full(len(mask), left)]
    for middle in np.arange(left + 2 * step, right - 2 * step, step):
        crossed, cut = _cut(mask, float(middle), step, page_height)
        if crossed <= MOST_CUT * stroke:
            cuts.append(np.maximum(cut, cuts[-1]))
    cuts.append(np.full(len(mask), right))

    columns = np.arange(mask.shape[1])
    behind = [mask & (columns >= cut[:, None]) for cut in cuts]
    parts, ends = [], []
    for start, end in itertools.combinations(range(len(cuts)), 2):
        if np.median(cuts[end]) - np.median(cuts[start]) > WIDEST * height and end - start < len(cuts) - 1:
            continue
        part = behind[start] & ~behind[end]
        if _tallest_piece(part) >= MINIMUM_PART * height:
            parts.append(part)
            ends.append((start, end))
    if not parts:
        return [mask]
    sure = np.log(certainty(np.stack([centred(cut_out(ink, part)) for part in parts])) + 1e-6)

    best: dict[int, tuple[float, list[Mask]]] = {0: (0.0, [])}  # for each cut, the best way to read what is before it
    for (start, end), part, plausible in sorted(zip(ends, parts, sure, strict=True), key=lambda way: way[0][::-1]):
        if start in best:
            value = best[start][0] + float(plausible)
            if end not in best or value > best[end][0]:
                best[end] = value, [*best[start][1], part]
    return best[len(cuts) - 1][1] if len(cuts) - 1 in best else [mask]


def _tallest_piece(mask: Mask) -> int:
    from scipy import ndimage

    boxes = ndimage.find_objects(ndimage.label(mask, np.ones((3, 3)))[0])
    return max((box[0].stop - box[0].start for box in boxes), default=0)


def _cut(mask: Mask, middle: float, reach: float, page_height: int) -> tuple[float, np.ndarray]:
    """A path from top to bottom through the least ink.

    Found by dynamic programming over rows, which may move `SLANT` columns from one to the next.

    Args:
        mask: [H, W] ink.
        middle: the column near which to cut.
        reach: how many columns away from it the path may be.
        page_height: pixels; over so many rows a path that is not straight costs a fifth of a pixel of ink at most.

    Returns:
        How many pixels of ink it crosses, and [H] the first column behind it in each row.
    """
    from scipy import ndimage

    start, end = max(round(middle - reach), 0), min(round(middle + reach) + 1, mask.shape[1])
    price = mask[:, start:end].astype(np.float32)
    # Of paths that cross the same ink, the straightest down the middle.
    price += 0.2 / page_height * np.abs(np.arange(start, end) - middle) / reach
    total = price.copy()
    for row in range(1, len(total)):
        total[row] += ndimage.minimum_filter1d(total[row - 1], 2 * SLANT + 1, mode="nearest")
    path = np.empty(len(total), int)
    path[-1] = int(total[-1].argmin())
    for row in range(len(total) - 2, -1, -1):
        low = max(path[row + 1] - SLANT, 0)
        path[row] = low + int(total[row, low : path[row + 1] + SLANT + 1].argmin())
    return float(total[-1].min()), path + start


def _found(ink: Ink, mask: Mask) -> FoundDigit:
    (top, bottom), (left, right) = _span(mask, 0), _span(mask, 1)
    scale = ink.enlargement
    box = left // scale, top // scale, -(-right // scale), -(-bottom // scale)
    return FoundDigit(box, centred(cut_out(ink, mask)))
