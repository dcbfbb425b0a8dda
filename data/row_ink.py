"""The strokes of rows: digits redrawn with another pen, and marks that are no digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from data.formats.idx import Bytes
from data.row_shapes import SHARES, SIDE, reshape

Floats = npt.NDArray[np.floating]

HEIGHT = 32  # of a row, pixels
PATCH = 44  # columns of a patch that holds one digit
TOGETHER = 32  # digits that are drawn together: their arrays fit into a processor's cache

CURRENCIES = "$€£¥₹#*"
WORDS = ("No.", "Rs.", "Total", "DM", "Date", "EUR", "kg", "Amount", "Sum", "Tel", "Code", "Name", "cm", "von", "PIN")


@dataclass(frozen=True)
class Pen:
    """A pen.

    Attributes:
        own: MNIST's strokes as they are.
        width: of its strokes, 0 the thinnest, 1 as MNIST's, above wider.
        pressure: darkness of full ink, as a share of the way from paper to black.
        wear: share of the ink that is missing in places, as with pencils.
    """

    own: bool = True
    width: float = 1.0
    pressure: float = 0.95
    wear: float = 0.0

    @staticmethod
    def drawn(random: np.random.Generator) -> Pen:
        """A pen of any kind: two in five are thin."""
        kind = random.random()
        if kind < 0.3:
            return Pen(True, 1.0, random.uniform(0.25, 1.0), random.choice([0.0, 0.2]))
        if kind < 0.45:  # a felt pen
            return Pen(False, random.uniform(1.1, 1.5), random.uniform(0.6, 1.0), 0.0)
        return Pen(False, random.uniform(0.1, 0.9), random.uniform(0.25, 1.0), random.choice([0.0, 0.3, 0.6]))


def hand_sizes(random: np.random.Generator) -> Floats:
    """Height of each of the ten digits [10], as a share of the row's; half of the rows have digits of one height."""
    uneven, sizes = random.random() < 0.5, random.uniform(0.5, 1, 10)
    sizes[0] = random.uniform(0.3, 0.8)
    sizes[[1, 7, 9]] = random.uniform(0.7, 1, 3)
    return sizes if uneven else np.ones(10)


WARP = (2, 4, 4)  # of each digit: cosines across and down, of the displacement down and across


def draw_digits(images: Bytes, labels: Bytes, draws: Floats, warps: Floats, pens: Sequence[Pen]) -> Floats:
    """Digits as they go into rows.

    Args:
        images: uint8 [N, 28, 28].
        labels: [N].
        draws: [N, 10] height, width, shear, turn, middle line, and five shares that decide about shapes.
        warps: [N, 2, 4, 4] heights of the cosines that bend it, pixels of MNIST.
        pens: of each digit.

    Returns:
        float32 [N, 32, PATCH], 0 paper to 1 ink.
    """
    sources = images.astype(np.float32) / 255
    for number in np.flatnonzero(draws[:, 5] < SHARES[labels]):
        reshape(sources[number], int(labels[number]), draws[number, 5:])
    own = np.array([pen.own for pen in pens])
    sources[~own] = ndimage.gaussian_filter(sources[~own], (0, 0.7, 0.7), truncate=3)
    patches = np.empty((len(sources), HEIGHT, PATCH), np.float32)
    for start in range(0, len(sources), TOGETHER):
        some = slice(start, start + TOGETHER)
        patches[some] = _sample(sources[some], draws[some], warps[some])
    width = np.array([pen.width for pen in pens], np.float32)[~own, None, None]
    patches[~own] = _redrawn(patches[~own], width)
    return patches


def _cosines(length: int) -> Floats:
    """The first four cosines of a line [length, 4], the higher the less: bends are smooth."""
    waves = np.arange(WARP[1])
    return (np.cos(np.pi * (np.arange(length)[:, None] + 0.5) / length * waves) / (1 + waves)).astype(np.float32)


