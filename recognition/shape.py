"""Ink that may be no digit, by its shape and its place: specks, fibres, folds, lines of a form, edges of a sheet."""

from __future__ import annotations

import numpy as np
import scipy

from recognition.depth import block_means
from recognition.ruling import straight
from recognition.segmentation import TINY, Ink, Mask, box_of, length, stroke_width

# Chosen on drawn digits and papers (tests/recognition/papers.py and clutter.py, seeds below 3800 and from 5000).
DOUBTED = 0.88  # trust in ink that may be a digit, or dirt
SMALL, SMALL_BLOB = 0.12, 0.3  # of the picture's longest side: a smaller bar may be a fibre, a smaller blob a speck
BAR, STUMP, SOLID = 0.17, 0.25, 0.65  # width by length of a bar at most; and the share of its rectangle that it fills
BENT = 0.12  # width by length of a bar that is bent, and so fills less
THREAD, THREAD_AT_RIM = 0.04, 0.08  # width by length: a thinner bar is a line; or, near the rim, the sheet's edge
NEAR_RIM = 4.0  # stroke widths from the picture's rim
BLOB, FAT = 4.0, 2.5  # stroke widths: what is solid and no longer is a blob, if it is small; or however large it is
THING, ALONE = 0.3, 0.8  # of the picture's longest side: a larger blob is a thing, if it has so much of the ink
WIDE = 1.35  # width by height: what is wider may be two digits that touch
LONGEST, LONGEST_BAR = 25.0, 17.5  # stroke widths: a thin pen's digits are 20 long, its strokes less
NET = 14.0  # stroke widths from which on ink at three sides of the picture may be a net of creases
AT_RIM = 0.5  # stroke widths from the picture's rim
FREE = 2.0  # stroke widths beside a bar from which on the picture is not cropped to it
SPAN, SLOPE = 0.85, 0.02  # of a side of the picture: a line as long goes through it, if it leaves its row by no more
LINES = 0.75  # of the ink: so much of it in lines through the picture is nothing but lines
STEP = 0.5  # of the ink's contrast: so much do the two sides of a sheet's edge differ
FAINTEST = 32.0  # mean grey levels from the paper: stains and shadows are fainter than most ink
MAIN = 0.75  # of the ink: a piece of so much decides whether it is a bar
BROKEN, BITS = 0.5, 4  # a digit's largest piece has more of its ink than this, or its pieces are fewer
HOLES = 3  # an 8 has 2
REDUCED = 100  # pixels of a side on which holes are counted
ARC, CIRCLE = 0.02, 0.2  # radii by which ink strays from a circle; share of it that it covers: no hand is as exact
THIN = 0.35  # radii: a wider stroke strays too little to show a hand
SAMPLE = 1000  # pixels of ink by which that is judged
# Unevenness of a thin ring at most, and of both sides of a thick one; share of its box that an outline encloses if it
# is a box itself.
ROUND, EXACT, SQUARE = 0.06, 0.05, 0.88


def trust(page: Ink, near: Ink, in_row: bool = False) -> float:
    """Share of trust that ink deserves as a digit: 1 mostly, `DOUBTED`, or 0 for what is no digit.

    Args:
        page: in the whole picture.
        near: the same ink as seen from near.
        in_row: it was cut out of a row, so that wide ink is no two digits that touch.
    """
    part = near.own[box_of(near.own)]
    main = _main(part)
    thin, long = _sides(main)
    solid = np.count_nonzero(main) / (thin * long) > SOLID
    bar = thin / long if solid else 1.0
    stroke = stroke_width(part)
    by_place = _trust_in_place(page, bar, stroke if page is near else stroke_width(page.own[box_of(page.own)]))
    if by_place < 1:
        return by_place
    rows, columns = box_of(page.own)
    size = max(rows.stop - rows.start, columns.stop - columns.start) / max(page.own.shape)
    ratio = max(part.shape) / stroke
    slender = bar < STUMP or thin / long < BENT
    small = (slender and size < SMALL) or (solid and ratio < (BLOB if size < SMALL_BLOB else FAT))
    odd = (
        small
        or bar < THREAD
        or ratio > (LONGEST_BAR if slender else LONGEST)
        or (part.shape[1] > WIDE * len(part) and not in_row)
    )
    faint = page.enlargement < TINY and page.depth[page.own].mean() < FAINTEST
    return DOUBTED if odd or faint or _is_litter(near) or _is_drawn(part, stroke) else 1.0


