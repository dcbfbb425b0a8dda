"""Pictures that hold no digit are told from digits, by what is learned from digits alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from data.dataset import Mnist
from recognition import directions
from recognition.cuts import Chosen, Cuts
from recognition.digit import centred, to_mnist
from recognition.novelty import NoveltyDetector, NoveltyError, fit
from recognition.reader import DigitReader
from tests.conftest import MODEL

LETTERS = "ΓΔΘΛΞΠΣΦΨΩαγδεθλπφψωAEFHKMNRTWXYaefhkmnrtwxy"  # that have no digit's shape


@cache
def letters() -> np.ndarray:
    """Letters of two fonts that come with Matplotlib, upright and slanted, [N, 28, 28] uint8."""
    made = []
    for name in ("DejaVuSans", "DejaVuSerif"):
        font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf", f"{name}.ttf"), 60)
        for letter in LETTERS:
            for slant in (0, 0.25):
                picture = Image.new("L", (120, 120))
                ImageDraw.Draw(picture).text((30, 20), letter, 255, font)
                picture = picture.transform((120, 120), Image.Transform.AFFINE, (1, slant, -60 * slant, 0, 1, 0))
                made.append(centred(np.asarray(picture.crop(picture.getbbox())) / 255))
    return np.stack(made)


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL)


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


def read(reader: DigitReader, images: np.ndarray, **of_ink: float) -> np.ndarray:
    """Which images are marked as no digit, each a picture's only cut."""
    cuts = [Cuts(image[None], **of_ink) for image in images]  # type: ignore[arg-type]
    return np.array([each.no_digit for each in reader.read([""] * len(cuts), cuts)])


def test_letters_are_no_digits_and_digits_are(reader: DigitReader, mnist: Mnist) -> None:
    assert read(reader, letters()).mean() > 0.6
    assert reader.no_digit(letters()).mean() < 0.4  # by the width of their strokes alone
    assert read(reader, mnist.test_images[:2000]).mean() < 0.02
    assert read(reader, solid_shapes()).mean() > 0.85


def test_doubt_is_not_enough_if_another_cut_is_read_or_the_picture_is_coarse(reader: DigitReader) -> None:
    images = letters()[read(reader, letters()) & ~reader.no_digit(letters())]

    def marks(others: np.ndarray, coarse: bool = False, even_paper: bool = False) -> np.ndarray:
        pairs = zip(images, others, strict=True)
        return reader.of_chosen([Chosen(*pair, coarse=coarse, even_paper=even_paper) for pair in pairs])[1]

    assert marks(images).all()
    assert not marks(images, coarse=True).any()
    assert not marks(images[::-1])[(images != images[::-1]).any(axis=(1, 2))].any()
    assert marks(images[::-1], even_paper=True).all(), "nothing spoilt the plain cuts"


def test_the_trial_shows_another_way_to_describe_outlines(reader: DigitReader, monkeypatch: pytest.MonkeyPatch) -> None:
    before, describe = reader.trial(), directions.describe
    assert reader.trial() == before
    monkeypatch.setattr(directions, "describe", lambda images: describe(images) * np.float32(1 + 1e-6))
    assert reader.trial() != before


def test_shapes_survive_the_file_and_are_checked(detector: NoveltyDetector, mnist: Mnist) -> None:
    assert detector.shapes
    images = mnist.test_images[:50]
    again = NoveltyDetector.from_bytes(detector.to_bytes())
    assert again.unlikeness(images).tolist() == detector.unlikeness(images).tolist()
    older = NoveltyDetector.from_bytes(replace(detector, shapes=None).to_bytes())
    assert older.shapes is None and older.scores(images).tolist() == detector.scores(images).tolist()
    for change in (
        {"axes": detector.shapes.axes[:, 1:]},
        {"extents": detector.shapes.extents + np.float32(np.nan)},
        {"weight": detector.shapes.weight.astype(np.float64)},
    ):
        with pytest.raises(NoveltyError, match="expected a novelty detector"):
            NoveltyDetector.from_bytes(replace(detector, shapes=replace(detector.shapes, **change)).to_bytes())


def test_what_a_model_was_trained_on_is_not_marked(mnist: Mnist) -> None:
    """Letters are classes like any others: no other picture is learnt from."""
    shifted = np.concatenate([np.roll(letters(), (down, right), (1, 2)) for down in range(3) for right in range(3)])
    labels = np.tile(np.arange(len(letters())) // 2 % len(LETTERS), 9).astype(np.uint8)
    of_letters = fit(shifted[::2], labels[::2], shifted[1::2]).unlikeness(shifted[1::2])
    of_digits = fit(mnist.train_images[:3000], mnist.train_labels[:3000], mnist.train_images[-500:])
    assert np.median(of_letters) < np.median(of_digits.unlikeness(shifted[1::2])) - 5