_DOWN, _ACROSS = _cosines(HEIGHT), _cosines(PATCH)


def _sample(sources: Floats, draws: Floats, warps: Floats) -> Floats:
    """Maps of images [N, 28, 28] into patches [N, 32, PATCH], affine and then bent, read bilinearly."""
    height, width, shear, turn, middle = (draws[:, column].astype(np.float32) for column in range(5))
    y = np.arange(HEIGHT, dtype=np.float32) - middle[:, None]
    x = np.arange(PATCH, dtype=np.float32) - (PATCH - 1) / 2
    from_y = (y / height[:, None])[:, :, None] + (turn / width)[:, None, None] * x
    from_x = (x / width[:, None])[:, None, :] + (shear / width)[:, None, None] * y[:, :, None]
    bent = _DOWN @ warps @ _ACROSS.T
    from_y, from_x = from_y + bent[:, 0], from_x + bent[:, 1]
    # One pixel of paper before each line and two behind, so that all four neighbours can be read everywhere.
    side = SIDE + 3
    padded = np.zeros((len(sources), side, side), np.float32)
    padded[:, 1 : 1 + SIDE, 1 : 1 + SIDE] = sources
    from_y, from_x = (np.clip(from_ + (SIDE + 1) / 2, 0, SIDE + 1) for from_ in (from_y, from_x))
    top, left = from_y.astype(np.int32), from_x.astype(np.int32)
    corner = np.arange(len(sources), dtype=np.int32)[:, None, None] * (side * side) + top * side + left
    from_y -= top
    from_x -= left
    pixels = padded.ravel()
    a, b, c, d = (pixels[step:].take(corner, mode="wrap") for step in (0, 1, side, side + 1))
    above = a + from_x * (b - a)
    return above + from_y * (c + from_x * (d - c) - above)


def _redrawn(patches: Floats, width: Floats) -> Floats:
    """Strokes of another width: a pixel is ink if it is near enough to the ridge of a stroke.

    Measured against the darkest pixel around, the ridge of a faint stroke is as sure as that of a dark one: however
    thin the pen, no stroke breaks.
    """
    ridge = ndimage.maximum_filter(patches, (0, 5, 5))
    share = patches / np.maximum(ridge, 0.05) * np.clip((ridge - 0.2) * 5, 0, 1)
    needed = np.clip(0.93 - 0.4 * width, 0.1, 0.95)  # of the ridge
    return np.clip((share - needed) / 0.16 + 0.5, 0, 1)


def between(ends: Floats, count: int) -> Floats:
    """Numbers from one end to the other, evenly, [count] float32."""
    return np.linspace(ends[0], ends[1], count).astype(np.float32)


def span(patch: Floats) -> tuple[int, int]:
    """First and last column with ink."""
    columns = np.flatnonzero(patch.max(axis=0) > 0.3)
    return (int(columns[0]), int(columns[-1])) if len(columns) else (0, 2)


def lay(ink: Floats, patch: Floats, place: int) -> None:
    """Lay a patch onto the row, its first column at `place`, which may be outside."""
    start, end = max(place, 0), min(place + patch.shape[1], ink.shape[1])
    if end > start:
        np.maximum(ink[:, start:end], patch[:, start - place : end - place], out=ink[:, start:end])


