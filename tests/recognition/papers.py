"""Pictures that hold no digit, or several: blank and marked papers, and rows of MNIST's test digits.

    python -m tests.recognition.papers 0 200 FOLDER
    python -m tests.recognition.papers 0 200 --lines

lists those that are answered above 0.9 without a mark: not refused, no `no_digit`, no `several`; and draws all of them
into a folder, if one is named. With --lines, papers without a digit are read as rows; a single sure digit counts. Seeds
below 3800 and from 5000 to 5999 are for tuning.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from data.dataset import load_mnist
from recognition.layout import find_strips
from recognition.picture import PictureError
from recognition.reader import Answer, DigitReader
from recognition.row_answers import page_of
from recognition.row_reader import RowReader
from recognition.strip import Rows
from tests.recognition.pages import through_jpeg

Grey = npt.NDArray[np.uint8]
Sheet = npt.NDArray[np.float32]
Random = np.random.Generator

SURE = 0.9  # probability from which on an answer counts as sure


def paper(random: Random, height: int, width: int) -> Sheet:
    """Paper without a mark: grey, lit unevenly, with texture and grain."""
    level = random.choice(
        [random.uniform(225, 255), random.uniform(150, 230), random.uniform(30, 130)], p=[0.6, 0.3, 0.1]
    )
    row, column = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    slope = random.uniform(-0.15, 0.15, 3) * random.choice([0, 1, 2])
    light = 1 + slope[0] * row + slope[1] * column + slope[2] * (row**2 + column**2) / 2
    sheet = level * light
    for _ in range(int(random.integers(0, 3))):
        texture = ndimage.gaussian_filter(random.normal(0, 1, (height, width)), random.uniform(0, 4))
        sheet = sheet + texture / texture.std() * random.uniform(0, 6)
    return sheet.astype(np.float32)


def spot(sheet: Sheet, random: Random, size: float, depth: float, sharp: int = 4) -> Sheet:
    """An oval spot; `size` is its radius, pixels."""
    height, width = sheet.shape
    row, column = np.ogrid[:height, :width]
    y, x, angle = random.uniform(0, height), random.uniform(0, width), random.uniform(0, np.pi)
    along = (row - y) * np.cos(angle) + (column - x) * np.sin(angle)
    across = (column - x) * np.cos(angle) - (row - y) * np.sin(angle)
    return sheet - np.float32(depth) * np.exp(
        -((np.abs(along) / size / random.uniform(1, 2.5)) ** sharp) - (np.abs(across) / size) ** sharp
    ).astype(np.float32)


def _plain(sheet: Sheet, random: Random) -> Sheet:
    return sheet


def _specks(sheet: Sheet, random: Random) -> Sheet:
    for _ in range(int(random.choice([1, 1, 2, 3, 8, 25]))):
        sheet = spot(sheet, random, random.uniform(0.5, 0.012 * max(sheet.shape) + 1), random.uniform(30, 200))
    return sheet


def _dust(sheet: Sheet, random: Random) -> Sheet:
    dots = random.random(sheet.shape) < random.uniform(0.0001, 0.004)
    depth = ndimage.gaussian_filter(dots * random.uniform(50, 255, sheet.shape), random.uniform(0.4, 1.2))
    return sheet - (depth * random.uniform(1, 4)).astype(np.float32)


def _hairs(sheet: Sheet, random: Random) -> Sheet:
    """Short thin fibres."""
    height, width = sheet.shape
    for _ in range(int(random.integers(1, 5))):
        y, x, angle = random.uniform(0, height), random.uniform(0, width), random.uniform(0, 2 * np.pi)
        bend, length = random.normal(0, 0.02), int(random.uniform(0.02, 0.08) * max(height, width)) + 4
        ink = np.zeros((height, width))
        for _ in range(length):
            y, x, angle = y + np.sin(angle), x + np.cos(angle), angle + bend
            if 0 <= y < height and 0 <= x < width:
                ink[int(y), int(x)] = 1
        sheet = sheet - np.float32(random.uniform(30, 120)) * ndimage.gaussian_filter(ink, 0.5).astype(np.float32)
    return sheet


def _rim(sheet: Sheet, random: Random) -> Sheet:
    """The table beside a sheet, which lies a little askew."""
    sheet = sheet.copy()
    dark = random.uniform(10, 110)
    for turns in range(4):
        if random.random() < 0.6:
            turned = np.rot90(sheet, turns)
            row, column = np.ogrid[: turned.shape[0], : turned.shape[1]]
            beyond = row < random.uniform(0.01, 0.12) * len(turned) + column * random.normal(0, 0.03)
            turned[beyond] = dark + random.normal(0, 3, np.count_nonzero(beyond))
    return ndimage.gaussian_filter(sheet, random.uniform(0.3, 1.5))


def _noise(sheet: Sheet, random: Random) -> Sheet:
    kind = random.integers(3)
    if kind == 0:
        return sheet + random.normal(0, random.uniform(10, 60), sheet.shape).astype(np.float32)
    if kind == 1:  # salt and pepper
        return np.where(random.random(sheet.shape) < random.uniform(0.005, 0.42), random.choice([0, 255]), sheet)
    side = int(random.integers(2, 7))
    coarse = random.random([-(-each // side) for each in sheet.shape]) < random.uniform(0.05, 0.5)
    return np.where(np.kron(coarse, np.ones((side, side)))[: len(sheet), : sheet.shape[1]] > 0, 30, sheet)


def _stains(sheet: Sheet, random: Random) -> Sheet:
    for _ in range(int(random.integers(1, 5))):
        size = random.uniform(0.02, 0.3) * max(sheet.shape)
        sheet = spot(sheet, random, size, random.uniform(8, 90), sharp=int(random.choice([2, 4, 8])))
    return sheet


def _fold(sheet: Sheet, random: Random) -> Sheet:
    height, width = sheet.shape
    row, column = np.ogrid[:height, :width]
    for _ in range(int(random.integers(1, 4))):
        angle = random.choice([0, np.pi / 2]) + random.normal(0, 0.1)
        away = (row - random.uniform(0, height)) * np.cos(angle) + (column - random.uniform(0, width)) * np.sin(angle)
        wide = random.uniform(0.7, 4)
        sheet = sheet - np.float32(random.uniform(-60, 90)) * np.exp(-((away / wide) ** 2)).astype(np.float32)
        sheet = sheet * np.where(away > 0, random.uniform(0.88, 1), 1).astype(np.float32)
    return sheet


def _staples(sheet: Sheet, random: Random) -> Sheet:
    """Two holes of a staple, or the staple itself."""
    height, width = sheet.shape
    sheet, long = sheet.copy(), max(4, int(random.uniform(0.02, 0.06) * max(height, width)))
    y, x = int(random.uniform(0.02, 0.9) * height), int(random.uniform(0.02, 0.9) * max(width - long, 1))
    thick = max(1, long // 10)
    if random.random() < 0.5:
        sheet[y : y + thick, x : x + long] -= random.uniform(40, 150)
    else:
        for left in (x, x + long):
            sheet[y : y + 2 * thick, left : left + 2 * thick] -= random.uniform(60, 180)
    return ndimage.gaussian_filter(sheet, random.uniform(0.3, 1))


def _ruled(sheet: Sheet, random: Random) -> Sheet:
    """Ruled or squared paper."""
    height, width = sheet.shape
    lines = np.zeros((height, width), np.float32)
    pitch, thick, depth = int(random.integers(12, 90)), int(random.integers(1, 4)), random.uniform(15, 160)
    for first in range(int(random.integers(0, pitch)), height, pitch):
        lines[first : first + thick] = depth
    if random.random() < 0.6:
        for first in range(int(random.integers(0, pitch)), width, pitch):
            lines[:, first : first + thick] = depth
    turned = ndimage.rotate(lines, random.normal(0, 2), reshape=False, order=1, mode="reflect")
    return sheet - ndimage.gaussian_filter(turned, random.uniform(0.2, 1))


def _shadow(sheet: Sheet, random: Random) -> Sheet:
    height, width = sheet.shape
    row, column = np.ogrid[:height, :width]
    angle = random.uniform(0, 2 * np.pi)
    away = (row - random.uniform(0, height)) * np.sin(angle) + (column - random.uniform(0, width)) * np.cos(angle)
    away = away + random.uniform(0, 0.05) * width * np.sin(column / width * random.uniform(2, 12))
    edge = 1 / (1 + np.exp(-np.clip(away / random.uniform(1, 0.06 * width + 2), -50, 50)))
    return (sheet * (1 - random.uniform(0.15, 0.6) * edge)).astype(np.float32)


def _border(sheet: Sheet, random: Random) -> Sheet:
    """A part of a table, or a frame: lines of a form without anything in it."""
    height, width = sheet.shape
    sheet, thick, depth = sheet.copy(), int(random.integers(1, 6)), random.uniform(40, 200)
    for number in range(int(random.integers(1, 5))):
        at = int(random.uniform(0.02, 0.95) * (height, width)[number % 2])
        start, end = sorted(random.uniform(-0.5, 1.5, 2)) if random.random() < 0.5 else (0.0, 1.0)
        side = (height, width)[1 - number % 2]
        long = slice(max(int(start * side), 0), max(int(end * side), 0))
        part = sheet[at : at + thick, long] if number % 2 == 0 else sheet[long, at : at + thick]
        part -= np.float32(depth)
    return ndimage.gaussian_filter(sheet, random.uniform(0.2, 1))


def _holes(sheet: Sheet, random: Random) -> Sheet:
    """Punched holes, with the shadow at their edges."""
    height, width = sheet.shape
    row, column = np.ogrid[:height, :width]
    size, x = random.uniform(0.012, 0.05) * max(height, width), random.uniform(0.03, 0.2) * width
    dark = random.uniform(-20, 200)
    for number in range(int(random.integers(1, 5))):
        away = np.hypot(row - (number + random.uniform(0.4, 0.6)) * height / 4, column - x)
        inside = 1 / (1 + np.exp(np.clip(2 * (away - size), -50, 50)))
        edge = np.exp(-(((away - size) / random.uniform(0.7, 2)) ** 2)) * random.uniform(0, 80)
        sheet = sheet - (dark * inside + edge).astype(np.float32)
    return sheet


PAPERS: dict[str, Callable[[Sheet, Random], Sheet]] = {
    "plain": _plain,
    "specks": _specks,
    "dust": _dust,
    "hairs": _hairs,
    "rim": _rim,
    "noise": _noise,
    "stains": _stains,
    "fold": _fold,
    "staples": _staples,
    "ruled": _ruled,
    "shadow": _shadow,
    "border": _border,
    "holes": _holes,
}


def any_sheet(random: Random, largest: int) -> Sheet:
    """A sheet of any size, upright or not; its longest side is at most this many pixels."""
    longest = int(random.choice([random.integers(28, 120), random.integers(120, 700), random.integers(700, largest)]))
    height, width = sorted((longest, int(longest * random.uniform(0.5, 1))), reverse=random.random() < 0.6)
    return paper(random, height, width)


def blank(seed: int) -> tuple[str, Grey]:
    """A paper without a digit, and its kind; a pure function of the seed."""
    random = np.random.default_rng([21, seed])
    kind = list(PAPERS)[seed % len(PAPERS)]
    sheet = PAPERS[kind](any_sheet(random, 1600), random)
    if random.random() < 0.3:
        sheet = _specks(sheet, random)
    return kind, photographed(sheet, random)


def several(seed: int, images: Grey) -> tuple[str, Grey]:
    """Two to five test digits, [N, 28, 28] uint8, in a row or two, and their kind; a pure function of the arguments."""
    random = np.random.default_rng([22, seed])
    rows = 2 if random.random() < 0.25 else 1
    layout = str(random.choice(["apart", "touching", "boxed"], p=[0.5, 0.32, 0.18]))
    count, high = int(random.integers(2, 6)), random.uniform(20, 110)
    pen, depth = random.uniform(0.3, 0.5), random.uniform(0.35, 0.9)
    ink = np.zeros((int((1.5 * rows + 1.2) * high), int((count + 1.5) * 1.5 * high)), np.float32)
    left, right = random.uniform(0.15, 1) * high, 0.0
    for row in range(rows):
        x, line = left, (0.4 + 1.5 * row) * high
        for _ in range(count):
            patch = digit(images[random.integers(len(images))], high * random.uniform(0.8, 1.15), pen)
            lay(ink, patch, line + random.normal(0, 0.05) * high, x)
            step = patch.shape[1] + random.uniform(0.04, 0.5) * high
            if layout == "touching" and random.random() < 0.7:
                step = patch.shape[1] - random.uniform(0, 0.12) * high
            elif layout == "boxed":
                step = 1.3 * high
                box = np.full([round(1.3 * high) + 2] * 2, 0.6, np.float32)
                box[2:-2, 2:-2] = 0
                lay(ink, box, line - 0.12 * high, x - 0.15 * high)
            x += max(step, 3)
        right = max(right, x)
    ink = ink[:, : round(right + random.uniform(0.05, 1) * high)]
    sheet = paper(random, *ink.shape) * (1 - ink * np.float32(depth))
    return f"{rows} row{'s' * (rows > 1)}, {layout}", photographed(sheet, random)


def lay(ink: Sheet, patch: Sheet, top: float, left: float) -> None:
    """Draw a patch of ink onto a sheet of ink, as far as it fits."""
    y, x = max(round(top), 0), max(round(left), 0)
    under = ink[y : y + len(patch), x : x + patch.shape[1]]
    np.maximum(under, patch[: len(under), : under.shape[1]], out=under)


def digit(image: Grey, high: float, pen: float) -> Sheet:
    """One of MNIST's images as a pen's strokes, tightly cropped, `high` pixels high."""
    smooth = ndimage.gaussian_filter(ndimage.zoom(image / 255, 6, order=1), 1.5)
    ink = np.clip((smooth - pen) / 0.3, 0, 1)
    rows, columns = np.flatnonzero(ink.max(1) > 0.3), np.flatnonzero(ink.max(0) > 0.3)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    smaller = ndimage.gaussian_filter(ink, max(len(ink) / high / 2.5, 0.3))
    return np.clip(ndimage.zoom(smaller, high / len(ink), order=1), 0, 1).astype(np.float32)


def photographed(sheet: Sheet, random: Random) -> Grey:
    """A sheet as a camera keeps it: grain, perhaps a negative, perhaps JPEG."""
    grey = np.clip(sheet + random.normal(0, random.uniform(0, 4), sheet.shape), 0, 255).astype(np.uint8)
    if random.random() < 0.12:
        grey = 255 - grey
    return through_jpeg(grey, int(random.integers(20, 95))) if random.random() < 0.5 else grey


def surely_answered(
    draw: Callable[[int], tuple[str, Grey]], reader: DigitReader, seeds: Iterable[int], rows: RowReader | None = None
) -> list[str]:
    """The pictures that are answered surely without a mark, each in words; as rows, if `rows` is there to read them."""
    found = []
    for seed in seeds:
        kind, grey = draw(seed)
        try:
            answers = row_answers(grey, reader, rows) if rows else [reader.answer(grey)]
        except PictureError:
            continue
        unmarked = (each for each in answers if not (each.no_digit or each.several or each.rejected))
        label, probability = max((each.digits[0] for each in unmarked), key=itemgetter(1), default=("", 0.0))
        if probability > SURE:
            found.append(f"{seed} {kind}: {label} {probability:.4f}")
    return found


def row_answers(grey: Grey, reader: DigitReader, rows: RowReader) -> list[Answer]:
    """The answer for each digit of a picture's rows, as `infer.py --lines` has it.

    Raises:
        PictureError: there is nothing to read.
    """
    strips = find_strips(grey, lambda images: reader.probabilities(images).max(axis=1))
    page = page_of("", Rows(grey, grey.shape[::-1], strips), reader, rows)
    return [digit.answer for row in page.rows for digit in row.digits]


def main() -> None:
    """Print what is answered surely without a mark, of the seeds between two numbers; draw those into a folder."""
    from tests.recognition.clutter import cluttered  # these two use this module
    from tests.recognition.numbers import number

    given = [each for each in sys.argv[1:] if each != "--lines"]
    as_rows = len(given) < len(sys.argv[1:])
    seeds, folders = range(*map(int, given[:2])), map(Path, given[2:3])
    digits, reader = load_mnist().test_images, DigitReader.load()
    draws: dict[str, Callable[[int], tuple[str, Grey]]] = {"blank": blank, "cluttered": cluttered}
    if not as_rows:
        draws |= {"several": partial(several, images=digits), "number": partial(number, images=digits)}
    rows = RowReader.load() if as_rows else None
    for name, draw in draws.items():
        found = surely_answered(draw, reader, seeds, rows)
        print(f"{name}: {len(found)} of {len(seeds)} answered above {SURE} without a mark", *found, sep="\n    ")
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for (name, draw), seed in itertools.product(draws.items(), seeds):
            Image.fromarray(draw(seed)[1]).save(folder / f"{name}_{seed}.png")


if __name__ == "__main__":
    main()
