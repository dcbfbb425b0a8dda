"""Tables of many small numbers, as a web page or a phone shows them: thin lines that fade and break, little room."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from tests.recognition.pages import Grey
from tests.recognition.papers import digit, lay

FINE = 3  # times as large a table is drawn before it is reduced


def table(seed: int, images: Grey, labels: Grey) -> tuple[Grey, list[str]]:
    """A table of test digits [N, 28, 28] uint8 with labels [N], and its cells; a pure function of its arguments."""
    random = np.random.default_rng([25, seed])
    high = FINE * random.uniform(13, 26)
    wide, pitch = random.uniform(2.8, 4.2) * high, random.uniform(1.45, 2.2) * high
    rows, columns, longest = random.integers(4, 16), random.integers(3, 9), random.integers(2, 4)
    sheet = np.zeros((round((rows + 1) * pitch), round((columns + 0.6) * wide)), np.float32)
    numbers = []
    for row in range(rows):
        for column in range(columns):
            chosen = random.integers(0, len(images), random.integers(1, longest + 1))
            numbers.append("".join(str(labels[number]) for number in chosen))
            patches = [digit(images[number], high * random.uniform(0.85, 1.05), 0.4) for number in chosen]
            gap = random.uniform(0.08, 0.25) * high
            across = sum(patch.shape[1] for patch in patches) + gap * (len(patches) - 1)
            x = (column + 0.3) * wide + random.uniform(0.3, 0.7) * max(wide - across, 0)
            bottom = (row + 0.5 + random.uniform(0.42, 0.52)) * pitch + 0.45 * high
            for patch in patches:
                lay(sheet, patch, bottom - len(patch), x)
                x += patch.shape[1] + gap
    lines = np.zeros_like(sheet)
    thick, faint = random.uniform(0.25, 1.1), random.uniform(0.35, 0.9)
    for number in range(rows + 1):
        _line(lines, (number + 0.5) * pitch, round(0.3 * wide), round((columns + 0.3) * wide), thick, random)
    for number in range(columns + 1):
        _line(lines.T, (number + 0.3) * wide, round(0.5 * pitch), round((rows + 0.5) * pitch), thick, random)
    ink = Image.fromarray(np.maximum(sheet, faint * lines)).rotate(random.uniform(-1, 1), Image.Resampling.BICUBIC)
    small = np.asarray(ink.resize((ink.width // FINE, ink.height // FINE), Image.Resampling.BOX))
    grey = random.uniform(225, 255) * (1 - random.uniform(0.7, 0.95) * small)
    grey += random.normal(0, random.uniform(0.5, 3), grey.shape)
    return np.clip(grey, 0, 255).astype(np.uint8), numbers


def _line(lines: np.ndarray, at: float, start: int, end: int, thick: float, random: np.random.Generator) -> None:
    """Draw a level line, `thick` pixels of the reduced picture, that bends a little and is not as dark everywhere."""
    length = end - start
    bend = at + 0.6 * FINE * ndimage.gaussian_filter1d(random.normal(0, 12, length), 40)
    depth = np.clip(0.8 + 3 * ndimage.gaussian_filter1d(random.normal(0, 1, length), 15), 0.35, 1)
    for row in range(int(bend.min()) - 1, int(bend.max() + FINE * thick) + 2):
        cover = np.clip(np.minimum(row + 1, bend + FINE * thick) - np.maximum(row, bend), 0, 1)
        lines[row, start:end] = np.maximum(lines[row, start:end], cover * depth)
