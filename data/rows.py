"""Rows of handwritten digits to train `lenet_row` on, made from the images of single digits.

A row is a pure function of seed, pass and its number in the pass. Its strokes are drawn in `data.row_ink`, its paper
in `data.row_paper`; here they are set side by side. Each ingredient has a switch in `Ingredients`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from data.formats.idx import Bytes
from data.row_ink import HEIGHT, WARP, Floats, Pen, between, draw_digits, draw_mark, hand_sizes, lay, span
from data.row_paper import PAPER, finish, levelled, neighbours, printed_lines

MOST_DIGITS = 11  # in a row
MARGIN = 8  # pixels of paper at either end of a row: the middle of its first digit must not be left of all columns
ROW_STREAM, ORDER_STREAM = 3, 4  # data.augment has 1 and 2, data.dataset the pass alone
SMALLEST = 9  # pixels of a digit that is smaller than the row's others
BLOCK = 16  # batches that are made together

# Share of rows of 1, 2, … 11 digits: most numbers that people write have 2 to 7.
_LENGTHS = np.array([0.7, 1.0, 1.2, 1.3, 1.3, 1.2, 1.0, 0.9, 0.7, 0.6, 0.6])
LENGTHS = _LENGTHS / _LENGTHS.sum()
BLANK = 0.04  # share of rows without a digit
MEAN_LENGTH = (1 - BLANK) * float(LENGTHS @ np.arange(1, MOST_DIGITS + 1))

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ingredients:
    """Ingredients of rows; an ingredient that is off leaves the rest of a row as it was.

    Attributes:
        spacing: gaps of 0 to 2 widths, equal or not, or between groups; else all digits stand a little apart.
        touching: digits that overlap or are joined by a stroke.
        slant: of the whole row and of single digits.
        warp: digits bent smoothly.
        size: digits of 42 to 95 % of the row's height, wide or narrow, unlike each other, such as small zeros beside
            long ones; else of 70 %.
        baseline: a line that rises, falls, or wavers.
        pen: strokes from a hard pencil's to a felt pen's, of any pressure; else MNIST's own.
        shapes: a 1 of one straight line, or with an upstroke or a foot; a crossed 7; a 4 like an h; a 5 like the sign
            of a root; a 9 like a P, or of a loop and a stem; a 2 with loops; a 0 with a stroke to the next one.
        polarity: light ink on dark paper.
        paper: grey paper with gradients, texture, specks and patterns; else white.
        ruled: lines to write on.
        boxes: boxes and combs, a digit in each.
        borders: edges of a table's cell.
        neighbours: parts of digits and printed words at all sides.
        marks: currency signs, commas, points and dashes, which are not read.
        blur: pictures out of focus, or enlarged from small ones.
        jpeg: compressed pictures.
        cleaned: two thirds of the rows are as a page's are cut out: white paper around ink, remains of lines.
        blank: rows without a digit.
    """

    spacing: bool = True
    touching: bool = True
    slant: bool = True
    warp: bool = True
    size: bool = True
    baseline: bool = True
    pen: bool = True
    shapes: bool = True
    polarity: bool = True
    paper: bool = True
    ruled: bool = True
    boxes: bool = True
    borders: bool = True
    neighbours: bool = True
    marks: bool = True
    blur: bool = True
    jpeg: bool = True
    cleaned: bool = True
    blank: bool = True


PLAIN = Ingredients(**dict.fromkeys((field.name for field in fields(Ingredients)), False))  # digits on white paper


class RowMaker:
    """Makes the rows of one pass.

    Args:
        images: uint8 [N, 28, 28] single digits.
        labels: [N], 0 to 9.
        seed: of the run, not negative.
        pass_number: not negative; 0 is for rows to validate and test on.
        ingredients: what they are made with.
    """

    def __init__(
        self, images: Bytes, labels: Bytes, seed: int, pass_number: int, ingredients: Ingredients | None = None
    ) -> None:
        self.images = images
        self.of_class = [found for digit in range(10) if len(found := np.flatnonzero(labels == digit))]
        self.labels = labels
        self.key = seed, pass_number
        self.ingredients = ingredients or Ingredients()

    def rows(self, indices: Sequence[int]) -> tuple[list[Bytes], list[list[int]]]:
        """The rows of these numbers: each uint8 [32, W], and its digits from the left."""
        plans = [_Plan(self, index) for index in indices]
        chosen = np.concatenate([plan.chosen for plan in plans])
        patches = draw_digits(
            self.images[chosen],
            self.labels[chosen],
            np.concatenate([plan.draws for plan in plans]),
            np.concatenate([plan.warps for plan in plans]),
            [plan.pen for plan in plans for _ in plan.chosen],
        )
        rows, start = [], 0
        for plan in plans:
            end = start + len(plan.chosen)
            rows.append(plan.row(patches[start:end]))
            start = end
        return rows, [self.labels[plan.chosen[: plan.length]].tolist() for plan in plans]

    def generator(self, index: int) -> np.random.Generator:
        """The random numbers of a row."""
        seed, pass_number = self.key
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence(seed, spawn_key=(pass_number, ROW_STREAM, index)))
        )


def batch(rows: Sequence[Bytes], digits: Sequence[Sequence[int]]) -> tuple[Bytes, Labels]:
    """Rows as the network takes them: levelled, narrow ones with paper added, [N, 32, W], and labels [N, 11]."""
    width = -(-(max(row.shape[1] for row in rows) + 2 * MARGIN) // 16) * 16
    images = np.empty((len(rows), HEIGHT, width), np.uint8)
    labels = np.full((len(rows), MOST_DIGITS), -1, np.int64)
    for number, (row, read) in enumerate(zip(rows, digits, strict=True)):
        images[number] = PAPER
        images[number, :, MARGIN : MARGIN + row.shape[1]] = levelled(row)
        labels[number, : len(read)] = read
    return images, labels


def row_batches(
    maker: RowMaker, count: int, size: int, first: int = 0, shuffled: bool = True
) -> Iterator[tuple[Bytes, Labels]]:
    """The batches of a pass: rows of like width together, so that little paper is added.

    Args:
        maker: of the pass.
        count: rows in the pass.
        size: of a batch; the last one may be smaller.
        first: number of the batch to begin with, from 0.
        shuffled: batches of all widths take turns; else each `BLOCK` begins with its narrowest rows.

    Returns:
        As `batch`.
    """
    seed, pass_number = maker.key
    for block in range(first // BLOCK, -(-count // (BLOCK * size))):
        rows, digits = maker.rows(range(block * BLOCK * size, min((block + 1) * BLOCK * size, count)))
        order = np.argsort([row.shape[1] for row in rows], kind="stable")
        # A last batch that is smaller stays the last.
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        if shuffled:
            key = np.random.SeedSequence(seed, spawn_key=(pass_number, ORDER_STREAM, block))
            shuffle = np.random.Generator(np.random.Philox(key)).permutation(len(parts))
            parts = [parts[each] for each in shuffle]
            parts.sort(key=len, reverse=True)
        for part in parts[max(first - block * BLOCK, 0) :]:
            yield batch([rows[each] for each in part], [digits[each] for each in part])


class _Plan:
    """A row before it is drawn: its digits, and where they go."""

    def __init__(self, maker: RowMaker, index: int) -> None:
        self.use, self.random = maker.ingredients, maker.generator(index)
        random, use = self.random, self.use
        self.length = 1 + int(np.searchsorted(np.cumsum(LENGTHS), random.random()))
        if random.random() < BLANK and use.blank:
            self.length = 0
        # The row's own digits, then two that may reach in from its sides.
        classes = random.integers(len(maker.of_class), size=self.length + 2)
        if random.random() < 0.15:  # amounts end in zeros
            classes[max(self.length - int(random.integers(1, 4)), 0) : self.length] = 0
        picks = random.random(self.length + 2)
        self.chosen = np.array(
            [maker.of_class[c][int(p * len(maker.of_class[c]))] for c, p in zip(classes, picks, strict=True)]
        )
        self.height = random.uniform(0.42, 0.95) * HEIGHT
        if random.random() < 0.5:  # a strip cut along the digits
            self.height = random.uniform(0.68, 0.95) * HEIGHT
        hand = hand_sizes(random)
        if hand.min() < 1:
            self.height = random.uniform(0.75, 1.0) * HEIGHT
        if not use.size:
            self.height, hand = 0.7 * HEIGHT, np.ones(10)
        steep, rise = random.random() < 0.12 and use.baseline, random.uniform(-1, 1)
        rise *= 0.6 if steep else 0.16 if use.baseline else 0.0
        if steep:
            self.height = min(self.height, HEIGHT / (1 + abs(rise)))
        self.pen = Pen.drawn(random) if use.pen else Pen()
        self.middle = HEIGHT / 2
        if not steep:
            self.middle += random.uniform(-0.5, 0.5) * max(HEIGHT - self.height, 0) * 0.9
        sizes = np.maximum(hand[maker.labels[self.chosen]], SMALLEST / self.height)
        self.draws = self._draws(random.random((self.length + 2, 10)), random.uniform(-1, 1, 6), sizes, rise)
        strength = random.uniform(0, 1.1) if use.warp else 0.0
        self.warps = strength * random.standard_normal((self.length + 2, *WARP), np.float32)
        self.in_boxes = random.random() < 0.13 and use.boxes

    def _draws(self, own: Floats, common: Floats, sizes: Floats, rise: float) -> Floats:
        """Of each digit height and width (pixels for one of MNIST), shear, turn, middle line, and five shares.

        Args:
            own: [N, 10] random numbers of each digit, 0 to 1.
            common: [6] of the row, -1 to 1.
            sizes: [N] of the digits, as shares of the row's height.
            rise: from the first digit to the last, likewise.
        """
        count, use = len(own), self.use
        spread = own[:, :5] * 2 - 1
        draws = np.zeros((count, 10))
        wavering = 1 + 0.25 * spread[:, 0] * abs(common[4]) if use.size else np.ones(count)
        draws[:, 0] = self.height / 20 * wavering * sizes
        draws[:, 1] = draws[:, 0] * (1 + (0.25 * common[0] + 0.12 * spread[:, 1] if use.size else 0))
        if use.slant:
            # One row of eight is slanted far.
            draws[:, 2] = 0.3 * common[1] + 0.25 * common[1] ** 5 + 0.12 * spread[:, 2]
            draws[:, 3] = 0.06 * common[2] + 0.06 * spread[:, 3]
        # Small digits stand on the line, or hang a little above the middle.
        draws[:, 4] = self.middle + (0.3 + 0.7 * common[3]) * self.height / 2 * (1 - sizes)
        if use.baseline:
            along = (np.arange(count) - self.length / 2) / max(self.length, 4)
            draws[:, 4] += self.height * (rise * along + 0.07 * spread[:, 4])
        draws[:, 5:] = own[:, 5:]
        if not use.shapes:
            draws[:, 5] = 1  # no digit is given another shape
        return draws

    def row(self, patches: Floats) -> Bytes:
        """Draw it, from the patches of its digits [length + 2, 32, P], 0 paper to 1 ink."""
        random, use, height = self.random, self.use, self.height
        tokens = list(patches[: self.length])
        boxes = self.length or int(random.integers(1, 8))
        if random.random() < 0.3 and use.marks and not self.in_boxes:
            tokens = self._with_marks(tokens, patches.shape[2])
        gaps = self._gaps(len(tokens))
        left = random.choice([0.08, 0.3, 1.0]) * height * random.uniform(0.3, 1.3)
        right = random.choice([0.08, 0.3, 1.2]) * height * random.uniform(0.3, 1.3)
        places, cursor = [], left
        pitch = height * random.uniform(0.8, 1.5)
        spans = [span(token) for token in tokens]
        for number, (first, last) in enumerate(spans):
            if self.in_boxes:
                pitch = max(pitch, last - first + 1)
                cursor = left + number * pitch + max(pitch - (last - first), 0) * random.uniform(0.2, 0.8)
            elif number:
                cursor += gaps[number]
            places.append(round(cursor) - first)
            cursor += last - first
        if self.in_boxes:
            cursor = left + boxes * pitch
        elif not tokens:
            cursor += random.uniform(0.5, 6) * height
        ink = np.zeros((HEIGHT, max(int(cursor + right) + 1, HEIGHT // 2)), np.float32)
        for token, place in zip(tokens, places, strict=True):
            lay(ink, token, place)
        if use.touching and random.random() < 0.16:
            self._join(ink, places, spans)
        if use.neighbours:
            neighbours(ink, patches[self.length :], random)
        form = (left, pitch, boxes) if self.in_boxes else None
        lines = printed_lines(ink.shape, height, self.middle, form, use.ruled, use.borders, random)
        return finish(ink, lines, height, self.pen if use.pen else None, use, random)

    def _gaps(self, count: int) -> Floats:
        random, height = self.random, self.height
        kind, each = random.random(), random.uniform(-1, 1, count)
        if kind < 0.27 and self.use.touching:
            return height * (random.uniform(-0.11, 0.02) + 0.05 * each)
        if kind < 0.62 or not self.use.spacing:
            return height * np.maximum(random.uniform(0.05, 0.25) + 0.1 * each, 0.02)
        if kind < 0.75:  # groups
            between_groups = random.uniform(0.3, 1.2) * (random.random(count) < 0.3)
            return height * np.maximum(random.uniform(0.03, 0.25) + 0.08 * each + between_groups, 0.02)
        wide = random.uniform(0.2, 1.4 if count <= 6 else 0.9)
        return height * np.maximum(wide + random.choice([0.1, 0.5]) * wide * each, 0.03)

    def _with_marks(self, tokens: list[Floats], width: int) -> list[Floats]:
        """The same with marks before, between and behind the digits; of a blank row, marks alone."""
        random = self.random
        inside = len(tokens) - int(random.choice([2, 3]))
        places = [("end", len(tokens)), ("inside", inside), ("start", 0)] if tokens else [("blank", 0)]
        chosen = random.permutation([name for name, _ in places])[: int(random.integers(1, 4))]
        if random.random() < 0.4:  # thousands
            places[2:2] = [("inside", inside - 3), ("inside", inside - 6)]
        for name, place in places:
            if name in chosen and (name != "inside" or place > 0):
                count = 1 if name == "inside" else int(random.choice([1, 1, 2]))
                marks = [draw_mark(name, self.height, self.middle, width, self.pen, random) for _ in range(count)]
                tokens = [*tokens[:place], *marks, *tokens[place:]]
        return tokens

    def _join(self, ink: Floats, places: list[int], spans: list[tuple[int, int]]) -> None:
        """Strokes from one digit to the next."""
        random = self.random
        for number in range(len(places) - 1):
            if random.random() < 0.6:
                start = places[number] + spans[number][1] - 2
                end = places[number + 1] + spans[number + 1][0] + 2
                columns = np.arange(max(start, 0), min(end + 1, ink.shape[1]))
                if 0 < len(columns) < self.height:
                    y = self.middle + self.height * between(random.uniform(-0.4, 0.4, 2), len(columns))
                    stroke = 1.4 - np.abs(np.arange(HEIGHT)[:, None] - y)
                    ink[:, columns] = np.maximum(ink[:, columns], np.clip(stroke, 0, 0.9))
