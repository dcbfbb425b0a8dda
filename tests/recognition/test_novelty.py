"""Pictures that hold no digit are told from digits, by what is learned from digits alone."""

from __future__ import annotations

import numpy as np
import pytest

from data.dataset import Mnist
from recognition.digit import to_mnist
from recognition.novelty import NoveltyDetector, NoveltyError, fit


@pytest.fixture(scope="module")
def detector(mnist: Mnist) -> NoveltyDetector:
    return fit(mnist.train_images[:55_000:9], mnist.train_labels[:55_000:9], mnist.train_images[-2000:])


def solid_shapes() -> np.ndarray:
    """Rectangles, discs, a cross and a ring of many sizes, filled, light on black, as a reader makes them."""
    y, x = np.mgrid[-14:14, -14:14] + 0.5
    shapes = []
    for size in (5, 6, 7, 8, 9, 10):
        shapes += [
            np.maximum(abs(x), abs(y)) < size,
            np.hypot(x, y) < size,
            (abs(x) < size) & (abs(y) < 13),
            (abs(y) < size) & (abs(x) < 13),
            (abs(x) + abs(y) < 1.3 * size),
            (np.hypot(x, y) < 13) & (np.hypot(x, y) > 13 - size),
        ]
    return np.stack([to_mnist(np.where(shape, 220, 0).astype(np.uint8)) for shape in shapes])


def test_digits_are_digits(detector: NoveltyDetector, mnist: Mnist) -> None:
    assert detector.holds_no_digit(mnist.test_images).mean() < 0.02


def test_solid_shapes_and_textures_are_none(detector: NoveltyDetector) -> None:
    assert detector.holds_no_digit(solid_shapes()).mean() > 0.9
    stripes = np.zeros((4, 28, 28), np.uint8)
    for period, picture in enumerate(stripes, start=2):
        picture[4:24, 4:24][np.arange(20) % (2 * period) < period] = 255
    assert detector.holds_no_digit(stripes).all()


def test_a_detector_survives_its_file(detector: NoveltyDetector, mnist: Mnist) -> None:
    again = NoveltyDetector.from_bytes(detector.to_bytes())
    some = np.concatenate([mnist.test_images[:50], solid_shapes()])
    assert again.scores(some).tolist() == detector.scores(some).tolist()
    assert detector.scores(some[:0]).shape == (0,)


@pytest.mark.parametrize("change", ["text", "names", "shape", "type"])
def test_another_file_is_refused(change: str, detector: NoveltyDetector) -> None:
    from safetensors.numpy import save

    arrays = {name: getattr(detector, name) for name in ("means", "precisions", "spreads", "threshold")}
    if change == "names":
        arrays["more"] = arrays["means"]
    elif change == "shape":
        arrays["means"] = arrays["means"][:, 1:].copy()
    elif change == "type":
        arrays["spreads"] = arrays["spreads"].astype(np.float64)
    with pytest.raises(NoveltyError, match="expected a novelty detector"):
        NoveltyDetector.from_bytes(b"no tensors" if change == "text" else save(arrays))


def test_few_images_are_enough_to_go_on(mnist: Mnist) -> None:
    """A digit with a single image, and no validation images: no sharp judgement, but one."""
    chosen = np.append(np.flatnonzero(mnist.train_labels[:200] < 3), np.flatnonzero(mnist.train_labels == 7)[0])
    few = fit(mnist.train_images[chosen], mnist.train_labels[chosen], mnist.train_images[:0])
    assert np.isfinite(few.scores(mnist.test_images[:20])).all() and len(few.means) == 5
