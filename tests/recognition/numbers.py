"""Pictures of 2 to 10 test digits as people lay them out: touching, in boxes, two rows, a fraction, a date."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.recognition.papers import Grey, Random, Sheet, digit, lay, paper, photographed


def number(seed: int, images: Grey) -> tuple[str, Grey]:
    """Two to ten test digits, [N, 28, 28] uint8, laid out in one of many ways, which is named; a pure function."""
    random = np.random.default_rng([24, seed])
    kind = list(LAYOUTS)[seed % len(LAYOUTS)]
    high, pen, depth = random.uniform(16, 100), random.uniform(0.3, 0.5), random.uniform(0.3, 0.9)
    ink = np.zeros((round(5 * high), round(16 * high)), np.float32)

    def one(size: float = 1.0) -> Sheet:
        return digit(images[random.integers(len(images))], max(size * high, 10), pen)

    LAYOUTS[kind](ink, high, one, random)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cropped = random.random() < 0.25
    margins = np.rint(random.uniform(0, 0.08 if cropped else 1.2, (2, 2)) * high).astype(int)
    ink = np.pad(ink, np.maximum(margins, 1))
    return kind + ", cropped" * cropped, photographed(paper(random, *ink.shape) * (1 - ink * np.float32(depth)), random)


def _row(ink: Sheet, high: float, patches: list[Sheet], random: Random, gap: tuple[float, float], top: float) -> None:
    x = high
    for patch in patches:
        lay(ink, patch, top + high - len(patch) + random.normal(0, 0.04) * high, x)
        x += max(patch.shape[1] + random.uniform(*gap) * high, 3)


def _apart(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    _row(ink, high, [one(random.uniform(0.85, 1.1)) for _ in range(random.integers(2, 11))], random, (0.05, 0.4), high)


def _touching(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    patches = [one(random.uniform(0.9, 1.1)) for _ in range(random.choice([2, 2, 3, 4, 6]))]
    _row(ink, high, patches, random, (-0.12, 0.02), high)


def _overlapping(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    patches = [one(random.uniform(0.8, 1.15)) for _ in range(random.choice([2, 2, 3, 4]))]
    _row(ink, high, patches, random, (-0.25, -0.05), high)


def _of_different_size(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    patches = [one(random.uniform(0.5, 1.4)) for _ in range(random.integers(2, 7))]
    _row(ink, high, patches, random, (0.05, 0.35), high)


def _boxes(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    thick, step, comb = int(random.integers(1, 4)), round(high * random.uniform(1.15, 1.5)), random.random() < 0.4
    x, top, count = round(high), round(0.8 * high), int(random.integers(2, 8))
    for place in range(count):
        left = x + place * step
        patch = one(random.uniform(0.7, 1))
        lay(ink, patch, high + random.uniform(-0.1, 0.2) * high, left + (step - patch.shape[1]) / 2)
        teeth = slice(top + round(0.7 * high) if comb else top, top + round(1.4 * high))
        ink[teeth, left : left + thick] = ink[teeth, left + step : left + step + thick] = 0.7
        ink[teeth.stop : teeth.stop + thick, left : left + step] = 0.7
        if not comb:
            ink[top : top + thick, left : left + step] = 0.7


def _two_rows(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    step = random.uniform(1.05, 1.6)
    for row in range(2):
        patches = [one(random.uniform(0.85, 1)) for _ in range(random.integers(1, 6))]
        _row(ink, high, patches, random, (0.05, 0.4), (0.5 + row * step) * high)


def _column(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    for row in range(int(random.integers(2, 4))):
        lay(ink, one(), (0.5 + 1.2 * row) * high, random.uniform(0.9, 1.2) * high)


def _fraction(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    patches = [one(random.uniform(0.8, 1)) for _ in range(2)]
    wide, thick = max(patch.shape[1] for patch in patches), max(1, round(0.06 * high))
    gap = random.uniform(0.08, 0.3) * high
    lay(ink, patches[0], 0.5 * high, high + (wide - patches[0].shape[1]) / 2)
    bar = round(0.5 * high + len(patches[0]) + gap)
    lay(ink, np.ones((thick, round(1.3 * wide)), np.float32), bar, high - 0.15 * wide)
    lay(ink, patches[1], bar + thick + gap, high + (wide - patches[1].shape[1]) / 2)


def _date(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    mark = str(random.choice(["/", ".", "-"]))
    side, thick = round(1.1 * high), max(1, round(0.08 * high))
    row, column = np.ogrid[:side, : side // 2]
    slash = (np.abs(row + 2 * column - side) < 1.5 * thick).astype(np.float32)
    if mark == "-":
        slash = np.ones((thick, round(0.4 * high)), np.float32)
    elif mark == ".":
        slash = np.ones((thick + 1, thick + 1), np.float32)
    patches: list[Sheet] = []
    for part, count in enumerate(random.choice([[1, 1, 2], [2, 2, 2], [2, 2, 4], [1, 1, 0]])):
        if part and count:
            patches.append(np.pad(slash, ((0, round(0.45 * high) if mark == "-" else 0), (0, 0))))
        patches += [one(random.uniform(0.85, 1)) for _ in range(count)]
    _row(ink, high, patches, random, (0.05, 0.25), high)


def _raised(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    """A power, or the cents of a price."""
    first = one()
    lay(ink, first, high, high)
    x = high + first.shape[1] + random.uniform(0.02, 0.2) * high
    for _ in range(int(random.integers(1, 3))):
        patch = one(random.uniform(0.45, 0.65))
        lay(ink, patch, high - random.uniform(0, 0.3) * high, x)
        x += patch.shape[1] + random.uniform(0.05, 0.2) * high


def _scattered(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    places = random.permutation(9)[: random.integers(2, 7)]
    for place in places:
        y, x = 1.45 * (place // 3), 1.6 * (place % 3)
        lay(ink, one(random.uniform(0.7, 1.1)), (0.3 + y + random.uniform(0, 0.3)) * high, (1 + x) * high)


def _table(ink: Sheet, high: float, one: Callable[..., Sheet], random: Random) -> None:
    step, thick = round(1.5 * high), int(random.integers(1, 4))
    rows, columns = int(random.integers(1, 3)), int(random.integers(2, 4))
    for place in range(rows + 1):
        ink[place * step : place * step + thick, round(high) : round(high) + columns * step] = 0.8
    for place in range(columns + 1):
        left = round(high) + place * step
        ink[: rows * step, left : left + thick] = 0.8
    for place in range(rows * columns):
        y, x = place // columns * step, place % columns * step
        lay(ink, one(random.uniform(0.7, 1)), y + 0.25 * high, high + x + random.uniform(0.2, 0.5) * high)


LAYOUTS: dict[str, Callable[[Sheet, float, Callable[..., Sheet], Random], None]] = {
    "apart": _apart,
    "touching": _touching,
    "overlapping": _overlapping,
    "of different size": _of_different_size,
    "boxes": _boxes,
    "two rows": _two_rows,
    "column": _column,
    "fraction": _fraction,
    "date": _date,
    "raised": _raised,
    "scattered": _scattered,
    "table": _table,
}
