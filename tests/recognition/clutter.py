"""More papers without a digit: dirt, office marks, empty fields of forms, what scanners and filters leave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tests.recognition.papers import Grey, Random, Sheet, any_sheet, photographed, spot


def _polar(sheet: Sheet, y: float, x: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance and angle of each pixel from a point."""
    row, column = np.ogrid[: sheet.shape[0], : sheet.shape[1]]
    return np.hypot(row - y, column - x), np.arctan2(row - y, column - x)


def _point(sheet: Sheet, random: Random) -> tuple[float, float]:
    return random.uniform(0, sheet.shape[0]), random.uniform(0, sheet.shape[1])


def _path(shape: tuple[int, ...], points: np.ndarray, wide: float) -> Sheet:
    """A smooth line through points [N, 2] (row, column), 0 to 1."""
    ink = np.zeros(shape, np.float32)
    row, column = np.rint(points).astype(int).T
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    ink[row[inside], column[inside]] = 1
    away = ndimage.distance_transform_edt(ink == 0) if ink.any() else np.full(shape, 1e9)
    return np.clip(wide / 2 + 0.5 - away, 0, 1).astype(np.float32)


def _ring(sheet: Sheet, random: Random) -> Sheet:
    """The rings of a cup or a stamp, whole or in part."""
    for _ in range(int(random.integers(1, 3))):
        away, angle = _polar(sheet, *_point(sheet, random))
        size, wide = random.uniform(0.05, 0.4) * max(sheet.shape), random.uniform(0.8, 6)
        part = 0.5 + 0.5 * np.cos(angle - random.uniform(0, 6)) * random.choice([0, random.uniform(0, 1.5)])
        edge = np.exp(-(((away - size) / wide) ** 2)) * np.clip(part + random.uniform(0, 0.5), 0, 1)
        inside = (away < size) * random.uniform(0, 0.15)
        sheet = sheet - random.uniform(20, 140) * (edge + inside).astype(np.float32)
    return sheet


def _hair(sheet: Sheet, random: Random) -> Sheet:
    """A long hair, bent and perhaps curled."""
    for _ in range(int(random.integers(1, 3))):
        length = int(random.uniform(0.1, 0.9) * max(sheet.shape))
        bend = ndimage.gaussian_filter(random.normal(0, 1, length), length / random.uniform(3, 12)) * 8 / length
        angle = random.uniform(0, 7) + np.cumsum(bend + random.normal(0, 2) / length)
        points = np.cumsum(np.stack([np.sin(angle), np.cos(angle)], 1), 0) + _point(sheet, random)
        sheet = sheet - random.uniform(30, 170) * _path(sheet.shape, points, random.uniform(0.8, 2.5))
    return sheet


def _dots(sheet: Sheet, random: Random) -> Sheet:
    """Printed dots: a line of them, or a grid."""
    pitch, size = random.uniform(5, 40), random.uniform(0.15, 0.4)
    row, column = np.ogrid[: sheet.shape[0], : sheet.shape[1]]
    away = np.hypot((row % pitch) - pitch / 2, (column % pitch) - pitch / 2)
    dots = np.clip(size * pitch + 0.5 - away, 0, 1)
    if random.random() < 0.5:
        first = int(random.uniform(0, 0.9) * len(sheet) / pitch) * pitch
        dots = dots * ((row >= first) & (row < first + pitch))
    return sheet - np.float32(random.uniform(30, 180)) * dots.astype(np.float32)


def _streaks(sheet: Sheet, random: Random) -> Sheet:
    """A scanner's streaks and bands."""
    along = ndimage.gaussian_filter1d(random.normal(0, 1, sheet.shape[1]), random.uniform(0.3, 8))
    sheet = sheet + (along / along.std() * random.uniform(0.5, 6)).astype(np.float32)
    for _ in range(int(random.integers(0, 4))):
        x, wide = int(random.integers(sheet.shape[1])), int(random.integers(1, 4))
        start, end = sorted(random.uniform(-0.3, 1.3, 2))
        rows = slice(max(0, int(start * len(sheet))), max(0, int(end * len(sheet))))
        sheet[rows, x : x + wide] += random.uniform(-150, 60)
    return sheet if random.random() < 0.6 else sheet.T.copy()


