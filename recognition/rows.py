"""Strips of a page -> the digits in them, each with its place and MNIST's image of it.

A network that slides along the row (`recognition.row_reader`) names the digits and the columns between which each is.
The pieces of ink between these columns are the digit's; a piece that goes on into the next digit is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy
from PIL import Image

from recognition.digit import centred
from recognition.left_out import with_left_out
from recognition.row_trust import trusted
from recognition.segmentation import THRESHOLDS, Ink, Mask, box_of, cut_out
from recognition.strip import LEVEL, Box, Rows, Strip

if TYPE_CHECKING:
    from recognition.row_reader import RowDigit, RowReader

HEIGHT = 64  # pixels to which a row's digits are scaled
Vote = tuple[int, float]  # a digit, 0 to 9, and the probability that it is right

DIGITS = tuple("0123456789")

# Weight of the network of rows in the mean; of 0.5 to 1, 0.8 and 0.9 read most cheques, and pages and tables alike.
ROWS_SHARE = 0.8
OWN = 0.7  # of a piece's ink between the columns of one digit: then all of it is that digit's
SOME = 0.1  # of a piece's ink: less between two columns does not make it another digit's


@dataclass(frozen=True)
class FoundDigit:
    """One digit of a picture.

    Attributes:
        box: left, top, right, bottom in pixels of the picture; right and bottom are the first ones outside.
        image: [28, 28] uint8, as MNIST would have made it.
        vote: the answer of the network of rows.
        ink: of the digit, [H, W] of the whole strip, scaled to digits `HEIGHT` pixels high.
        strip: that it was cut out of.
        trust: 1, or less if it may be dirt; see `recognition.row_trust`.
    """

    box: Box
    image: np.ndarray
    vote: Vote
    ink: Ink
    strip: Strip
    trust: float = 1.0


def read_rows(rows: Rows, reader: RowReader) -> list[list[FoundDigit]]:
    """The digits of a page, from the top, each row from the left; rows without a digit are left out."""
    read = ((strip, reader.read(strip.grey, strip.photo(rows.grey))) for strip in rows.strips)
    found = [list(_cut_row(strip, with_left_out(strip, digits, reader))) for strip, digits in read]
    return trusted([row for row in found if row])


def joined(
    votes: Sequence[Vote],
    probabilities: np.ndarray,
    no_digit: np.ndarray,
    labels: Sequence[str] = DIGITS,
    rest: np.ndarray | None = None,
) -> np.ndarray:
    """A mean of the answers of two networks, [N, 10]; if they disagree, both digits are less probable.

    Args:
        votes: answers of the network of rows.
        probabilities: [N, 10] of each digit's image alone, by another network.
        no_digit: [N] images that are unlike every digit, for which the network of rows alone answers.
        labels: of the other network; if they are not the digits, it alone answers.
        rest: [N, 10], to which what the votes leave to other digits is proportional; `probabilities` by default.
    """
    if tuple(labels) != DIGITS:
        return probabilities
    numbers = np.arange(len(votes)), [digit for digit, _ in votes]
    confidences = np.array([confidence for _, confidence in votes])
    others = (probabilities if rest is None else rest) + 1e-9
    others[numbers] = 0
    others *= ((1 - confidences) / others.sum(axis=1))[:, None]
    others[numbers] = confidences
    return np.where(no_digit[:, None], others, ROWS_SHARE * others + (1 - ROWS_SHARE) * probabilities)


def _cut_row(strip: Strip, digits: Sequence[RowDigit]) -> Iterator[FoundDigit]:
    """The digits of a strip that have ink, cut out of it."""
    scale = HEIGHT / strip.height
    size = max(1, round(strip.grey.shape[1] * scale)), max(1, round(strip.grey.shape[0] * scale))
    grey = np.asarray(Image.fromarray(strip.grey).resize(size, Image.Resampling.BICUBIC), np.float32)
    own = np.asarray(Image.fromarray(strip.ink.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)) > 0.5
    depth = (255 - grey) / LEVEL
    for digit, mask in zip(
        digits, _masks(own, [(digit.x0 * scale, digit.x1 * scale) for digit in digits]), strict=True
    ):
        if mask.any():
            rows, columns = box_of(mask)
            corners = (edge / scale for edge in (columns.start, rows.start, columns.stop, rows.stop))
            ink, vote = Ink(depth, mask, THRESHOLDS[0], 1), (digit.digit, digit.confidence)
            yield FoundDigit(strip.box(*corners), centred(cut_out(ink)), vote, ink, strip)


def _masks(own: Mask, spans: Sequence[tuple[float, float]]) -> list[Mask]:
    """The ink of each digit, [H, W] of a strip; `spans` are its first column and the one behind its last."""
    labels, _ = scipy.ndimage.label(own, np.ones((3, 3)))
    masks = [np.zeros(own.shape, bool) for _ in spans]
    for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1):
        piece = labels[rows, columns] == number
        shares = [_share(piece, columns.start, span) for span in spans]
        takers = [digit for digit, share in enumerate(shares) if share > SOME]
        if takers and (len(takers) == 1 or max(shares) > OWN):
            masks[int(np.argmax(shares))][rows, columns] |= piece
            continue
        for digit in takers:
            first = max(round(spans[digit][0]), columns.start)
            last = min(round(spans[digit][1]), columns.stop)
            masks[digit][rows, first:last] |= piece[:, first - columns.start : last - columns.start]
    return masks


def _share(piece: Mask, start: int, span: tuple[float, float]) -> float:
    """Part of a piece's ink between two columns; its own first one is `start`."""
    first, last = (int(np.clip(round(edge) - start, 0, piece.shape[1])) for edge in span)
    return float(np.count_nonzero(piece[:, first:last]) / np.count_nonzero(piece))
