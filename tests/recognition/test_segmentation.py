"""Finding ink: each way in which a photograph hides it, on drawings whose ink is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from data.dataset import Mnist
from recognition.depth import under_closing
from recognition.digit import BOX, MIDDLE, SIDE, centred
from recognition.picture import PictureError
from recognition.segmentation import cut_out, find_ink, one_digit

PAPER, PEN = 225.0, 40.0

NUMBERS = range(12)
ON_PLAIN_PAPER: dict[int, np.ndarray] = {}  # what is read there, by number


def strokes(mnist: Mnist, number: int, factor: int = 8) -> np.ndarray:
    """A test digit drawn with a pen, [H, W], 0 paper to 1 ink."""
    smooth = ndimage.gaussian_filter(ndimage.zoom(mnist.test_images[number] / 255, factor, order=1), factor / 4)
    return np.clip((smooth - 0.35) / 0.3, 0, 1)


def drawn(ink: np.ndarray, paper: np.ndarray | float = PAPER) -> np.ndarray:
    return np.clip(paper * (1 - ink) + PEN * ink, 0, 255).astype(np.uint8)


def read(grey: np.ndarray) -> np.ndarray:
    return centred(cut_out(find_ink(grey, one_digit)))


def correlation(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(image.ravel(), other.ravel())[0, 1])


def likeness(grey: np.ndarray, mnist: Mnist, number: int) -> float:
    """How like what is read is to what is read from the same drawing on plain paper."""
    if number not in ON_PLAIN_PAPER:
        ON_PLAIN_PAPER[number] = read(drawn(np.pad(strokes(mnist, number), 60)))
    return correlation(read(grey), ON_PLAIN_PAPER[number])


@pytest.mark.parametrize(("height", "width"), [(60, 41), (1, 9), (30, 2)])
def test_the_closing_is_scipys(height: int, width: int) -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    for reach in (0, 1, 2, 5, 30, 80):
        depth = ndimage.grey_closing(grey, size=(2 * reach + 1,) * 2) - grey
        assert np.array_equal(under_closing(grey, reach), np.maximum(depth - np.median(depth), 0))


@pytest.mark.parametrize("size", [(1, 640), (640, 1), (2, 500)])
def test_a_picture_of_a_few_rows_is_read_or_refused(size: tuple[int, int]) -> None:
    for grey in (np.zeros(size, np.uint8), np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)):
        try:
            assert read(grey).shape == (SIDE, SIDE)
        except PictureError as error:
            assert "nothing to read" in str(error)


def test_size_and_place_are_those_of_mnist(mnist: Mnist) -> None:
    for number in NUMBERS:
        image = read(drawn(strokes(mnist, number)))
        rows, columns = np.nonzero(image)
        assert image.shape == (SIDE, SIDE) and max(np.ptp(rows), np.ptp(columns)) + 1 in (BOX - 1, BOX)
        assert np.abs(np.array(ndimage.center_of_mass(image)) - MIDDLE).max() <= 0.5
        assert correlation(image, mnist.test_images[number]) > 0.75, number


@pytest.mark.parametrize("slope", [-0.6, 0.8])
def test_a_sharp_shadow_across_the_digit(slope: float, mnist: Mnist) -> None:
    for number in NUMBERS:
        ink = np.pad(strokes(mnist, number), 70)
        row, column = np.mgrid[: len(ink), : ink.shape[1]]
        light = np.where(row - len(ink) / 2 > slope * (column - len(ink) / 2), 1.0, 0.5)
        shaded = (drawn(ink) * ndimage.gaussian_filter(light, 2)).astype(np.uint8)
        assert likeness(shaded, mnist, number) > 0.75, number


@pytest.mark.parametrize("negative", [False, True])
def test_a_fat_digit_that_fills_the_picture(negative: bool, mnist: Mnist) -> None:
    for number in NUMBERS:
        ink = strokes(mnist, number)
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        box = np.pad(ink, 10)[rows[0] : rows[-1] + 20, columns[0] : columns[-1] + 20]
        grain = np.random.default_rng(0).normal(0, 4, box.shape)
        grey = drawn(ndimage.grey_dilation(box, size=(9, 9)), PAPER + grain)
        assert likeness(255 - grey if negative else grey, mnist, number) > 0.7, number


def test_a_broken_stroke_is_one_digit() -> None:
    sheet = np.zeros((300, 300))
    sheet[100:200, 140:150] = 1
    whole = read(drawn(sheet))
    sheet[130:138] = sheet[160:168] = 0
    assert correlation(read(drawn(sheet)), whole) > 0.7


def test_a_small_digit_far_away(mnist: Mnist) -> None:
    for number in NUMBERS:
        sheet = np.zeros((640, 640))
        sheet[400:456, 80:136] = strokes(mnist, number, factor=2)
        lit = (drawn(sheet) * np.linspace(1, 0.7, 640)).astype(np.uint8)
        assert likeness(lit, mnist, number) > 0.6, number


def test_a_frame_is_no_digit(mnist: Mnist) -> None:
    for number in NUMBERS:
        ink = np.pad(strokes(mnist, number), 70)
        ink[40:48, 40:-40] = ink[-48:-40, 40:-40] = ink[40:-40, 40:48] = ink[40:-40, -48:-40] = 1
        assert likeness(drawn(ink), mnist, number) > 0.85, number


def test_a_sheet_on_a_dark_table(mnist: Mnist) -> None:
    for number in NUMBERS:
        grey = drawn(np.pad(strokes(mnist, number), 60))
        grey[:14], grey[:, -20:] = 60, 60
        assert likeness(grey, mnist, number) > 0.85, number


def test_squared_paper_nearly_as_dark_as_the_pen(mnist: Mnist) -> None:
    for number in NUMBERS:
        ink = np.pad(strokes(mnist, number), 70)
        paper = np.full(ink.shape, PAPER)
        for first in (30, 31):
            paper[first::60] = paper[:, first::60] = 112
        assert likeness(drawn(ink, paper), mnist, number) > 0.7, number


def test_tiny_pictures_keep_their_grey(mnist: Mnist) -> None:
    likenesses = []
    for number in NUMBERS:
        original = Image.fromarray(mnist.test_images[number])
        tiny = original.resize((8, 8), Image.Resampling.BOX, original.getbbox())
        square = original.resize((20, 20), Image.Resampling.BOX, original.getbbox())
        likenesses.append(correlation(read(np.asarray(tiny)), centred(np.asarray(square) / 255)))
    assert np.median(likenesses) > 0.8, likenesses


@pytest.mark.parametrize("kind", ["noise", "dots", "grain"])
def test_grain_and_print_are_nothing_to_read(kind: str) -> None:
    random, row = np.random.default_rng(0), np.arange(600)
    grey = {
        "noise": random.integers(0, 256, (600, 600)),
        "dots": 255 * (1 - np.outer(row % 20 < 6, row % 20 < 6)),
        "grain": 200 + ndimage.gaussian_filter(random.normal(0, 30, (300, 300)), 2),
    }[kind]
    with pytest.raises(PictureError, match="nothing to read"):
        read(grey.astype(np.uint8))
