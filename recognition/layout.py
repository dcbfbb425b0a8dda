"""Rows of writing on a page: found, freed of ruled lines, one strip a row.

A page may lie on its side or slope; its numbers may stand in columns, in a table's cells, in boxes or combs. All steps
take time linear in the pixels.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy

from recognition.page_ink import Piece, pieces_of
from recognition.picture import BlankError, PictureError
from recognition.rings import without_rings
from recognition.ruling import page_lines
from recognition.segmentation import Mask
from recognition.strip import LEVEL, NOTHING, Box, Strip
from recognition.upright import Likeness, Page, upright

MOST_PIECES = 1000  # of ink on a page; bounds the time
LOWEST = 0.45  # of the writing's height: smaller pieces are commas, specks, print
LOWEST_ALONE = 0.6  # of the writing's height: a smaller piece that stands alone is a rest of a line
LOW, NARROW, LOW_GAP = 0.28, 0.22, 1.2  # of the writing's height: height, width and gap of small digits at a row's ends
FLATTEST = 0.3  # of the writing's height: lower pieces are dashes, however wide
MOST_INK = 0.42  # of the picture: pages have 0.1, a row that is cut out tightly 0.3, noise half
TALLEST, LONGEST_TAIL = 2.5, 4.0  # heights of writing: taller pieces are no digits; with a tail, as of a 9 or a 7
TAILED_WIDTH = 0.4, 0.5  # of the writing's height, of its own height: pieces with a tail are wider, and narrower
OVERLAP = 0.8  # of a row's height that such a piece covers
LAST = 3  # pieces at the end of a row, which decide what goes on with it
STEEPEST_ROW = 0.27  # pixels that a row may fall or rise for each to the right
GAP, SPACED = 2.0, 2.2  # heights of writing, and usual gaps of a row, between pieces of one row, at most
BEYOND = 0.5, 1.0  # of their height: so far beyond two pieces, above and below or below and above, a line parts them
FEWEST_GAPS = 3  # show the usual gap of a row
GUTTER, WIDER, FEWEST_ROWS = 0.9, 3.0, 3  # heights of writing, and usual gaps, between columns; rows on either side
MARGIN = 0.3  # heights of writing around a strip
FEWEST_DIGITS, UNEVEN = 4, 0.4  # so many show a row's slope; heights of writing by which it falls or rises at least
SURROUNDINGS = 0.08  # heights of writing around ink that a strip shows; the rest is paper


def find_strips(grey: npt.NDArray[np.uint8], likeness: Likeness) -> list[Strip]:
    """Find the rows of writing on a page, from the top, those at one height from the left.

    Args:
        grey: [H, W] uint8, 0 black to 255 white.
        likeness: see `recognition.upright.upright`.

    Raises:
        BlankError: there is nothing to read.
        PictureError: there are more pieces of ink than a page of digits has.
    """
    page = upright(grey, likeness)
    if page.ink.mean() > MOST_INK:
        raise BlankError(f"nothing to read: expected digits on paper, got {page.ink.mean():.0%} ink")
    lines = page_lines(page.ink, page.height, page.ridges)
    _, labels, _ = without_rings(page.ink, lines)
    pieces = [piece for piece in pieces_of(labels) if _may_be_writing(piece, page.height)]
    if len(pieces) > MOST_PIECES:
        raise PictureError(f"expected rows of at most {MOST_PIECES} digits, got {len(pieces)} pieces of ink")
    rows = _rows([piece for piece in pieces if piece.high < TALLEST * page.height], page.height, lines)
    _add_tailed(rows, [piece for piece in pieces if piece.high >= TALLEST * page.height], page.height, lines)
    _add_low(rows, pieces, page.height, lines)
    rows = _without_edges(rows, labels.shape)
    if not rows:
        raise BlankError(NOTHING)
    return [_strip(page, labels, row, pieces, lines) for row in rows]


def _may_be_writing(piece: Piece, height: float) -> bool:
    """False for specks, and for what is far larger than writing."""
    if piece.high >= TALLEST * height:
        least, most = TAILED_WIDTH[0] * height, TAILED_WIDTH[1] * piece.high
        return piece.high < LONGEST_TAIL * height and least < piece.wide < most
    return 0.15 * height <= piece.high and piece.wide < 14 * height


def _rows(pieces: list[Piece], height: float, lines: Mask) -> list[list[Piece]]:
    """Pieces that stand beside each other, from the top, each row from the left."""
    rows: list[list[Piece]] = []
    tall = [piece for piece in pieces if _as_large(piece, LOWEST * height, height)]
    for piece in sorted(tall, key=lambda piece: piece.box[0]):
        best, nearest = None, np.inf
        for row in rows:
            last = max(row[-LAST:], key=lambda other: other.box[2])
            gap = piece.box[0] - last.box[2]
            if (
                gap < min(nearest, _widest_gap(row, height))
                and _level(piece, row) > 0.45
                and not _between(lines, last, piece)
            ):
                best, nearest = row, gap
        if best is None:
            rows.append([piece])
        else:
            best.append(piece)
    rows = [cell for row in rows for cell in _cells(row, _gutters(rows, height))]
    alone = LOWEST_ALONE * height
    sure = [row for row in rows if len(row) > 1 or row[0].high >= alone]
    # A low but wide piece is a digit if there is nothing else, else the rest of a line.
    return list(_in_order(sure or [row for row in rows if _as_large(row[0], alone, height)]))


def _as_large(piece: Piece, least: float, height: float) -> bool:
    """True for a piece as high as this, or as wide if it is no dash: digits may be low."""
    return piece.high >= least or (piece.wide >= least and piece.high >= FLATTEST * height)


def _add_tailed(rows: list[list[Piece]], tailed: list[Piece], height: float, lines: Mask) -> None:
    """Add pieces with long tails to the row in whose gap they stand, in place; those without a row are left out."""
    for piece in tailed:
        best, most = None, OVERLAP
        for row in rows:
            near = sorted(row, key=lambda other: max(other.box[0] - piece.box[2], piece.box[0] - other.box[2]))[:3]
            gap = max(near[0].box[0] - piece.box[2], piece.box[0] - near[0].box[2])
            top = float(np.median([other.box[1] for other in near]))
            bottom = float(np.median([other.box[3] for other in near]))
            covered = (min(bottom, piece.box[3]) - max(top, piece.box[1])) / (bottom - top)
            pair = sorted((near[0], piece), key=lambda one: one.box[0])
            # Tails hang down: of two rows that it covers, a piece belongs to the upper one, which comes first.
            if -0.3 * height < gap < GAP * height and covered > most + 0.01 and not _between(lines, *pair):
                best, most = row, covered
        if best is not None:
            best.append(piece)
            best.sort(key=lambda one: one.box[0])


def _add_low(rows: list[list[Piece]], pieces: list[Piece], height: float, lines: Mask) -> None:
    """Add small digits to the rows that they go on with, in place; rows between which they stand become one."""
    low = [
        piece
        for piece in pieces
        if not _as_large(piece, LOWEST * height, height)
        and piece.high >= LOW * height
        and piece.wide >= NARROW * height
    ]
    grown = []
    for piece in sorted(low, key=lambda piece: piece.box[0]):
        row = next((row for row in rows if _goes_on(row, [piece], LOW_GAP * height, lines)), None)
        if row is not None:
            row.append(piece)
            grown.append(row)
            low.remove(piece)
    for piece in sorted(low, key=lambda piece: -piece.box[2]):
        row = next((row for row in rows if _goes_on([piece], row, LOW_GAP * height, lines)), None)
        if row is not None:
            row.insert(0, piece)
            grown.append(row)
    for row in grown:
        for other in rows:
            if other is not row and _goes_on(row, other, GAP * height, lines):
                row += other
                other.clear()
    rows[:] = [row for row in rows if row]


def _widest_gap(row: list[Piece], height: float) -> float:
    """Pixels from a row to the next piece, at most; more if its pieces stand far apart."""
    gaps = [right.box[0] - left.box[2] for left, right in itertools.pairwise(row)]
    return max(GAP * height, SPACED * float(np.median(gaps)) if len(gaps) >= FEWEST_GAPS else 0.0)


def _goes_on(row: list[Piece], other: list[Piece], most: float, lines: Mask) -> bool:
    """True if one row of pieces goes on with another, at most so many pixels to the right."""
    if not row or not other:
        return False
    last, first = max(row[-LAST:], key=lambda piece: piece.box[2]), other[0]
    near = -0.2 * first.wide < first.box[0] - last.box[2] < most
    return near and _level(first, row) > 0.45 and _level(last, other) > 0.45 and not _between(lines, last, first)


def _gutters(rows: list[list[Piece]], height: float) -> list[int]:
    """Middles of the upright stripes without writing between a page's columns.

    They are far wider than the gaps between the digits of one number, and have several rows on either side.
    """
    if len(rows) < FEWEST_ROWS:
        return []
    gaps = [right.box[0] - left.box[2] for row in rows for left, right in itertools.pairwise(row)]
    widest = max(GUTTER * height, WIDER * float(np.median(gaps))) if gaps else np.inf
    pieces = sorted((piece.box[0], piece.box[2], number) for number, row in enumerate(rows) for piece in row)
    gutters, last = [], pieces[0][1]
    for place, (left, right, _) in enumerate(pieces):
        if left - last > widest:
            sides = {number for *_, number in pieces[:place]}, {number for *_, number in pieces[place:]}
            if min(map(len, sides)) >= FEWEST_ROWS:
                gutters.append((left + last) // 2)
        last = max(last, right)
    return gutters


def _cells(row: list[Piece], gutters: list[int]) -> Iterator[list[Piece]]:
    """The parts of a row between gutters."""
    for _, cell in itertools.groupby(row, lambda piece: bisect.bisect(gutters, piece.box[0])):
        yield list(cell)


def _in_order(rows: list[list[Piece]]) -> Iterator[list[Piece]]:
    """Rows from the top; those at one height from the left."""
    left = sorted(rows, key=lambda row: np.mean([piece.box[1] + piece.box[3] for piece in row]))
    while left:
        first = left[0]
        middle = np.mean([piece.box[1] + piece.box[3] for piece in first]) / 2
        beside = [
            row for row in left if min(piece.box[1] for piece in row) < middle < max(piece.box[3] for piece in row)
        ]
        beside = beside if first in beside else [first, *beside]
        yield from sorted(beside, key=lambda row: row[0].box[0])
        left = [row for row in left if not any(row is other for other in beside)]


def _without_edges(rows: list[list[Piece]], size: tuple[int, int]) -> list[list[Piece]]:
    """Rows without those that lie on the page's edge altogether, as shadows do, if there are others.

    A row with two upright pieces or more is one of digits.
    """
    height, width = size

    def at_edge(box: Box) -> bool:
        return box[0] <= 2 or box[1] <= 2 or box[2] >= width - 2 or box[3] >= height - 2

    def has_digits(row: list[Piece]) -> bool:
        return sum(piece.high > piece.wide for piece in row) > 1

    inner = [row for row in rows if has_digits(row) or not all(at_edge(piece.box) for piece in row)]
    return inner or rows


def _level(piece: Piece, row: list[Piece]) -> float:
    """Part of the height that a piece shares with the last ones of a row, which may go on as it falls or rises."""
    top, bottom = min(other.box[1] for other in row[-LAST:]), max(other.box[3] for other in row[-LAST:])
    falls = [0.0]
    if len(row) >= 2 * LAST:
        (x, y), (next_x, next_y) = _middle(row[-2 * LAST : -LAST]), _middle(row[-LAST:])
        slope = np.clip((next_y - y) / max(next_x - x, 1), -STEEPEST_ROW, STEEPEST_ROW)
        falls.append(slope * (piece.middle[0] - next_x))
    shared = max(min(bottom + fall, piece.box[3]) - max(top + fall, piece.box[1]) for fall in falls)
    return float(shared / min(piece.high, bottom - top))


def _middle(pieces: list[Piece]) -> tuple[float, float]:
    """Mean middle of pieces of ink, across and down."""
    x, y = zip(*(piece.middle for piece in pieces), strict=True)
    return sum(x) / len(x), sum(y) / len(y)


def _between(lines: Mask, one: Piece, other: Piece) -> bool:
    """True if an upright line of more than a box's height stands between two pieces, as in a table."""
    top, bottom = min(one.box[1], other.box[1]), max(one.box[3], other.box[3])
    left, right = one.box[2], other.box[0]
    if right <= left:
        return False
    high, columns = bottom - top, slice(max(left - 2, 0), right + 2)
    for up, down in (BEYOND, BEYOND[::-1]):
        around = lines[max(top - round(up * high), 0) : bottom + round(down * high), columns]
        # Thin lines lean by a pixel, and are broken at each line that crosses them.
        if (scipy.ndimage.maximum_filter(around, (5, 3)).mean(axis=0) > 0.9).any():
            return True
    return False


