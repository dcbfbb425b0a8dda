"""Figures of a network: its first filters, its layers on one picture, a batch that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from data.dataset import DIGITS
from results.figures.style import WIDTH, bare, new_figure, text, tiled

MOST_NAMES = 62  # of classes beneath their units
STRIP, STRIPS = 100, 5  # units of a fully connected layer in a row, and most rows of them: 500 units


def filters(parameters: Mapping[str, np.ndarray]) -> Figure:
    """The kernels of the first convolution, from a network's parameters by name.

    Raises:
        ValueError: there is no convolution.
    """
    name, weight = next(((name, value) for name, value in parameters.items() if value.ndim > 2), ("", np.empty(0)))
    if not name:
        raise ValueError(f"expected the parameters of a convolution, got {', '.join(parameters)}")
    kernels = weight.reshape(-1, *weight.shape[-2:])
    largest = float(np.abs(kernels).max()) or 1.0
    columns = 10
    rows = -(-len(kernels) // columns)
    figure = new_figure(0.7 + 0.95 * rows)
    axes = figure.subplots()
    bare(axes)
    shown = axes.imshow(tiled(kernels, columns, gap=1), cmap="PuOr", vmin=-largest, vmax=largest)
    figure.colorbar(shown, ax=axes, label="weight", shrink=0.9, pad=0.01)
    axes.set_title(f"{name}: {len(kernels)} filters of {kernels.shape[1]}x{kernels.shape[2]} pixels")
    return figure


def feature_maps(image: np.ndarray, layers: Mapping[str, np.ndarray], names: Sequence[str] = DIGITS) -> Figure:
    """One picture through every layer.

    Args:
        image: [S, S], as the network takes it.
        layers: output of each layer for that picture, in their order: maps [maps, H, W] or units [units].
        names: of the classes; those of the last layer's units.
    """
    sheets = {f"picture: {len(image)}x{len(image)} pixels": (image[np.newaxis], 1)}
    for name, values in layers.items():
        if values.ndim == 3:
            words = f"{name}: {len(values)} maps of {values.shape[1]}x{values.shape[2]}"
            sheets[words + _silent(values)] = values, min(25, len(values))
        else:
            sheets[f"{name}: {len(values)} units"] = values.reshape(-1, 1, 1), min(STRIP, len(values))
    # One pixel or more between maps, none between units; a row of maps at full width is as high as it then is.
    pictures = [
        tiled(values, columns, gap=-(-values.shape[2] // 8) if values.shape[2] > 1 else 0)
        for values, columns in sheets.values()
    ]
    heights = [
        min(1.4, 0.9 * WIDTH * height / width) if height > STRIPS else 0.16 + 0.12 * height
        for height, width in (sheet.shape for sheet in pictures)
    ]
    figure = new_figure(sum(heights) + 0.45 * len(heights))
    rows = np.atleast_1d(figure.subplots(len(heights), 1, height_ratios=heights))
    for axes, words, sheet in zip(rows, sheets, pictures, strict=True):
        bare(axes)
        axes.set_anchor("W")
        axes.imshow(sheet, cmap="cividis", aspect="equal" if len(sheet) > STRIPS else "auto", interpolation="nearest")
        axes.set_title(words + _drawn(sheet.compressed(), sheets[words][0].size), loc="left", fontsize=10)
        if sheet.shape == (1, len(names)) and len(names) <= MOST_NAMES:
            ticks = [text(name) for name in names]
            aslant = 45 if max(map(len, ticks)) > 2 else 0
            axes.set_xticks(range(len(names)), ticks, rotation=aslant, ha="right" if aslant else "center")
            axes.tick_params(length=0, labelsize=10 if len(names) <= 26 else 6)
    rows[-1].set_xlabel("digit" if tuple(names) == DIGITS else "class")
    return figure


def _drawn(finite: np.ndarray, count: int) -> str:
    """Range of a sheet's values that are finite, and how many of the `count` are not: they are left white."""
    drawn = f", {finite.min():.3g} (dark) to {finite.max():.3g} (bright)" if len(finite) else ""
    return drawn + (f", {count - len(finite)} values not finite" if len(finite) < count else "")


def _silent(maps: np.ndarray) -> str:
    """Names the maps [maps, H, W] that are the same everywhere: they hold nothing of this picture."""
    found = [str(number) for number, each in enumerate(maps) if each.min() == each.max()]
    named = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")
    return f" ({len(found)} silent: {named})" if found else ""


def seen(images: np.ndarray, labels: np.ndarray, words: str, names: Sequence[str] = DIGITS) -> Figure:
    """The first pictures of a batch as the network was trained on them.

    Args:
        images: [N, 1, S, S] float32, in the network's pixel range.
        labels: [N].
        words: what was done to them, for the title.
        names: of the classes.
    """
    columns, gap = 16, 3
    count, _, side, _ = images[: 4 * columns].shape
    below = side // 3
    sheet = tiled(images[:count, 0], columns, gap, below)
    figure = new_figure(1.1 + (WIDTH - 1) * sheet.shape[0] / sheet.shape[1])
    axes = figure.subplots()
    bare(axes)
    shown = axes.imshow(sheet, cmap="gray_r")
    figure.colorbar(shown, ax=axes, label="pixel value", shrink=0.8, pad=0.01)
    short = max(map(len, names)) <= 3
    for place, label in enumerate(labels[:count]):
        row, column = divmod(place, columns)
        x, y = column * (side + gap) + side / 2, row * (side + gap + below) + side
        axes.text(x, y, text(names[label][:10]), ha="center", va="top", fontsize=9 if short else 6.5, color="0.3")
    axes.set_title(words, fontsize=11)
    axes.set_xlabel("below each picture: its label")
    return figure