def doubted(probabilities: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Probabilities [N, K], nearer to each other for ink that deserves less trust, [N].

    A trust of 0 changes nothing: such ink is marked as no digit.
    """
    share = np.where(trust > 0, trust, 1)[:, None]
    return probabilities * share + (1 - share) / probabilities.shape[1]


def is_bar(own: Mask) -> bool:
    """True if ink [H, W] is as narrow as one straight stroke."""
    thin, long = _sides(_main(own))
    return thin < STUMP * long


def is_edge(grey: np.ndarray, page: Ink) -> bool:
    """True if ink is a bar between light and dark paper, as the shadow along a sheet's upright edge is.

    A bar that lies is doubted for its width.

    Args:
        grey: [H, W] uint8, the picture.
        page: the ink in it.
    """
    own = page.own
    if not is_bar(own):
        return False
    rows = np.flatnonzero(own.any(axis=1))
    first, last = own[rows].argmax(axis=1), own.shape[1] - 1 - own[rows, ::-1].argmax(axis=1)
    away = int(np.median(last - first)) + page.enlargement
    inside = (first >= away) & (last < own.shape[1] - away)
    if 2 * np.count_nonzero(inside) < len(rows):
        return False
    columns = np.stack([first - away, (first + last) // 2, last + away])[:, inside]
    beside, ink, beyond = np.median(grey[rows[inside] // page.enlargement, columns // page.enlargement], axis=1)
    return bool(abs(beside - beyond) > STEP * max(abs(beside - ink), abs(beyond - ink)))


def is_thing(grey: np.ndarray) -> bool:
    """True if a picture [H, W] uint8 shows something large and solid, dark or light: a disc, a shirt, a shoe."""
    factor = -(-max(grey.shape) // REDUCED)
    small = block_means(grey.astype(np.float32), factor)
    middle = np.percentile(small, [2, 98]).mean()
    for mask in (small < middle, small > middle):
        labels, _ = scipy.ndimage.label(mask)
        sizes = np.bincount(labels.ravel())
        sizes[[0, *labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]]] = 0
        if sizes.max() > ALONE * sizes.sum():
            largest = labels == sizes.argmax()
            part = largest[box_of(largest)]
            if max(part.shape) > THING * max(small.shape) and max(part.shape) < BLOB * stroke_width(part):
                return True
    return False


def _trust_in_place(page: Ink, bar: float, stroke: float) -> float:
    """Trust by the ink's place in the picture; `bar` is its width by its length if it is one, else 1."""
    rows, columns = box_of(page.own)
    margins = rows.start, page.own.shape[0] - rows.stop, columns.start, page.own.shape[1] - columns.stop
    at_rim = [margin < AT_RIM * stroke for margin in margins]
    if page.enlargement >= TINY:  # most are cut close to a digit
        return DOUBTED if bar < STUMP and sum(at_rim) > 2 and max(margins) > FREE * stroke else 1.0
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    ends, beside = (at_rim[:2], margins[2:]) if high > wide else (at_rim[2:], margins[:2])
    if (bar < BAR and all(ends) and max(beside) > FREE * stroke) or _only_lines(page.own, stroke):
        return 0.0
    edge = bar < THREAD_AT_RIM and min(margins) < NEAR_RIM * stroke
    if sum(at_rim) > 2 and (max(high, wide) > NET * stroke or max(margins) > stroke):
        return DOUBTED
    cut = (bar < STUMP and any(ends)) or sum(at_rim) > 1 or edge
    opposite = margins[1], margins[0], margins[3], margins[2]
    cut |= any(rim and far > side for rim, far, side in zip(at_rim, opposite, (high, high, wide, wide), strict=True))
    return DOUBTED if cut and max(margins) > FREE * stroke else 1.0


def _main(part: Mask) -> Mask:
    """The largest piece, if it is nearly all of the ink; else the ink."""
    labels, count = scipy.ndimage.label(part, np.ones((3, 3)))
    if count == 1:
        return part
    sizes = np.bincount(labels[part])
    return labels == sizes.argmax() if sizes.max() > MAIN * sizes.sum() else part


def _is_litter(ink: Ink) -> bool:
    """True if ink is many bits."""
    rows, columns = box_of(ink.own)
    labels, count = scipy.ndimage.label(ink.own[rows, columns], np.ones((3, 3)))
    if count < BITS:
        return False
    weights = scipy.ndimage.sum_labels(ink.depth[rows, columns], labels, range(1, count + 1))
    return bool(weights.max() < BROKEN * weights.sum())


def _is_drawn(part: Mask, stroke: float) -> bool:
    """True if ink is a net, an outline, or an arc as if drawn by compasses."""
    return _is_net_or_outline(part, stroke) or _is_arc(part, stroke)


def _is_arc(part: Mask, stroke: float) -> bool:
    """True if ink lies along a circle, as parts of rings and bent hairs do.

    The circle is fitted as by Kåsa (1976), *A circle fitting procedure and its error analysis*.
    """
    points = np.argwhere(part)
    points = points[:: max(len(points) // SAMPLE, 1)].astype(np.float64)
    points -= points.mean(axis=0)
    sides = np.column_stack([points, np.ones(len(points))])
    row, column, constant = np.linalg.lstsq(sides.T @ sides, sides.T @ (points**2).sum(axis=1), rcond=None)[0]
    away = points - (row / 2, column / 2)
    radius, distances = np.sqrt(max(constant + (row**2 + column**2) / 4, 1e-9)), np.hypot(*away.T)
    angles = ((np.arctan2(*away.T) / np.pi + 1) * 18).astype(int)
    # Across a stroke of width w the standard deviation of the distance is w / sqrt(12).
    exact = distances.var() - stroke**2 / 12 <= (ARC * radius) ** 2
    return exact and stroke < THIN * radius and len(np.unique(angles)) > CIRCLE * 36


def _is_net_or_outline(part: Mask, stroke: float) -> bool:
    """True if ink has more holes than digits have, or goes around a circle or a box, as rings and empty fields do."""
    factor = -(-max(part.shape) // REDUCED)
    small = np.pad(block_means(part.astype(np.float32), factor) > 0.3, 1)
    labels, _ = scipy.ndimage.label(~small)
    sizes = np.bincount(labels[labels != labels[0, 0]])[1:]
    if np.count_nonzero(sizes > (stroke / factor) ** 2 / 8) >= HOLES:
        return True
    inside = labels != labels[0, 0]
    if np.count_nonzero(inside) < 1.5 * np.count_nonzero(small):
        holes = inside & ~small
        return bool(holes.any()) and max(_unevenness(inside), _unevenness(holes)) < EXACT
    return _unevenness(inside) < ROUND or bool(inside[1:-1, 1:-1].mean() > SQUARE)


def _unevenness(mask: Mask) -> float:
    """Standard deviation of the radius of a mask's outline by its mean; 0 for a disc."""
    row, column = np.nonzero(mask & ~scipy.ndimage.binary_erosion(mask))
    radius = np.hypot(row - row.mean(), column - column.mean())
    return float(radius.std() / max(radius.mean(), 1e-6))


def _sides(part: Mask) -> tuple[float, float]:
    """The shorter and the longer side of the rectangle that is spread like a mask, pixels."""
    spread = np.cov(np.stack(np.nonzero(part)), bias=True) + np.eye(2) / 12
    thin, long = np.sqrt(12 * np.maximum(np.linalg.eigvalsh(spread), 0))
    return float(thin), float(long)


def _only_lines(own: Mask, stroke: float) -> bool:
    """True if nearly all ink is in lines from one side of the picture to the other, in both directions or parallel."""
    if all(length(side) < SPAN * whole for side, whole in zip(box_of(own), own.shape, strict=True)):
        return False
    lines = []
    for mask in (own, own.T):
        tilt = max(1, round(SLOPE * mask.shape[1]))
        found = straight(mask, SPAN * mask.shape[1], 2 * stroke, tilt)
        lines.append(found if mask is own else found.T)
    both = lines[0] | lines[1]
    if np.count_nonzero(both) < LINES * np.count_nonzero(own):
        return False
    return all(map(np.any, lines)) or any(_apart(each, stroke) for each in (lines[0], lines[1].T))


def _apart(lines: Mask, stroke: float) -> bool:
    """True if horizontal lines are more than one."""
    rows = np.flatnonzero(lines.any(axis=1))
    return len(rows) > 0 and bool(np.ptp(rows) > 4 * stroke + 2 * SLOPE * lines.shape[1])