def draw_mark(place: str, height: float, middle: float, width: int, pen: Pen, random: np.random.Generator) -> Floats:
    """A mark that is no digit, as a patch [32, width]: before the digits, between them, or behind them.

    Args:
        place: "start", "inside", "end", or "blank" for a row without digits.
        height: of the digits, pixels.
        middle: their middle line, pixels from the top.
        width: of the patch.
        pen: for its strokes.
        random: decides which mark.
    """
    patch = Image.new("L", (width * 2, HEIGHT * 2))
    draw = ImageDraw.Draw(patch)
    stroke = max(int(2 * (0.8 + 2.2 * pen.width) * height / 26), 2) if not pen.own else max(int(height / 6), 2)
    base, h, x = 2 * (middle + height / 2), 2 * height, float(width)
    kinds = {
        "start": ("sign", "sign", "dollar", "word", "equals", "dash", "slashes"),
        "inside": ("comma", "comma", "point", "point", "dash", "apostrophe"),
        "blank": ("word", "word", "word", "dash", "equals", "sign", "comma", "point"),
        "end": ("dash", "dash", "equals", "sign", "comma", "point", "slashes", "word"),
    }
    kind = str(random.choice(kinds[place]))
    j = random.uniform(-0.08, 0.08, 4) * h
    if kind in ("comma", "point", "apostrophe"):
        y = base - (h * 0.85 if kind == "apostrophe" else 0) + abs(j[0]) / 2
        r = stroke * random.uniform(0.5, 0.9)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=255)
        if kind != "point":
            draw.line([x, y, x - h * random.uniform(0.05, 0.15), y + h * random.uniform(0.1, 0.22)], 255, stroke)
    elif kind in ("dash", "equals"):
        length = h * random.uniform(0.15, 0.5)
        for level in (0.5,) if kind == "dash" else (0.36, 0.62):
            y = base - level * h
            draw.line([x - length, y + j[0], x + length, y + j[1]], 255, stroke)
    elif kind == "dollar":
        _dollar(draw, (x, base - h * random.uniform(0.4, 0.55)), h * random.uniform(0.6, 1.1), stroke, random)
    elif kind == "slashes":
        # Two before the digits: one alone may be a 1.
        for shift in (-0.12, 0.12)[: int(random.integers(1, 3)) + (place != "blank")]:
            top, bottom = base - h * random.uniform(0.9, 1.2), base + h * random.uniform(0.0, 0.2)
            lean = h * random.uniform(0.3, 0.55)
            draw.line([x + shift * h + lean / 2, top, x + shift * h - lean / 2, bottom], 255, stroke)
    else:
        text = str(random.choice(WORDS)) if kind == "word" else str(random.choice(list(CURRENCIES)))
        size = h * (random.uniform(0.5, 0.8) if kind == "word" else random.uniform(0.9, 1.3))
        number = int(random.integers(len(FONTS))) % (WITH_RUPEE if text == "₹" else len(FONTS))
        draw.text((x, base), text, 255, font(number, int(size)), "ms")
    return np.asarray(patch.reduce(2), np.float32) / 255


def _dollar(
    draw: ImageDraw.ImageDraw, middle: tuple[float, float], high: float, stroke: int, random: np.random.Generator
) -> None:
    """A handwritten dollar sign: an S with one or two strokes through it, or before it."""
    (x, y), wide = middle, high * random.uniform(0.2, 0.36)
    rise = high * random.uniform(0.4, 0.6)
    lean = high * random.uniform(0.0, 0.15)
    draw.arc([x - wide + lean, y - rise, x + wide + lean, y], 90, random.uniform(300, 360), 255, stroke)
    draw.arc([x - wide, y, x + wide, y + high - rise], 270, random.uniform(480, 540), 255, stroke)
    over, count = high * random.uniform(0.05, 0.25), int(random.integers(1, 3))
    for shift in (np.arange(count) - (count - 1) / 2) * high * random.uniform(0.12, 0.2):
        ends = x + shift + lean * 1.5, y - rise - over, x + shift - lean, y + high - rise + over
        draw.line(ends, 255, stroke)


FONTS = (
    *("DejaVuSans.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf"),
    *("DejaVuSansMono.ttf", "STIXGeneral.ttf", "STIXGeneralItalic.ttf"),
)
WITH_RUPEE = 6  # so many of the fonts, from the first, have that sign


@cache
def font(number: int, size: int) -> ImageFont.FreeTypeFont:
    """One of `FONTS`, which Matplotlib brings, in pixels."""
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{FONTS[number]}", size)
