"""Depth of ink: how far each pixel stands out from the paper around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float32]

WINDOWS = (32, 22, 16, 11, 8, 5, 3, 2, 1)  # parts of the longest side in which the paper's brightness is looked for
LONGEST_GUESS = 400  # pixels of the copy on which the window is chosen
INKED = 0.4  # part of the ink's contrast from which on a pixel counts as ink, where the window is chosen
DIMMEST = 2.5  # how many times darker than most of the paper its shaded parts are taken to be at most
# The next four were chosen on 60 test digits, drawn at 28×28 by a pencil of uneven pressure.
FAINT = 128  # grey levels from the paper: in a tiny picture fainter ink is a pencil's, of uneven pressure
PRESSURE = 10  # pixels over which a pencil's pressure is even
LEAST, NOISE = 0.3, 16  # of the darkest ink: the faintest; and grey levels, so that paper's grain stays faint
EVEN = 2 / 3  # exponent by which faint levels are brought nearer to the darkest


def evened(depth: Grey) -> Grey:
    """Depth of faint strokes, as dark where the pencil pressed little as where it pressed much."""
    from scipy import ndimage

    around = ndimage.gaussian_filter(ndimage.maximum_filter(depth, PRESSURE), PRESSURE / 2)
    darkest = np.maximum(around, max(LEAST * depth.max(), NOISE))
    return np.asarray(FAINT * (depth / darkest) ** EVEN, np.float32)


def under_paper(grey: Grey) -> Grey:
    """Darkness of each pixel relative to the paper around it; the paper comes from a closing that no stroke fills.

    A window too small loses fat strokes, one too large takes shadows for ink. Between the two is the smallest that
    shows ink as strong as any, and of which the next larger ones show little more.
    """
    factor = -(-max(grey.shape) // LONGEST_GUESS)  # the window is chosen on a smaller copy
    small = block_means(grey, factor)
    depths = [under_closing(small, max(grey.shape) // (factor * part) // 2) for part in WINDOWS]
    peaks = [float(np.percentile(inner(depth), 99.8)) for depth in depths]
    areas = [np.count_nonzero(depth > INKED * peak) for depth, peak in zip(depths, peaks, strict=True)]
    for k in range(len(WINDOWS) - 2):
        if peaks[k] > 0.6 * max(peaks[:-1]) and max(areas[k + 1 : k + 3]) < 1.2 * areas[k]:
            best = k + 2  # twice the smallest: where strokes cross they are wider
            break
    else:
        best = len(WINDOWS) - 2
    # In the shade ink is darker than paper by the same part, not by as many grey levels.
    depth = depths[best] if factor == 1 else under_closing(grey, max(grey.shape) // WINDOWS[best] // 2)
    paper = grey + depth
    return depth * np.clip(np.median(paper) / np.maximum(paper, 1), 0.5, DIMMEST)


def block_means(grey: Grey, factor: int) -> Grey:
    """A picture reduced by a whole factor; rows and columns beyond the last whole block are left out.

    A side shorter than the factor becomes one pixel.
    """
    if factor == 1:
        return grey
    down, across = (min(factor, side) for side in grey.shape)
    height, width = len(grey) // down, grey.shape[1] // across
    return grey[: height * down, : width * across].reshape(height, down, width, across).mean((1, 3))


def under_closing(grey: Grey, reach: int) -> Grey:
    """Depth under the closing by a square of 2 `reach` + 1 pixels, less its median, at least 0."""
    depth = _extreme(np.minimum, _extreme(np.maximum, grey, reach), reach) - grey
    return np.maximum(depth - np.median(depth), 0)


def _extreme(pick: np.ufunc, values: Grey, reach: int) -> Grey:
    """Minimum or maximum in the square around each pixel, as far as it lies in the picture.

    Spans double from step to step (SciPy's filter, which goes from pixel to pixel, takes three times as long).
    """
    for _ in range(2):
        values = values.T
        end = min(reach, len(values) - 1)
        if end == 0:
            continue
        done, spare, span = values, np.empty_like(values), 1  # `done`: over so many pixels from each one on
        while span <= end:
            step = min(span, end + 1 - span)
            pick(done[:-step], done[step:], out=spare[:-step])
            spare[-step:] = done[-step:]
            done, spare = spare, np.empty_like(values) if done is values else done
            span += step
        pick(done[end:], done[:-end], out=spare[end:])
        pick(done[:end], done[0], out=spare[:end])
        values = spare
    return values


def inner(image: np.ndarray) -> np.ndarray:
    """The picture without its outer twelfth on each side, where shadows, frames and the sheet's edges are."""
    rows, columns = (side // 12 for side in image.shape)
    return image[rows : image.shape[0] - rows, columns : image.shape[1] - columns]