def _strip(page: Page, labels: np.ndarray, row: list[Piece], pieces: list[Piece], lines: Mask) -> Strip:
    height = float(np.median([piece.high for piece in row]))
    margin = round(MARGIN * height) + 2
    first, last = min(piece.box[0] for piece in row), max(piece.box[2] for piece in row)
    left, right = max(first - margin, 0), min(last + margin, labels.shape[1])
    fall = _fall(row, height)

    def levelled(piece: Piece) -> tuple[float, float]:
        down = fall * (piece.middle[0] - left)
        return piece.box[1] - down, piece.box[3] - down

    # Long tails are cut off: the digits are to fill most of the strip.
    spans = [levelled(piece) for piece in row if piece.high < TALLEST * page.height]
    above, below = round(min(top for top, _ in spans)), round(max(bottom for _, bottom in spans))
    # Small pieces between the row's top and bottom are its own as well: the bar of a 5, the rest of a broken stroke.
    small = (
        piece
        for piece in pieces
        if piece not in row
        and not _as_large(piece, LOWEST * page.height, page.height)
        and first < piece.middle[0] < last
        and above - MARGIN * page.height < sum(levelled(piece)) / 2 < below
    )
    own = np.zeros(int(labels.max()) + 1, bool)
    own[[piece.number for piece in (*row, *small)]] = True
    level = np.arange(above - margin, below + margin)
    if not fall:
        level = level[(level >= 0) & (level < len(labels))]
    down = level[:, np.newaxis] + np.rint(fall * np.arange(right - left)).astype(int)
    outside = (down < 0) | (down >= len(labels))
    part = np.clip(down, 0, len(labels) - 1), np.arange(left, right)
    ink = own[labels[part]] & ~outside
    near = scipy.ndimage.binary_dilation(ink, iterations=max(2, round(SURROUNDINGS * height)))
    depth = page.depth[part] * (near & ~outside)
    levels = depth / max(float(np.percentile(page.depth[part][ink], 70)), 1e-6)
    grey = np.rint(255 - LEVEL * np.clip(levels, 0, 1)).astype(np.uint8)
    return Strip(grey, ink, height, left, int(level[0]), page.turn, bool(lines[part].any()), fall)


def _fall(row: list[Piece], height: float) -> float:
    """Pixels by which a row falls for each to the right; 0 if its digits stand level enough, or are few."""
    if len(row) < FEWEST_DIGITS:
        return 0.0
    x, y = np.array([piece.middle for piece in row]).T
    fall = float(np.clip(np.polyfit(x, y, 1)[0], -STEEPEST_ROW, STEEPEST_ROW))
    return fall if abs(fall) * np.ptp(x) > UNEVEN * height else 0.0
