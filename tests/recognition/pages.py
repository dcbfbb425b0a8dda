"""Pages of handwritten numbers, drawn of MNIST's test digits: for tests, and to measure how pages are read.

    measure(read, [maker.page(seed) for seed in range(40)])

Seeds below `JUDGING` take the first 5,000 test digits and are for tuning; the others are for judging alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Grey = npt.NDArray[np.uint8]
Ink = npt.NDArray[np.float32]

JUDGING = 1000  # first seed for judging
A4 = (1754, 1240)  # height and width at 150 dpi
INGREDIENTS = (
    *("touching", "ruled", "boxes", "comb", "table", "columns", "printed", "currency", "line_through"),
    *("faint", "blur", "jpeg", "slope", "turned", "shade", "dark_rim"),
)
OFTEN = 0.15  # share of pages with each ingredient
BODY = ("boxes", "comb", "table", "columns")  # of which a page has one at most


@dataclass(frozen=True)
class DrawnPage:
    """A page and the numbers on it.

    Attributes:
        grey: [H, W] uint8.
        rows: its numbers; of a table or of columns, each cell is one.
        ingredients: what it was made of, of `INGREDIENTS`.
    """

    grey: Grey
    rows: Sequence[str]
    ingredients: Sequence[str]


class PageMaker:
    """Draws pages of test digits [N, 28, 28] uint8 with labels [N]."""

    def __init__(self, images: Grey, labels: npt.NDArray[np.uint8], size: tuple[int, int] = A4) -> None:
        self._images, self._labels, self._size = images, labels, size

    def page(self, seed: int, ingredients: Sequence[str] | None = None, rows: int | None = None) -> DrawnPage:
        """A page; a pure function of its arguments."""
        random = np.random.default_rng([15, seed])
        chosen = [each for each in INGREDIENTS if random.random() < OFTEN]
        body = [each for each in chosen if each in BODY]
        used = [each for each in chosen if each not in BODY or each == body[0]]
        if ingredients is not None:
            used = list(ingredients)
        half = len(self._images) // 2
        digits = range(half) if seed < JUDGING else range(half, len(self._images))
        plan = _Plan(random, used, self._size, self._images, self._labels, digits)
        return DrawnPage(*plan.draw(rows or int(random.integers(1, 13))), used)


class _Plan:
    def __init__(
        self,
        random: np.random.Generator,
        used: Sequence[str],
        size: tuple[int, int],
        images: Grey,
        labels: npt.NDArray[np.uint8],
        digits: range,
    ) -> None:
        self._random, self._used, self._images, self._labels, self._digits = random, used, images, labels, digits
        self._sheet = np.zeros(size, np.float32)
        self._height = float(random.uniform(30, 62))
        self._pen = float(random.uniform(0.3, 0.45))
        self._slant = float(random.uniform(-0.25, 0.25))
        self._loose = float(random.uniform(0.02, 0.35))
        self._size_spread = float(random.uniform(0, 0.12))
        self._baseline = float(random.uniform(0, 0.1))

    def draw(self, count: int) -> tuple[Grey, list[str]]:
        random, high, (height, width) = self._random, self._height, self._sheet.shape
        pitch = high * random.uniform(1.9, 3)
        top = float(random.uniform(0.08, 0.2)) * height
        count = min(count, int((0.9 * height - top) / pitch))
        if "ruled" in self._used:
            self._rule(top, pitch)
        rows: list[str] = []
        columns = int(random.integers(2, 5)) if {"table", "columns"} & set(self._used) else 1
        left, room = 0.1 * width, 0.8 * width / columns
        for row in range(count):
            for column in range(columns):
                most = max(1, min(11, int(room / high / (1 + self._loose)) - columns))
                number = "".join(
                    self._row(top + row * pitch, left + column * room, room, int(random.integers(1, most + 1)))
                )
                rows.append(number)
        if "table" in self._used:
            self._grid(top - 0.5 * (pitch - high), pitch, count, left - 0.02 * width, room, columns)
        return self._photograph(), rows

    def _row(self, top: float, left: float, room: float, count: int) -> list[str]:
        random, high = self._random, self._height
        patches, numbers = [], []
        for number in random.choice(self._digits, count):
            patches.append(self._digit(int(number), high * (1 + random.normal(0, self._size_spread))))
            numbers.append(str(self._labels[number]))
        fixed = 1.15 * high if {"boxes", "comb"} & set(self._used) else 0.0
        wide = sum(patch.shape[1] for patch in patches) + count * high * (self._loose + 0.1)
        x = left + random.uniform(0, max(1.0, room - max(wide, fixed * count) - 2.4 * high)) + 1.6 * high
        first, bottoms = x, top + high
        for number_of, patch in enumerate(patches):
            if fixed:
                x = first + fixed * number_of + (fixed - patch.shape[1]) / 2
            lift = random.normal(0, self._baseline) * high
            self._put(patch, bottoms - len(patch) + lift, x)
            gap = self._loose * high * random.uniform(0.3, 1.7) + 1
            if "touching" in self._used and random.random() < 0.4:
                gap = -random.uniform(0, 0.08) * high
            x += patch.shape[1] + gap
        if fixed:
            self._boxes(first, bottoms, fixed, count)
        self._marks(first, x, bottoms)
        return numbers

    def _digit(self, number: int, high: float) -> Ink:
        smooth = ndimage.gaussian_filter(ndimage.zoom(self._images[number] / 255.0, 4, order=1), 1)
        ink = np.clip((smooth - self._pen) / 0.25, 0, 1)
        sheared = ndimage.affine_transform(ink, [[1, 0], [self._slant, 1]], [0, -self._slant * 56], order=1)
        rows, columns = np.flatnonzero(sheared.max(1) > 0.3), np.flatnonzero(sheared.max(0) > 0.3)
        ink = sheared[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
        size = max(2, round(ink.shape[1] * high / 80)), max(6, round(len(ink) * high / 80))
        small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX))
        return small * np.float32(self._random.uniform(0.75, 1))

    def _put(self, patch: Ink, top: float, left: float) -> None:
        y, x = max(round(top), 0), max(round(left), 0)
        under = self._sheet[y : y + len(patch), x : x + patch.shape[1]]
        np.maximum(under, patch[: len(under), : under.shape[1]], out=under)

    def _line(self, top: float, left: float, bottom: float, right: float, thick: int, depth: float) -> None:
        y, x = max(round(top), 0), max(round(left), 0)
        part = self._sheet[y : max(y + thick, round(bottom)), x : max(x + thick, round(right))]
        np.maximum(part, depth, out=part)

    def _rule(self, top: float, pitch: float) -> None:
        depth, thick = float(self._random.uniform(0.15, 0.7)), int(self._random.integers(1, 4))
        shift = self._height * self._random.uniform(0.95, 1.2)
        y = top + shift - 3 * pitch
        while y < len(self._sheet):
            if y > 0:
                self._line(y, 0, y, self._sheet.shape[1], thick, depth)
            y += pitch

    def _boxes(self, left: float, bottom: float, wide: float, count: int) -> None:
        depth, thick = float(self._random.uniform(0.3, 0.9)), int(self._random.integers(1, 4))
        low = bottom + 0.15 * self._height
        comb = "comb" in self._used
        high = low - self._height * (0.45 if comb else 1.35)
        right = left + count * wide
        self._line(low, left, low, right + thick, thick, depth)
        if not comb:
            self._line(high, left, high, right + thick, thick, depth)
        for number in range(count + 1):
            self._line(high, left + number * wide, low, left + number * wide, thick, depth)

    def _grid(self, top: float, pitch: float, rows: int, left: float, room: float, columns: int) -> None:
        depth, thick = float(self._random.uniform(0.3, 1)), int(self._random.integers(2, 5))
        bottom, right = top + rows * pitch, left + columns * room
        for row in range(rows + 1):
            self._line(top + row * pitch, left, top + row * pitch, right + thick, thick, depth)
        for column in range(columns + 1):
            self._line(top, left + column * room, bottom, left + column * room, thick, depth)

    def _marks(self, first: float, end: float, bottom: float) -> None:
        """What stands beside numbers: printed words, currency signs, a line through or under the row."""
        high = self._height
        if "currency" in self._used:
            sign = str(self._random.choice(["$", "#"]))
            self._print(sign, first - 0.2 * high, bottom, 0.9 * high, before=True)
        if "printed" in self._used:
            word = str(self._random.choice(["Total", "No.", "Amount:", "Date", "kg", "Ref"]))
            self._print(word, 0.02 * self._sheet.shape[1], bottom, 0.45 * high)
        if "line_through" in self._used:
            y = bottom - high * self._random.uniform(-0.12, 0.3)
            depth, thick = float(self._random.uniform(0.3, 0.8)), int(self._random.integers(1, 4))
            self._line(y, first - 0.5 * high, y, end + 0.5 * high, thick, depth)

    def _print(self, text: str, left: float, bottom: float, size: float, before: bool = False) -> None:
        font = ImageFont.load_default(size)
        box = font.getbbox(text)
        picture = Image.new("L", (int(box[2]) + 2, int(box[3]) + 2))
        ImageDraw.Draw(picture).text((0, 0), text, 255, font)
        patch = np.asarray(picture, np.float32)[int(box[1]) :] / np.float32(255)
        self._put(patch, bottom - len(patch), left - (patch.shape[1] if before else 0))

    def _photograph(self) -> Grey:
        random, used = self._random, self._used
        height, width = self._sheet.shape
        faint = random.uniform(0.18, 0.4) if "faint" in used else random.uniform(0.6, 1)
        paper = float(random.uniform(200, 250))
        light = np.full((height, width), paper, np.float32)
        if "shade" in used:
            slope = random.uniform(-0.5, 0.5, 2)
            light *= np.linspace(1 - abs(slope[0]), 1, height, dtype=np.float32)[:, None] ** np.sign(slope[0])
            light = np.clip(light * np.linspace(1 + slope[1] / 2, 1 - slope[1] / 2, width, dtype=np.float32), 40, 255)
        grey = light * (1 - self._sheet * np.float32(0.85 * faint))
        picture = Image.fromarray(grey)
        fill = float(np.median(light))
        if "slope" in used:
            angle = float(random.uniform(4, 15) * random.choice([-1, 1]))
            picture = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)
        if "turned" in used:
            picture = picture.transpose(random.choice([Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270]))
        grey = np.asarray(picture)
        if "blur" in used:
            grey = ndimage.gaussian_filter(grey, random.uniform(0.8, 1.8))
        grey = grey + random.normal(0, random.uniform(1, 5), grey.shape).astype(np.float32)
        if "dark_rim" in used:
            rim = int(random.integers(8, 40))
            for part in (grey[:rim], grey[-rim // 2 :], grey[:, :rim]):
                part[:] = random.uniform(20, 70)
        grey = np.clip(grey, 0, 255).astype(np.uint8)
        if "jpeg" in used:
            grey = through_jpeg(grey, int(random.integers(25, 70)))
        return grey


def through_jpeg(grey: Grey, quality: int) -> Grey:
    """The picture as JPEG of that quality gives it back."""
    import io

    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def rows_right(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Number of rows that were read exactly, wherever they stand in the order."""
    return sum((Counter(wanted) & Counter(found)).values())


def measure(read: Callable[[Grey], Sequence[str]], pages: Sequence[DrawnPage]) -> None:
    """Print rows exact of all, and of the pages with each ingredient, and the processor time of a page."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    extra, begun = 0, time.process_time()
    for page in pages:
        found = read(page.grey)
        exact = rows_right(page.rows, found)
        extra += max(0, len(found) - len(page.rows))
        for name in ("all", *(page.ingredients or ["plain"])):
            right[name] += exact
            total[name] += len(page.rows)
    spent = (time.process_time() - begun) / len(pages)
    for name in sorted(total, key=lambda name: (name != "all", right[name] / total[name])):
        print(f"{name:14} {right[name]:5} of {total[name]:5} rows exact {100 * right[name] / total[name]:6.1f} %")
    print(f"{extra} rows too many on {len(pages)} pages; {spent:.2f} s of processor time a page", flush=True)
