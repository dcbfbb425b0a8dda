"""Rows of digits: found, cut where they touch, in reading order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from data.dataset import Mnist
from model.image import network_input
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.layout import find_strips
from recognition.novelty import odds
from recognition.picture import PictureError, read_picture
from recognition.row_reader import RowReader
from recognition.rows import FoundDigit, joined, read_rows
from recognition.strip import Rows
from recognition.upright import Likeness
from tests.conftest import MODEL, ROOT

LINES = ROOT.parent / "shared" / "pictures" / "lines"

Network = Callable[[np.ndarray], np.ndarray]
ROW_READER: list[RowReader] = []


@pytest.fixture(scope="module")
def network() -> Network:
    saved = load_model(MODEL)
    predictor, spec = Predictor(saved), saved.image

    def probabilities(images: np.ndarray) -> np.ndarray:
        return predictor.probabilities(network_input(images, spec))

    return probabilities


@pytest.fixture(scope="module", autouse=True)
def row_reader() -> RowReader:
    ROW_READER[:] = [RowReader.load(MODEL)]
    return ROW_READER[0]


def find_rows(grey: np.ndarray, likeness: Likeness) -> list[list[FoundDigit]]:
    rows = Rows(grey, (grey.shape[1], grey.shape[0]), find_strips(grey, likeness))
    return read_rows(rows, ROW_READER[0])


def likeness(network: Network) -> Network:
    return lambda images: odds(np.zeros(len(images)), network(images))


def row(mnist: Mnist, numbers: list[int], gap: int, factor: int = 4) -> np.ndarray:
    """Test digits side by side, `gap` pixels apart, or overlapping if it is negative: [H, W], 0 paper to 1 ink."""
    digits = []
    for number in numbers:
        smooth = ndimage.gaussian_filter(ndimage.zoom(mnist.test_images[number] / 255, factor, order=1), factor / 4)
        columns = np.flatnonzero((smooth > 0.5).any(axis=0))
        digits.append(np.clip((smooth[:, columns[0] : columns[-1] + 1] - 0.35) / 0.3, 0, 1))
    sheet = np.zeros((28 * factor, sum(digit.shape[1] + max(gap, 0) for digit in digits)))
    left = 0
    for digit in digits:
        part = sheet[:, left : left + digit.shape[1]]
        np.maximum(part, digit, out=part)
        left += digit.shape[1] + gap
    return np.pad(sheet, 40)


def find_digits(grey: np.ndarray, likeness: Likeness) -> list[FoundDigit]:
    return [digit for row in find_rows(grey, likeness) for digit in row]


def picture(ink: np.ndarray) -> np.ndarray:
    return (225 - 180 * ink).astype(np.uint8)


def text(found: list[FoundDigit], network: Network) -> str:
    alone = network(np.stack([one.image for one in found]))
    return "".join(
        str(digit) for digit in joined([one.vote for one in found], alone, np.zeros(len(found), bool)).argmax(axis=1)
    )


def written(mnist: Mnist, numbers: list[int]) -> str:
    return "".join(str(mnist.test_labels[number]) for number in numbers)


def test_a_row_is_read_from_the_left(mnist: Mnist, network: Network) -> None:
    for start in (0, 10, 20):
        numbers = list(range(start, start + 5))
        found = find_digits(picture(row(mnist, numbers, gap=25)), likeness(network))
        assert text(found, network) == written(mnist, numbers)
        lefts = [one.box[0] for one in found]
        assert lefts == sorted(lefts)


def test_boxes_hold_their_digits(mnist: Mnist, network: Network) -> None:
    ink = row(mnist, [0, 1, 2], gap=30)
    covered = np.zeros(ink.shape, bool)
    for one in find_digits(picture(ink), likeness(network)):
        left, top, right, bottom = one.box
        covered[top:bottom, left:right] = True
    assert ink[covered].sum() > 0.99 * ink.sum()
    assert covered.mean() < 0.4


def test_rows_are_read_from_the_top(mnist: Mnist, network: Network) -> None:
    numbers = [0, 1, 2, 3]
    page = np.vstack([row(mnist, numbers, gap=25), row(mnist, numbers[::-1], gap=25)])
    first, second = find_rows(picture(page), likeness(network))
    assert (text(first, network), text(second, network)) == (written(mnist, numbers), written(mnist, numbers[::-1]))


def test_touching_digits_are_cut(mnist: Mnist, network: Network) -> None:
    right = 0
    for start in range(0, 60, 3):
        numbers = list(range(start, start + 3))
        found = find_digits(picture(row(mnist, numbers, gap=-3)), likeness(network))
        right += text(found, network) == written(mnist, numbers)
    assert right >= 13


def test_a_wide_digit_is_not_cut_even_if_its_halves_look_like_digits(mnist: Mnist) -> None:
    def sure_of_anything(images: np.ndarray) -> np.ndarray:
        return np.full(len(images), 0.99)

    whole = 0
    for number in np.flatnonzero(mnist.test_labels == 0)[:20]:
        ink = ndimage.zoom(row(mnist, [int(number)] * 2, gap=30), (1, 1.2), order=1)
        whole += len(find_digits(picture(ink), sure_of_anything)) == 2
    assert whole >= 15


def test_pieces_above_each_other_are_one_digit(network: Network, mnist: Mnist) -> None:
    five = np.asarray(Image.fromarray(mnist.test_images[15]).resize((112, 112), Image.Resampling.BICUBIC)) / 255
    one = np.asarray(Image.fromarray(mnist.test_images[2]).resize((112, 112), Image.Resampling.BICUBIC)) / 255
    sheet = np.zeros((200, 300))
    sheet[40:152, 30:142], sheet[40:152, 150:262] = five, one
    sheet[66:72, 30:142] = 0  # between the bar of the 5 and the rest
    found = find_digits(picture(sheet), likeness(network))
    assert text(found, network) == "51" and found[0].box[1] <= 58


def test_nothing_to_read(network: Network) -> None:
    with pytest.raises(PictureError, match="nothing to read"):
        find_digits(np.full((100, 300), 200, np.uint8), likeness(network))


@pytest.mark.skipif(not LINES.is_dir(), reason="needs strangers' handwriting, which this project does not ship")
def test_strangers_rows(network: Network) -> None:
    for path in sorted(LINES.iterdir()):
        assert text(find_digits(read_picture(path), likeness(network)), network) == path.name.split("__")[0]