def _filtered(sheet: Sheet, random: Random) -> Sheet:
    """Noise after a filter: median, sharpening, a threshold, dithering, few grey levels."""
    noisy = sheet + random.normal(0, random.uniform(3, 30), sheet.shape).astype(np.float32)
    kind = random.integers(5)
    if kind == 0:
        return np.asarray(ndimage.median_filter(noisy, int(random.integers(3, 8))))
    if kind == 1:
        return noisy + random.uniform(1, 6) * (noisy - ndimage.gaussian_filter(noisy, random.uniform(1, 8)))
    smooth = ndimage.gaussian_filter(noisy, random.uniform(0.5, 4))
    if kind == 2:
        return np.where(smooth < ndimage.uniform_filter(smooth, 25) - random.uniform(0.5, 6), 20, 250).astype(
            np.float32
        )
    if kind == 3:
        return np.where(noisy / 255 < random.random(noisy.shape), 0, 255).astype(np.float32)
    step = random.uniform(10, 60)
    return (np.floor(smooth / step) * step).astype(np.float32)


def _dense(sheet: Sheet, random: Random) -> Sheet:
    """Noise of which a quarter and more is ink."""
    rough = ndimage.gaussian_filter(random.normal(0, 1, sheet.shape), random.choice([0, 0, random.uniform(0.4, 6)]))
    dark = rough < np.quantile(rough, random.uniform(0.2, 0.5))
    return np.where(dark, sheet * random.uniform(0, 0.6), sheet).astype(np.float32)


def _stamp(sheet: Sheet, random: Random) -> Sheet:
    """A round or square stamp with lines of small print in it, worn."""
    y, x = _point(sheet, random)
    away, _ = _polar(sheet, y, x)
    row, column = np.ogrid[: sheet.shape[0], : sheet.shape[1]]
    size, wide = random.uniform(0.08, 0.35) * max(sheet.shape), random.uniform(1, 5)
    if random.random() < 0.4:
        away = np.maximum(np.abs(row - y) * random.uniform(1, 2), np.abs(column - x))
    ink = np.abs(away - size) < wide / 2
    lines, words = np.sin((row - y) / size * random.uniform(8, 20)) > 0.5, random.random(sheet.shape) < 0.5
    ink = ink | (lines & words & (away < 0.75 * size)) if random.random() < 0.7 else ink
    worn = ndimage.gaussian_filter(random.normal(0, 1, sheet.shape), 3)
    ink = ink & (worn / worn.std() > random.uniform(-3, 0))
    return sheet - np.float32(random.uniform(30, 170)) * ndimage.gaussian_filter(ink.astype(np.float32), 0.6)


