"""Straight lines of a form beside a digit's strokes: boxes, combs, cell borders, ruled paper.

A line runs from end to end of the ink's box, or along its rim; it is as thick everywhere, so a stroke that crosses it
stays.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import scipy

from recognition.segmentation import Mask

TILT = 2  # pixels by which a line beside a digit may leave its row or column
LONG = 0.95  # of the ink's box: a straight run of this length may be a line
LONG_AT_RIM = 0.25  # of the ink's box, if the run lies along the box's rim, as the teeth of a comb do
RIM = 0.15  # of the ink's box on each side
THICKER = 1.7  # times a line's usual thickness: there a stroke crosses it
THICKEST = 0.2  # of the ink's box: a thicker run is no line
MINIMUM_REST = 0.2  # of the ink: if less is left, the run was the digit itself
LONG_LINE, TALL_LINE = 2.2, 1.8  # heights of a page's writing: straight runs of this length are lines
LONG_LEANING, TALL_LEANING = 2.6, 3.2  # likewise of lines that lean or have gaps
STEEPEST_LINE = 0.1  # pixels by which a line may fall or rise for each to the right
SLENDER, NEAR, COVERED = 18, 0.85, 0.8  # times as long as thick; parts of their ink and length along a straight line
REDUCED = 16  # pixels of the height of writing in a picture in which such lines are sought
WHOLE, LONGER = 0.95, 1.25  # of the page's side; heights of writing: a shorter run that crosses the page is a line, too
SHORT_LINE, LOWEST_STEM = 0.35, 0.75  # heights of writing: sides of boxes and teeth of combs
THICKEST_LINE = 0.16  # of the writing's height
NARROWEST_CELL, DOUBLE = 1.8, 0.25  # heights of writing: nearer faint lines are squared paper's, which part no number

# Chosen on drawn boxes, combs and cells of a table, 60 each, and on Fashion-MNIST's first 300 test images.
# Of the sides of a picture of one field of a form: how far from the rim its lines are, how long they are, and how long
# those at the very rim, as a comb's teeth; how thick. Of its contrast: how dark.
FORM_MARGIN, FORM_LINE, RIM_MARGIN, RIM_LINE, FORM_THICKNESS, FORM_DEPTH = 0.25, 0.9, 0.08, 0.25, 0.13, 0.25
USUAL = 40  # percentile of a line's thickness: at more places a stroke is joined to it
SMALLEST_FORM, LARGEST_FORM = 20, 400  # pixels of its sides
FORM_CONTRAST = 15  # grey levels


def without_lines(own: Mask) -> Mask | None:
    """One digit's ink, [H, W], without straight lines; None if there are none, or if they are nearly all of it."""
    lines = _horizontal(own) | _horizontal(own.T).T
    rest = scipy.ndimage.binary_opening(own & ~lines, iterations=TILT // 2) & ~lines
    if not lines.any() or np.count_nonzero(rest) < MINIMUM_REST * np.count_nonzero(own):
        return None
    labels, count = scipy.ndimage.label(rest, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes > 0.05 * sizes.max())[labels]


def _horizontal(own: Mask) -> Mask:
    """The pixels of horizontal lines, without those where a stroke crosses."""
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    thick = scipy.ndimage.maximum_filter1d(own.astype(np.uint8), 2 * TILT + 1, axis=0)
    rim = np.zeros(own.shape, bool)
    edge = max(1, round(RIM * height))
    rim[rows[0] : rows[0] + edge] = rim[rows[-1] + 1 - edge : rows[-1] + 1] = True
    runs = (_opened(thick, LONG * width) | (_opened(thick, LONG_AT_RIM * width) & rim)) & own
    return _evenly_thin(_labelled(runs), own, max(THICKEST * height, 2))


def _evenly_thin(labels: np.ndarray, own: Mask, thickest: float, slender: bool = False) -> Mask:
    """Labelled runs of ink that are no thicker than this, without the places where a stroke crosses them."""
    lines, beside = np.zeros(own.shape, bool), round(THICKER * thickest) + 2  # rows that show a thicker run
    for number, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if not box:
            continue
        run, top = labels[box] == number, min(beside, box[0].start)
        around = own[box[0].start - top : box[0].stop + beside, box[1]]
        thickness = _thickness(around)[top : top + len(run)]
        usual = np.percentile(thickness[run], 30)
        line = run & (thickness <= THICKER * usual + 1)
        if usual <= thickest and (not slender or _is_slender(line, usual)):
            lines[box] |= line
    return lines


def _labelled(mask: Mask) -> np.ndarray:
    return np.asarray(scipy.ndimage.label(mask, np.ones((3, 3)))[0])


def _opened(mask: np.ndarray, length: float) -> Mask:
    size = max(3, round(length))
    eroded = scipy.ndimage.minimum_filter1d(mask, size, axis=1, mode="constant")
    return scipy.ndimage.maximum_filter1d(eroded, size, axis=1, mode="constant", origin=-1 if size % 2 == 0 else 0) > 0


def _thickness(own: Mask) -> np.ndarray:
    """Number of ink pixels above and below each pixel without a gap, itself counted."""
    return _run_lengths(own) + _run_lengths(own[::-1])[::-1] - 1


def _run_lengths(own: Mask) -> np.ndarray:
    """Number of ink pixels above each pixel without a gap, itself counted."""
    lengths = own.astype(np.int32)
    for row in range(1, len(lengths)):
        lengths[row] = (lengths[row - 1] + 1) * own[row]
    return lengths


def page_lines(ink: Mask, height: float, ridges: Mask | None = None) -> Mask:
    """Ruled lines, frames, boxes and combs of a page, [H, W], without the strokes that cross them.

    Args:
        ink: [H, W] ink of the upright page.
        height: usual height of its writing, pixels.
        ridges: [H, W]; faint lines break into dashes in the ink, and are whole on its ridges. They are not used if
            upright lines are nearer to each other than those of a table.
    """
    across, upright = _long_lines(ink, height)
    lines = across | upright
    # Sides of boxes and teeth of combs are shorter; they end on a line, and at their other end is a line or nothing.
    short = straight(ink.T, SHORT_LINE * height, THICKEST_LINE * height, tilt=0).T & ~lines
    # They are as thick as the line; a stem that stands between two lines is thicker.
    thickness = _thickness(across)[across]
    thickest = min(THICKEST_LINE * height, THICKER * float(np.percentile(thickness, 90))) if len(thickness) else 0.0
    labels, _ = scipy.ndimage.label(short, np.ones((3, 3)))
    for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if columns.stop - columns.start > thickest + 1:
            continue
        top, bottom = _reach(ink[:, (columns.start + columns.stop) // 2], rows)
        wide = slice(max(columns.start - 2, 0), columns.stop + 2)
        on_line = [bool(across[max(edge - 4, 0) : edge + 4, wide].any()) for edge in (top, bottom)]
        ends = [slice(max(top - 4, 0), top), slice(bottom, bottom + 4)]
        free = [on or not ink[end, wide].any() for end, on in zip(ends, on_line, strict=True)]
        if all(on_line) or (any(on_line) and all(free) and bottom - top < LOWEST_STEM * height):
            lines[rows, columns] |= labels[rows, columns] == number
    if ridges is None:
        return lines
    across, upright = _long_lines(ink | ridges, height)
    return lines if _pitch(upright, height) < NARROWEST_CELL * height else lines | across | upright


def _pitch(upright: Mask, height: float) -> float:
    """Lower quartile of the distances of neighbouring upright lines, pixels; infinite for fewer than two.

    Lines of one pixel may be double, so that smaller distances than a share of the writing's height do not count.
    """
    begins = np.flatnonzero(np.diff(upright.astype(np.int8), axis=1, prepend=0).ravel() > 0)
    rows, gaps = begins // upright.shape[1], np.diff(begins)
    gaps = gaps[(rows[1:] == rows[:-1]) & (gaps > DOUBLE * height)]
    return float(np.percentile(gaps, 25)) if len(gaps) else np.inf


def _long_lines(ink: Mask, height: float) -> tuple[Mask, Mask]:
    """Lines across and upright ones, [H, W], that are longer than strokes; see `page_lines`."""
    wide, high = (max(WHOLE * side, LONGER * height) for side in reversed(ink.shape))
    across = straight(ink, min(LONG_LINE * height, wide), THICKEST_LINE * height)
    upright = straight(ink.T, min(TALL_LINE * height, high), THICKEST_LINE * height).T
    across |= _leaning(ink, min(LONG_LEANING * height, wide), height)
    upright |= _leaning(ink.T, min(TALL_LEANING * height, high), height).T
    return across, upright


def _reach(column: Mask, rows: slice) -> tuple[int, int]:
    """First row of the ink that goes on from these rows of a column, and the one behind its last.

    A digit that touches a box's side parts the side in two.
    """
    above, below = np.flatnonzero(~column[: rows.start]), np.flatnonzero(~column[rows.stop :])
    return int(above[-1]) + 1 if len(above) else 0, rows.stop + int(below[0]) if len(below) else len(column)


def straight(ink: Mask, long: float, thick: float, tilt: int = 1) -> Mask:
    """Pixels of a page's horizontal lines of a length, no thicker than `thick` pixels; see `without_lines`."""
    wider = scipy.ndimage.maximum_filter1d(ink.astype(np.uint8), 2 * tilt + 1, axis=0)
    return _evenly_thin(_labelled(_opened(wider, long) & ink), ink, max(thick, 3))


def _leaning(ink: Mask, long: float, height: float) -> Mask:
    """Pixels of lines that fall or rise by as much as `STEEPEST_LINE`, and may have gaps; see `page_lines`.

    They are sought in a picture whose writing is reduced to a height of `REDUCED` pixels.
    """
    factor = max(1, int(height / REDUCED))
    high, wide = (-(-side // factor) for side in ink.shape)
    small = np.zeros((high * factor, wide * factor), np.uint8)
    small[: ink.shape[0], : ink.shape[1]] = ink
    small = small.reshape(high, factor, wide, factor).max(axis=(1, 3))
    small, long = scipy.ndimage.maximum_filter(small, 3), long / factor
    step = 4 / long  # a run may rise by the two pixels by which ink was widened, in either direction
    count = round(STEEPEST_LINE / step)
    runs = np.zeros(small.shape, bool)
    for number in range(-count, count + 1):
        falls = np.rint(step * number * np.arange(wide)).astype(int)
        runs |= _moved(_opened(_moved(small, -falls), long), falls)
    labels = np.repeat(np.repeat(_labelled(runs), factor, axis=0), factor, axis=1)[: ink.shape[0], : ink.shape[1]]
    return _evenly_thin(labels * ink, ink, max(THICKEST_LINE * height, 3), slender=True)


def _is_slender(line: Mask, thickness: float) -> bool:
    """True if ink lies along one straight line, nearly without gaps, and is far longer than thick."""
    rows, columns = np.nonzero(line)
    if not len(rows) or np.ptp(columns) < SLENDER * thickness:
        return False
    away = np.abs(rows - np.polyval(np.polyfit(columns, rows, 1), columns))
    near = away <= thickness / 2 + 1
    return bool(near.mean() > NEAR and len(np.unique(columns[near])) > COVERED * np.ptp(columns))


def _moved(mask: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Columns of a mask, moved down by these numbers of pixels; what leaves the picture comes in at its other side."""
    moved = np.empty_like(mask)
    edges = [0, *(np.flatnonzero(np.diff(falls)) + 1).tolist(), len(falls)]
    for start, end in itertools.pairwise(edges):
        moved[:, start:end] = np.roll(mask[:, start:end], falls[start], axis=0)
    return moved


def without_form(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """A picture of a field of a form, [H, W], without the straight lines along its rim; None if it has none.

    The paper on both sides of a line takes its place, and so does the ink of a stroke that crosses it.
    """
    if min(grey.shape) < SMALLEST_FORM or max(grey.shape) > LARGEST_FORM:
        return None
    low, paper, high = np.percentile(grey, [2, 60, 98])
    depth = (paper - grey if paper - low > high - paper else grey - paper).astype(np.float32)
    contrast = float(np.percentile(depth, 99))
    if contrast < FORM_CONTRAST:
        return None
    depth, before = np.maximum(depth, 0), depth
    for part in (depth, depth.T):
        _fill(part, _rim_lines(part > FORM_DEPTH * contrast))
    if not (depth < np.maximum(before, 0)).any():
        return None
    kept = np.where(before > 0, depth, before)
    return np.clip(np.rint(paper - kept if paper - low > high - paper else paper + kept), 0, 255).astype(np.uint8)


def _rim_lines(dark: Mask) -> Mask:
    """Horizontal lines along the upper and the lower rim."""
    height, width = dark.shape
    wider = scipy.ndimage.maximum_filter1d(dark.astype(np.uint8), 3, axis=0)
    lines = np.zeros(dark.shape, bool)
    for margin, long in ((FORM_MARGIN, FORM_LINE), (RIM_MARGIN, RIM_LINE)):
        deep = max(2, round(margin * height))
        runs = _opened(np.pad(wider, ((0, 0), (1, 1)), mode="edge"), long * width)[:, 1:-1] & dark
        lines[:deep] |= runs[:deep]
        lines[-deep:] |= runs[-deep:]
    thickness = _thickness(dark)
    labels, _ = scipy.ndimage.label(lines, np.ones((3, 3)))
    for number, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        line = labels[box] == number
        if np.percentile(thickness[box][line], USUAL) > max(3, FORM_THICKNESS * height):
            lines[box] &= ~line
    return lines


def _fill(depth: np.ndarray, lines: Mask) -> None:
    """Give what lines cover the depth between that above and that below them, in place; none at the rim."""
    wider = scipy.ndimage.binary_dilation(lines, np.array([[0, 1, 0]] * 3, bool))
    height = len(depth)
    for column in np.flatnonzero(lines.any(axis=0)):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], wider[:, column], [False]])))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            inside = start > 0 and end < height
            above, below = (depth[start - 1, column], depth[end, column]) if inside else (0.0, 0.0)
            depth[start:end, column] = np.linspace(above, below, end - start + 2)[1:-1]
