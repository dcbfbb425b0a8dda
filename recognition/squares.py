"""Squared paper: its lines, which may be as dark as the ink, are taken out before writing is measured.

Such paper has lines at equal distances in both directions, wherever one looks at it. All steps take time linear in the
pixels.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import scipy

from recognition.depth import Grey
from recognition.segmentation import MINIMUM_CONTRAST, Mask

BAND = 8  # pixels of a line that are averaged: a leaning line stays sharp, and grain fades
BESIDE = 4  # pixels from a line's middle to paper
NARROWEST, WIDEST = 8, 200  # pixels between squared paper's lines
ALIKE = 0.15  # of their usual distance by which two lines may be nearer or farther
REGULAR = 0.4  # of the distances between neighbouring lines: if fewer are alike, the paper is not squared
FEWEST = 4  # distances in a band
STEEPEST = 0.1  # pixels by which a line may lean for each along it
SLAB = 96, 6  # pixels and squares: lines are straight so far along them
PRESENT = 0.6  # of a slab: a shorter line is a stroke
AWAY = 2  # pixels from such a line, which may lean otherwise than most
FADED, CORE = 0.15, 0.5  # of a line's depth: it is lighter beside its sides, and darker in its middle
# Times as dark as the line: ink on it. By so many times its depth darker than usual beside it: a stroke along it.
DARKER, WIDER = 1.4, 0.3


def without_squares(depth: Grey) -> tuple[Grey, float]:
    """Depth without the lines of squared paper, and their distance, pixels; itself and 0 if the paper is not squared.

    The paper or the ink on both sides of a line takes its place.
    """
    pitch = _pitch(depth)
    if not pitch:
        return depth, 0.0
    bare = depth.copy()
    for part in (bare, bare.T):
        _clear(part, pitch)
    return bare, pitch


def has_squares(grey: npt.NDArray[np.uint8], part: Mask) -> bool:
    """True if this part of a picture, [H, W], is of squared paper."""
    return _pitch(255 - grey.astype(np.float32), part) > 0


def _ridges(depth: Grey) -> Mask:
    """Middles of upright lines, in bands of `BAND` pixels, [H / BAND, W]."""
    along = depth[: len(depth) // BAND * BAND].reshape(-1, BAND, depth.shape[1]).mean(axis=1)
    ridges = np.zeros(along.shape, bool)
    if min(along.shape) <= 2 * BESIDE:
        return ridges
    middle = along[:, BESIDE:-BESIDE]
    least = np.maximum(along[:, : -2 * BESIDE], along[:, 2 * BESIDE :]) + MINIMUM_CONTRAST / 2
    highest = (middle >= along[:, BESIDE - 1 : -BESIDE - 1]) & (middle > along[:, BESIDE + 1 : -BESIDE + 1])
    ridges[:, BESIDE:-BESIDE] = highest & (middle > least)
    return ridges


def _pitch(depth: Grey, part: Mask | None = None) -> float:
    """Distance of the lines of squared paper in this part of a picture, pixels; 0 if it is no such paper."""
    part = np.ones(depth.shape, bool) if part is None else part
    across = _usual_gap(_ridges(depth) & part[: len(depth) // BAND * BAND : BAND])
    if not across:
        return 0.0
    down = _usual_gap(_ridges(depth.T) & part.T[: depth.shape[1] // BAND * BAND : BAND])
    return min(across, down) if down and abs(np.log(across / down)) < ALIKE else 0.0


def _usual_gap(ridges: Mask) -> float:
    """Usual distance of neighbouring lines, pixels; 0 if it is not regular."""
    places = np.flatnonzero(ridges)
    gaps, rows = np.diff(places), places // ridges.shape[1]
    gaps = gaps[(rows[1:] == rows[:-1]) & (gaps >= NARROWEST) & (gaps <= WIDEST)]
    if len(gaps) < max(1, FEWEST * np.count_nonzero(ridges.any(axis=1))):
        return 0.0
    usual = float(np.convolve(np.bincount(gaps), [1, 1, 1], "same").argmax())
    return usual if (np.abs(gaps - usual) <= max(1, ALIKE * usual)).mean() > REGULAR else 0.0


def _clear(depth: Grey, pitch: float) -> None:
    """Take upright lines out of the depth, in place."""
    ridges = _ridges(depth)
    size = max(SLAB[0], round(SLAB[1] * pitch)) // BAND
    for number in range(max(1, len(ridges) // size)):  # the last slab is longer
        last = number + 1 >= len(ridges) // size
        slab = ridges[number * size :] if last else ridges[number * size : (number + 1) * size]
        lines = _lines(slab, pitch)
        if len(lines):
            part = depth[number * size * BAND : None if last else (number + 1) * size * BAND]
            rows = (np.arange(len(part))[:, None] + 0.5) / BAND - 0.5
            _fill(part, np.rint(lines[:, 0] + rows * lines[:, 1]).astype(int), pitch)


def _lines(ridges: Mask, pitch: float) -> np.ndarray:
    """Lines of a slab, [N, 2]: the column in the first band, and columns to the right for each band."""
    rows, columns = np.nonzero(ridges)
    count, width = max(1, round(STEEPEST * len(ridges) * BAND)), ridges.shape[1]
    best, most, starts = 0.0, -1.0, np.zeros(0)
    for lean in np.linspace(-STEEPEST * BAND, STEEPEST * BAND, 2 * count + 1):
        places = np.rint(columns - lean * rows).astype(int)
        sums = np.convolve(np.bincount(places + width, minlength=3 * width), [1, 2, 1], "same") / 2
        if (sums**2).sum() > most:
            peaks = (sums >= PRESENT * len(ridges)) & (sums == scipy.ndimage.maximum_filter1d(sums, 2 * BESIDE + 1))
            best, most, starts = float(lean), float((sums**2).sum()), np.flatnonzero(peaks) - width
    # Seen at an angle, lines are not quite parallel.
    lines = []
    for start in starts:
        own = np.abs(columns - start - best * rows) <= AWAY
        lines.append(np.polyfit(rows[own], columns[own], 1)[::-1])
    return _with_hidden(np.array(lines).reshape(-1, 2), pitch)


def _with_hidden(lines: np.ndarray, pitch: float) -> np.ndarray:
    """Lines with those between them that writing hides, and one more on each side, of which only an end may show."""
    if not len(lines):
        return lines
    aside = np.array([[pitch, 0.0]])
    every = [lines, lines[:1] - aside, lines[-1:] + aside]
    for one, other in itertools.pairwise(lines):
        count = round((other[0] - one[0]) / pitch)
        share = np.arange(1, count)[:, None] / max(count, 1)
        every.append((1 - share) * one + share * other)
    return np.concatenate(every)


def _fill(depth: Grey, middles: np.ndarray, pitch: float) -> None:
    """Give lines the depth between those on their two sides, in place, but for ink on them: darker, or wider.

    Args:
        depth: [H, W].
        middles: [H, lines] column of each line's middle in each row.
        pitch: distance of the lines.
    """
    rows, width = np.arange(len(depth))[:, None], depth.shape[1]

    def beside(offset: int) -> Grey:
        return np.asarray(depth[rows, np.clip(middles + offset, 0, width - 1)])

    reach = min(BESIDE + 1, round(pitch) // 2)
    profile = np.array([np.median(beside(offset)) for offset in range(-reach, reach + 1)])
    line = profile.max()
    dark, inked = (np.flatnonzero(profile > share * line) for share in (CORE, FADED))
    if not len(inked):
        return
    # A stroke along the line shows on both sides of its darkest part.
    flanks = [beside(edge - reach) - profile[edge] for edge in (max(dark[0] - 1, 0), min(dark[-1] + 1, 2 * reach))]
    wider = np.minimum(*flanks) > WIDER * line
    left, right = int(inked[0]) - reach - 2, int(inked[-1]) - reach + 2
    sides = beside(left), beside(right)
    for offset in range(left + 1, right):
        share = (offset - left) / (right - left)
        columns = middles + offset
        inside = (columns >= 0) & (columns < width) & ~wider
        at = np.broadcast_to(rows, columns.shape)[inside], columns[inside]
        own, between = depth[at], ((1 - share) * sides[0] + share * sides[1])[inside]
        depth[at] = np.where(own > DARKER * line, own, np.minimum(own, between))