def _field(sheet: Sheet, random: Random) -> Sheet:
    """An empty field of a form: a box, a comb's tooth, or a row of them."""
    height, width = sheet.shape
    high = int(random.uniform(0.05, 0.95) * height)
    wide, thick = max(4, int(high * random.uniform(0.6, 1.3))), int(random.integers(1, 5))
    top, left = int(random.uniform(0, height - high)), int(random.uniform(0, max(width - wide, 1)))
    lines = np.zeros(sheet.shape, np.float32)
    for number in range(int(random.choice([1, 1, 1, 3, 6]))):
        x = left + number * wide
        lines[top + high : top + high + thick, x : x + wide] = 1
        if random.random() < 0.6 or number == 0:
            lines[top : top + thick, x : x + wide] = 1
        teeth = slice(top if random.random() < 0.7 else top + high // 2, top + high)
        lines[teeth, x : x + thick] = lines[teeth, x + wide : x + wide + thick] = 1
    turned = ndimage.rotate(lines, random.normal(0, 1), reshape=False, order=1)
    return sheet - random.uniform(40, 190) * ndimage.gaussian_filter(turned, random.uniform(0.2, 1))


def _corner(sheet: Sheet, random: Random) -> Sheet:
    """A dog-eared corner, or the corner of a sheet on a table."""
    row, column = np.ogrid[: sheet.shape[0], : sheet.shape[1]]
    beyond = row * random.uniform(0.4, 2) + column - random.uniform(0.05, 0.5) * min(sheet.shape)
    if random.random() < 0.5:
        beyond = np.minimum(row + column * random.normal(0, 0.1), column + row * random.normal(0, 0.1))
        beyond = beyond - random.uniform(0.02, 0.4) * min(sheet.shape)
    edge = np.exp(-((beyond / random.uniform(0.7, 4)) ** 2)) * random.uniform(0, 120)
    dark = np.where(beyond < 0, random.uniform(0, 150), 0)
    turns = int(random.integers(4))
    if turns % 2:
        return sheet - np.flip(dark + edge, axis=turns // 2).astype(np.float32)
    return sheet - (dark + edge).astype(np.float32)[:: 1 if turns else -1, :: 1 if turns else -1]


def _crumpled(sheet: Sheet, random: Random) -> Sheet:
    """Paper that was crumpled: facets of different light, with creases between them."""
    count = int(random.integers(4, 25))
    row, column = np.mgrid[: sheet.shape[0], : sheet.shape[1]]
    centres = random.uniform(0, 1, (count, 2)) * sheet.shape
    away = np.stack([np.hypot(row - y, column - x) for y, x in centres])
    first, second = np.partition(away, 1, axis=0)[:2]
    crease = np.exp(-(((second - first) / random.uniform(0.7, 4)) ** 2)) * random.uniform(-60, 100)
    return (sheet * (1 + random.normal(0, 0.06, count)[away.argmin(0)]) - crease).astype(np.float32)


def _clip(sheet: Sheet, random: Random) -> Sheet:
    """A strip of tape, a finger at the rim, or the flash's light."""
    row, column = np.ogrid[: sheet.shape[0], : sheet.shape[1]]
    kind, long = random.integers(3), max(sheet.shape)
    y, x = _point(sheet, random)
    if kind == 0:
        angle = random.uniform(0, 7)
        along, across = (row - y) * np.cos(angle) + (column - x) * np.sin(angle), (column - x) * np.cos(angle)
        across = across - (row - y) * np.sin(angle)
        inside = (np.abs(along) < random.uniform(0.1, 0.4) * long) & (np.abs(across) < random.uniform(0.02, 0.1) * long)
        edge = inside & ~ndimage.binary_erosion(inside, iterations=max(1, long // 300))
        return sheet - random.uniform(5, 40) * inside.astype(np.float32) - random.uniform(0, 90) * edge
    size = random.uniform(0.04, 0.2) * long
    away = np.hypot(row - random.choice([0, len(sheet)]) if kind == 1 else row - y, (column - x) * 1.5) / size
    blob = 1 / (1 + np.exp(np.clip((away - 1) * random.uniform(3, 40), -50, 50)))
    return sheet + random.uniform(*((-150, -50) if kind == 1 else (15, 120))) * blob.astype(np.float32)


def _splash(sheet: Sheet, random: Random) -> Sheet:
    """A blot of ink with drops around it."""
    y, x = _point(sheet, random)
    away, angle = _polar(sheet, y, x)
    size = random.uniform(0.015, 0.15) * max(sheet.shape)
    waves = sum(random.normal(0, 0.12) * np.cos(k * angle + random.uniform(0, 7)) for k in range(2, 8))
    sheet = sheet - random.uniform(60, 200) * np.clip(size * (1 + waves) + 0.5 - away, 0, 1).astype(np.float32)
    for _ in range(int(random.integers(0, 8))):
        sheet = spot(sheet, random, random.uniform(0.05, 0.4) * size + 0.5, random.uniform(60, 180))
    return sheet


def _print(sheet: Sheet, random: Random) -> Sheet:
    """Lines of print too small to read, or one dashed line."""
    height, width = sheet.shape
    high = max(1, int(random.uniform(0.003, 0.015) * max(sheet.shape)))
    ink, first = np.zeros(sheet.shape, np.float32), int(random.uniform(0.05, 0.8) * height)
    for top in range(first, height, 3 * high)[: int(random.integers(1, 6))]:
        x = int(random.uniform(0, 0.3) * width)
        while x < random.uniform(0.6, 1.0) * width:
            long = int(random.integers(1, 9)) * high
            ink[top : top + high, x : x + long] = random.random((len(ink[top : top + high]), len(ink[0, x : x + long])))
            x += long + high
    return sheet - random.uniform(50, 220) * ink


CLUTTER: dict[str, Callable[[Sheet, Random], Sheet]] = {
    "ring": _ring,
    "hair": _hair,
    "dots": _dots,
    "streaks": _streaks,
    "filtered": _filtered,
    "dense noise": _dense,
    "stamp": _stamp,
    "empty field": _field,
    "corner": _corner,
    "crumpled": _crumpled,
    "tape, finger, light": _clip,
    "splash": _splash,
    "print": _print,
}


def cluttered(seed: int) -> tuple[str, Grey]:
    """A paper without a digit, and its kind; a pure function of the seed."""
    random = np.random.default_rng([23, seed])
    kind = list(CLUTTER)[seed % len(CLUTTER)]
    return kind, photographed(CLUTTER[kind](any_sheet(random, 1200), random), random)
