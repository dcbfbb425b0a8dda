"""A photograph of a sheet on a table -> the sheet alone: what lies around it looks like paper as well.

A table's grain would be ink, and its edge a line. All steps take time linear in the pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image

from recognition.segmentation import Mask
from recognition.squares import has_squares

SMALLEST_PHOTO = 128  # pixels of its shorter side: a smaller picture is cut out of a sheet, and what is bright is light
SIDE = 160  # pixels of the picture's longest side, reduced for the search
STROKES = 7  # pixels of the reduced picture: strokes are narrower
EDGE = 2  # pixels of the reduced picture from the sheet's edge that are no longer looked at
SMALLEST_SHEET, LARGEST_SHEET = 0.15, 0.95  # of the picture
ROUGHER = 3  # times: so much darker than its mean is a grainy table taken to be, if light shines on it
BRIGHTER = 30  # grey levels: the sheet is so much brighter than the table
HIGHER = 0.0, 0.2, 0.4  # of that difference above the middle: levels between sheet and table
ABRUPT, ALONG = 0.5, 0.6  # of that difference, across the edge; at so much of the edge: shadows end gently
LEAST_PAPER = 0.7  # of the sheet, the rest being ink: noise has half
CONVEX = 0.85  # of the convex hull around the sheet: writing and patches of light are less full


def sheet_alone(grey: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], float]:
    """A picture whose surroundings of a bright sheet are as bright as the sheet; itself if it is small or has none.

    Args:
        grey: [H, W] uint8, 0 black to 255 white.

    Returns:
        [H, W] uint8, and the part of the picture that is sheet, 1 without surroundings.
    """
    if min(grey.shape) < SMALLEST_PHOTO:
        return grey, 1.0
    scale = min(1.0, SIDE / max(grey.shape))
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))

    def averaged(levels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BOX))

    exact = grey.astype(np.float32)
    reduced = averaged(exact)
    roughness = np.sqrt(np.maximum(averaged(exact**2) - reduced**2, 0))
    lit = scipy.ndimage.median_filter(roughness, STROKES)  # few of a sheet's parts have strokes
    bare = scipy.ndimage.grey_closing(reduced, (STROKES, STROKES))
    sheet = _sheet(scipy.ndimage.grey_closing(np.maximum(reduced - ROUGHER * lit, 0), (STROKES, STROKES)), reduced)
    if sheet is None:
        return grey, 1.0
    inner = scipy.ndimage.binary_erosion(sheet, iterations=EDGE, border_value=1)
    if not inner.any():
        return grey, 1.0
    nearest = scipy.ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    around = Image.fromarray(bare[tuple(nearest)].astype(np.uint8))
    full = grey.shape[1], grey.shape[0]
    paper = np.asarray(Image.fromarray(inner).resize(full))
    if has_squares(grey, ~paper):  # it is as rough as a table
        return grey, 1.0
    return np.where(paper, grey, np.asarray(around.resize(full, Image.Resampling.BILINEAR))), float(inner.mean())


def _sheet(bare: np.ndarray, reduced: np.ndarray) -> Mask | None:
    """The bright region most like a sheet, without its holes, of a `reduced` picture and without strokes; or None."""
    middle = _threshold(bare)
    darker, brighter = bare[bare <= middle], bare[bare > middle]
    if not len(darker) or not len(brighter):
        return None
    difference = float(np.median(brighter) - np.median(darker))
    if difference < BRIGHTER:
        return None
    steps = scipy.ndimage.maximum_filter(bare, 5) - scipy.ndimage.minimum_filter(bare, 5)
    best, fullest = None, CONVEX
    for higher in HIGHER:  # where a lamp shines on the table it is as bright as a shadow on the sheet
        bright = scipy.ndimage.binary_opening(bare > middle + higher * difference, iterations=EDGE)
        labels, count = scipy.ndimage.label(bright)
        if not count:
            continue
        sheet = scipy.ndimage.binary_fill_holes(labels == 1 + np.bincount(labels.ravel())[1:].argmax())
        if not SMALLEST_SHEET < sheet.mean() < LARGEST_SHEET or (reduced[sheet] > middle).mean() < LEAST_PAPER:
            continue
        # The edge lies between the sheet and the table, not along the picture's sides.
        edge = sheet & ~scipy.ndimage.binary_erosion(sheet, border_value=1)
        full = np.count_nonzero(sheet) / scipy.spatial.ConvexHull(np.argwhere(sheet)).volume
        if full > fullest and edge.any() and (steps[edge] > ABRUPT * difference).mean() > ALONG:
            best, fullest = sheet, full
    return best


def _threshold(grey: np.ndarray) -> float:
    """Grey level between two classes that differ most (Otsu, 1979)."""
    counts = np.bincount(grey.astype(np.uint8).ravel(), minlength=256).astype(float)
    below, level = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (level / below - (level[-1] - level) / above) ** 2
    return float(np.nan_to_num(apart).argmax())
