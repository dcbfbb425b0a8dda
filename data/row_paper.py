"""Paper for rows: its texture, the lines that are printed on it, what reaches in from its surroundings."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from data.formats.idx import Bytes
from data.row_ink import HEIGHT, WORDS, Floats, Pen, between, font

if TYPE_CHECKING:
    from data.rows import Ingredients

Mask = npt.NDArray[np.bool_]


def neighbours(ink: Floats, patches: Floats, random: np.random.Generator) -> None:
    """Add parts of other writing that reach into a row, in place: digits [2, 32, P], or printed words.

    At most a third of a digit is visible, or else it would have to be read.
    """
    kind, width = random.random(), ink.shape[1]
    if kind > 0.26:
        return
    if kind < 0.04:  # at the left or right end
        columns = np.flatnonzero(patches[0].max(axis=0) > 0.3)
        if len(columns):
            seen = max(int(random.uniform(0.1, 0.3) * (columns[-1] - columns[0])), 1)
            if random.random() < 0.5:
                part = patches[0][:, columns[-1] - seen : columns[-1] + 1]
                np.maximum(ink[:, : part.shape[1]], part[:, :width], out=ink[:, : part.shape[1]])
            else:
                part = patches[0][:, columns[0] : columns[0] + seen + 1]
                np.maximum(ink[:, width - part.shape[1] :], part, out=ink[:, width - part.shape[1] :])
    elif kind < 0.19:  # above or below
        below = random.random() < 0.5
        for patch in patches:
            lines = np.flatnonzero(patch.max(axis=1) > 0.3)
            if not len(lines):
                continue
            seen = max(int(random.uniform(0.08, 0.35) * (lines[-1] - lines[0])), 1)
            part = patch[lines[0] : lines[0] + seen] if below else patch[lines[-1] - seen + 1 : lines[-1] + 1]
            span = min(part.shape[1], width)
            left = int(random.integers(0, width - span + 1))
            target = ink[HEIGHT - seen :, left : left + span] if below else ink[:seen, left : left + span]
            np.maximum(target, part[:, :span], out=target)
    else:  # words, cut by the upper or lower edge
        layer = Image.new("L", (width, HEIGHT))
        size, below = int(random.uniform(10, 24)), random.random() < 0.5
        y = HEIGHT + 0.6 * size if below else 0.3 * size
        text = " ".join(map(str, random.choice(WORDS, 3)))
        ImageDraw.Draw(layer).text((random.uniform(-0.3, 0.5) * width, y), text, 255, font(0, size), "ls")
        np.maximum(ink, np.asarray(layer, np.float32) / 255 * random.uniform(0.4, 1), out=ink)


def printed_lines(
    shape: tuple[int, ...],
    height: float,
    middle: float,
    boxes: tuple[float, float, int] | None,
    ruled: bool,
    borders: bool,
    random: np.random.Generator,
) -> Floats | None:
    """Lines under a row [32, W], 0 paper to 1 the darkest; None for none.

    Args:
        shape: of the row.
        height: of its digits, pixels.
        middle: their middle line, pixels from the top.
        boxes: first box's left edge, width of a box, and how many there are.
        ruled: lines to write on are wanted.
        borders: edges of a table's cell are wanted.
        random: decides the rest.
    """
    wants_rule, wants_border = random.random() < 0.16, random.random() < 0.16
    layer = np.zeros(shape, np.float32)
    top, bottom = middle - 0.5 * height, middle + 0.5 * height
    slope = random.uniform(-0.03, 0.03)
    if boxes:
        left, pitch, count = boxes
        comb = random.random() < 0.5
        over = top - random.uniform(0.05, 0.2) * height if not comb else bottom - random.uniform(0.1, 0.5) * height
        under = bottom + random.uniform(0.05, 0.2) * height
        thick = random.uniform(0.8, 2.2)
        gap = random.choice([0.0, 0.0, 0.12]) * pitch  # between single boxes
        for number in range(count + 1):
            _vertical(layer, left + number * pitch - gap, over, under, thick)
            if gap:
                _vertical(layer, left + number * pitch, over, under, thick)
        for y in (under,) if comb else (over, under):
            _horizontal(layer, y, 0, thick, left, left + count * pitch)
    if ruled and wants_rule:
        y = bottom + random.uniform(-0.35, 0.15) * height
        for line in range(int(random.choice([1, 1, 2]))):
            _horizontal(layer, y - line * random.uniform(0.7, 1.2) * height, slope, random.uniform(0.7, 2.2))
        if random.random() < 0.3:  # squared paper
            step = random.uniform(0.5, 1.1) * height
            for x in np.arange(random.uniform(0, step), shape[1], step):
                _vertical(layer, x, 0, HEIGHT, random.uniform(0.7, 1.4))
        if random.random() < 0.2:  # dotted
            layer[:, :: int(random.integers(2, 5))] *= random.uniform(0, 0.4)
    if borders and wants_border:
        for side in random.permutation(4)[: int(random.integers(1, 5))]:
            away, thick = random.uniform(0, 2.5), random.uniform(0.8, 4.5)
            if side < 2:
                x = away if side == 0 else shape[1] - 1 - away
                _vertical(layer, x, 0, HEIGHT, thick, slope)
            else:
                _horizontal(layer, away if side == 2 else HEIGHT - 1 - away, slope * 0.5, thick)
    if not layer.any():
        return None
    return layer * (random.uniform(0.25, 1.0) if random.random() < 0.7 else 1.15)


def _horizontal(
    layer: Floats, y: float, slope: float, thick: float, start: float = 0, end: float | None = None
) -> None:
    first, last = max(int(start), 0), layer.shape[1] if end is None else max(int(end) + 1, 0)
    columns = np.arange(layer.shape[1], dtype=np.float32)[first:last]
    distance = np.abs(np.arange(HEIGHT, dtype=np.float32)[:, None] - (y + slope * (columns - layer.shape[1] / 2)))
    layer[:, first:last] = np.maximum(layer[:, first:last], np.clip(thick / 2 + 0.5 - distance, 0, 1))


def _vertical(layer: Floats, x: float, top: float, bottom: float, thick: float, slope: float = 0) -> None:
    first, last = max(int(top), 0), max(int(bottom) + 1, 0)
    lines = np.arange(HEIGHT, dtype=np.float32)[first:last, None]
    start, end = max(int(x - thick - 2), 0), max(int(x + thick + 3), 0)
    columns = np.arange(layer.shape[1], dtype=np.float32)[start:end]
    distance = np.abs(columns - (x + slope * (lines - HEIGHT / 2)))
    part = layer[first:last, start:end]
    np.maximum(part, np.clip(thick / 2 + 0.5 - distance, 0, 1), out=part)


def finish(
    ink: Floats, lines: Floats | None, height: float, pen: Pen | None, use: Ingredients, random: np.random.Generator
) -> Bytes:
    """Ink and printed lines on paper, as a camera or scanner sees them: uint8 [32, W], 0 black to 255 white.

    Args:
        ink: [32, W], 0 paper to 1 ink.
        lines: likewise; None for none.
        height: of the digits, pixels.
        pen: None for MNIST's own strokes.
        use: ingredients that are wanted.
        random: decides the rest.
    """
    shape = ink.shape
    pressure, wear = (pen.pressure, pen.wear) if pen else (0.95, 0.0)
    if use.paper and random.random() < 0.08:
        for x, y, radius in zip(
            random.uniform(0, shape[1], 4), random.uniform(0, HEIGHT, 4), random.uniform(0.4, 1.8, 4), strict=True
        ):
            _speck(ink, x, y, radius)
    if wear:
        grain = random.random(shape, np.float32)
        ink = ink * (1 - wear * grain)
    if random.random() < 0.15 and use.pen:  # pressure that changes along the row
        ink = ink * between(random.uniform(0.45, 1, 2), shape[1])
    dark = pressure * ink
    if lines is not None:
        dark = np.maximum(dark, lines * max(pressure, 0.25))
    if random.random() < 0.65 and use.cleaned:
        return _cleaned(dark, ink > 0.4, lines, height, use, random)
    paper = _paper(shape, min(pressure + 0.2, 1), random) if use.paper else np.full(shape, 255, np.float32)
    grey = paper * (1 - np.minimum(dark, 1))
    if use.blur and random.random() < 0.4:
        grey = _blurred(grey, height, random)
    if use.paper:
        noise = random.choice([0.0, 1.5, 4.0, 9.0])
        if noise:
            grey += (noise * min(pressure + 0.15, 1)) * random.standard_normal(shape, np.float32)
        if random.random() < 0.1:
            specks = random.random(shape, np.float32) < random.choice([0.002, 0.008])
            grey[specks] = random.uniform(0, 255)
    inverted = random.random() < 0.2 and use.polarity
    pixels = np.clip(255 - grey if inverted else grey, 0, 255).astype(np.uint8)
    if use.jpeg and random.random() < 0.25:
        pixels = _compressed(pixels, int(random.integers(25, 85)))
    return pixels


def _cleaned(
    dark: Floats, ink: Mask, lines: Floats | None, height: float, use: Ingredients, random: np.random.Generator
) -> Bytes:
    """A row as `recognition.layout` cuts it out of a page: grey near the ink alone, as dark wherever the ink is dark.

    Args:
        dark: [32, W] ink and lines, 0 white to 1 black.
        ink: where the writing is.
        lines: that were taken away, but for remains of them and for what is near the ink.
        height: of the digits, pixels.
        use: ingredients that are wanted.
        random: decides the rest.
    """
    contrast = max(float(dark.max()), 0.2)
    grey = 255 * (1 - np.minimum(dark, 1))
    if random.random() < 0.25 and use.paper:
        grey += _paper(ink.shape, contrast, random) - 200
        grey -= np.median(grey) - 255
    own = ink
    if lines is not None:
        ruled = lines > 0.3
        if random.random() < 0.4:  # strokes along a line went with it
            own = own & ~ruled
        step, share = int(random.integers(2, 9)), random.choice([0.0, 0.0, 0.0, 0.15, 0.4, 1.0])
        rest = np.repeat(random.random(-(-ink.shape[1] // step)) < share, step)[: ink.shape[1]]
        own = own | (ruled & rest)
    if use.blur:
        blurred = random.random() < 0.4
        grey = _blurred(grey, height, random) if blurred else ndimage.gaussian_filter(grey, 0.4, truncate=3)
    if use.paper:
        noise = random.choice([0.0, 0.01, 0.03, 0.06]) * 255 * contrast
        grey = grey + noise * random.standard_normal(ink.shape, np.float32)
    if use.jpeg and random.random() < 0.25:
        grey = _compressed(np.clip(grey, 0, 255).astype(np.uint8), int(random.integers(30, 90))).astype(np.float32)
    near = ndimage.binary_dilation(own, iterations=max(1, round(height * random.uniform(0.05, 0.12))))
    depth = np.maximum(255 - grey, 0) * near
    full = float(np.percentile(depth[own], 70)) if own.any() else 255.0
    return np.rint(255 - WRITING * np.clip(depth / max(full, 8.0), 0, 1)).astype(np.uint8)


def _compressed(pixels: Bytes, quality: int) -> Bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def levelled(grey: Bytes) -> Bytes:
    """A row as it goes into the network: paper near 48, ink up to 255, whatever was the darker one.

    Paper is the median; ink is on the side of it where the larger differences are.

    Args:
        grey: uint8 [H, W].

    Returns:
        uint8 [H, W].
    """
    paper = np.float32(np.median(grey))
    depth = paper - grey
    if (depth**3).sum() < 0:
        depth = -depth
    full = np.partition(depth.ravel(), -1 - depth.size // 200)[-1 - depth.size // 200]
    return np.clip(PAPER + depth * ((255 - PAPER) / max(full, 8.0)), 0, 255).astype(np.uint8)


PAPER = 48  # level of paper in what the network gets; lighter places are below
WRITING = 200.0  # grey levels by which ink is darker than paper in a row that is cut out of a page


def _paper(shape: tuple[int, ...], strength: float, random: np.random.Generator) -> Floats:
    """Grey levels of paper without writing, float32; `strength` of its texture is 0 to 1."""
    height, width = shape
    paper = np.full(shape, random.uniform(120, 255), np.float32)
    kind = random.random()
    if kind < 0.35:  # light from one side
        across = between(random.uniform(-1, 1, 2), width)
        down = between(random.uniform(-1, 1, 2), height)
        paper *= 1 + random.uniform(0.02, 0.2) * (across + 0.5 * down[:, None])
    if 0.25 < kind < 0.55:  # mottled
        coarse = random.standard_normal((-(-height // 8) + 1, -(-width // 8) + 1)).astype(np.float32)
        mottle = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        paper += strength * random.uniform(2, 14) * mottle
    elif kind < 0.65:  # the pattern of a cheque
        y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
        wave = random.uniform(0.2, 1.2) * x + random.uniform(0.2, 1.2) * y + 2 * np.sin(x * random.uniform(0.05, 0.3))
        paper += strength * random.uniform(3, 18) * np.sin(wave)
    if random.random() < 0.06:  # a shadow along the rim
        reach, side = int(random.uniform(1, 6)), int(random.integers(4))
        edge = (paper[:reach], paper[-reach:], paper[:, :reach], paper[:, -reach:])[side]
        edge *= np.float32(random.uniform(0.4, 0.85))
    return paper


def _speck(ink: Floats, x: float, y: float, radius: float) -> None:
    first, top = max(int(x) - 3, 0), max(int(y) - 3, 0)
    part = ink[top : top + 7, first : first + 7]
    down, across = np.ogrid[top : top + part.shape[0], first : first + part.shape[1]]
    np.maximum(part, np.clip(radius + 0.5 - np.hypot(down - y, across - x), 0, 1), out=part)


def _blurred(grey: Floats, digits: float, random: np.random.Generator) -> Floats:
    """A row out of focus, or enlarged from a small picture, as long as digits of this height can be read."""
    if random.random() < 0.5:
        return ndimage.gaussian_filter(grey, random.uniform(0.3, 0.055 * digits), truncate=3)
    height, width = grey.shape
    factor = random.uniform(min(0.45 * 24 / digits, 0.8), 0.9)
    small = Image.fromarray(grey).resize((max(int(width * factor), 4), int(height * factor)), Image.Resampling.BILINEAR)
    how = Image.Resampling.BILINEAR if random.random() < 0.7 else Image.Resampling.NEAREST
    return np.array(small.resize((width, height), how), np.float32)
