"""The picture of the README: one digit through the released network, drawn from what the layers put out.

python -m docs.tables.picture   # writes docs/pictures/network.png
"""

from __future__ import annotations

import numpy as np
import paddle
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.project import FOLDER
from model.feature_maps import FeatureMaps
from model.image import network_input
from model.saved_model import RELEASED, load_model
from recognition.digit import to_mnist
from recognition.picture import read_picture
from results.figures.style import BLUE, bare, save, tiled

SAMPLE = FOLDER / "docs" / "samples" / "seven_on_squared_paper.png"
PICTURE = FOLDER / "docs" / "pictures" / "network.png"


def network_picture() -> Figure:
    """Draw the sample, the feature maps of both convolution-pooling layers, and the probabilities, left to right."""
    paddle.enable_static()
    model = load_model(FOLDER / "inference_model" / RELEASED)
    image = to_mnist(read_picture(SAMPLE))
    layers = FeatureMaps.of_model(model).of(network_input(image[np.newaxis], model.image))
    scores = layers["output"][0].astype(np.float64) / model.temperature
    probability = np.exp(scores - scores.max())
    figure = Figure(figsize=(10.0, 2.7), layout="constrained")
    axes = figure.subplots(1, 7, width_ratios=(1.0, 0.2, 0.95, 0.2, 2.2, 0.3, 1.0))
    sheets = (
        (image[np.newaxis] / 255, 1, "image\n1 × 28 × 28"),
        (layers["norm"][0], 4, "convolution 5 × 5, ReLU,\nmax-pooling, batch norm\n20 × 12 × 12"),
        (layers["conv2"][0], 10, "convolution 5 × 5, ReLU,\nmax-pooling\n50 × 4 × 4"),
    )
    for place, (maps, columns, words) in zip(axes[::2], sheets, strict=False):
        bare(place)
        place.imshow(tiled(_spread(maps), columns, gap=1), cmap="cividis", interpolation="nearest")
        place.set_title(words, fontsize=9)
    for place in axes[1::2]:
        place.axis("off")
        place.text(0.5, 0.5, "→", fontsize=16, color="0.3", ha="center", va="center")
    _bars(axes[6], probability / probability.sum())
    return figure


def _spread(maps: np.ndarray) -> np.ndarray:
    """Each map [H, W] from its lowest value, 0, to its highest, 1; a constant map is 0."""
    low, high = (edge(maps, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    return np.asarray((maps - low) / np.where(high > low, high - low, 1))


def _bars(axes: Axes, probability: np.ndarray) -> None:
    axes.barh(range(10), probability, color=BLUE)
    axes.set_yticks(range(10), labels=[str(digit) for digit in range(10)], fontsize=8)
    axes.set_xticks([0, 1])
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("fully connected, softmax\nprobability of each digit", fontsize=9)


if __name__ == "__main__":
    save(network_picture(), PICTURE)
