"""The upper side of a page: by its digits, whatever is printed beside them; as it lies, if they do not show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from data.dataset import Mnist
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.novelty import odds
from recognition.reader import DigitReader
from recognition.upright import LOUDEST, SILENT, upright
from tests.conftest import MODEL

PAPER, INK, HIGH = 230, 40, 40


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL)


def page(mnist: Mnist, seed: int, rows: Sequence[int], left: int = 40, words: str = "", wide: int = 640) -> np.ndarray:
    """Test digits, so many in each row, and printed words beside the first."""
    random = np.random.default_rng([31, seed])
    sheet = Image.new("L", (wide, 480), PAPER)
    for row, count in enumerate(rows):
        for place in range(count):
            digit = Image.fromarray(mnist.test_images[random.integers(5000)])
            digit = digit.crop(digit.getbbox())
            size = max(digit.width * HIGH // digit.height, 4), HIGH
            sheet.paste(INK, (round(left + 1.15 * HIGH * place), round(HIGH + 1.8 * HIGH * row)), digit.resize(size))
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSerif.ttf"), 0.7 * HIGH)
    ImageDraw.Draw(sheet).text((HIGH, HIGH), words, INK, font)
    return np.asarray(sheet)


def turns(grey: np.ndarray, reader: DigitReader) -> int:
    """Quarter turns by which a page is made upright."""
    return round(upright(np.ascontiguousarray(grey), reader.likeness).turn.degrees / 90) % 4


def bars(size: tuple[int, int], pieces: Sequence[tuple[int, int]]) -> np.ndarray:
    """Pieces as large as each other on paper, by their left upper corners."""
    grey = np.full(size, 255, np.uint8)
    for left, top in pieces:
        grey[top : top + 40, left : left + 22] = 0
    return grey


def turned_by(grey: np.ndarray, sides: Sequence[float] | np.ndarray) -> float:
    """Degrees by which a page is turned whose pieces are so like digits on each side: [4], or [4, pieces]."""

    def likeness(images: np.ndarray) -> np.ndarray:
        voices = np.reshape(sides, (4, -1))
        return np.broadcast_to(voices, (4, len(images) // 4)).ravel()

    return upright(grey, likeness).turn.degrees


@pytest.mark.parametrize("words", ["Pay to the order of", "Name and address"])
def test_printed_words_beside_few_digits_do_not_turn_a_page(words: str, mnist: Mnist, reader: DigitReader) -> None:
    assert [turns(page(mnist, seed, [4], 480, words), reader) for seed in range(10)] == [0] * 10


@pytest.mark.parametrize("needed", [0, 1, 2, 3])
@pytest.mark.parametrize("rows", [[5, 6, 4], [7]])
def test_digits_show_the_upper_side(rows: list[int], needed: int, mnist: Mnist, reader: DigitReader) -> None:
    pages = [np.rot90(page(mnist, seed, rows), -needed) for seed in range(10)]
    right = sum(turns(grey, reader) == needed for grey in pages)
    assert right >= (8 if needed else 10)


def test_a_column_of_single_digits_stays(mnist: Mnist, reader: DigitReader) -> None:
    assert [turns(page(mnist, seed, [1] * 6, wide=130), reader) for seed in range(10)] == [0] * 10


@pytest.mark.parametrize(("size", "turned"), [((100, 400), False), ((210, 400), False), ((300, 400), True)])
def test_a_picture_of_one_row_lies_not_on_its_side(size: tuple[int, int], turned: bool) -> None:
    row = bars(size, [(100, 30), (150, 30), (200, 30)])
    assert turned_by(row, [0, LOUDEST, 0, 0]) == (90 if turned else 0)


def test_no_piece_turns_a_page_alone() -> None:
    pieces = [(100, 100), (150, 100), (200, 100), (250, 100)]
    for side in (1, 2, 3):
        alone = np.zeros((4, 4))
        alone[side, 0] = 100
        assert turned_by(bars((300, 400), pieces), alone) == 0
        assert turned_by(bars((300, 400), pieces[:1]), alone[:, :1]) == 0


def test_pieces_that_are_no_digits_on_any_side_do_not_count() -> None:
    pieces = bars((300, 400), [(left, top) for top in (50, 150) for left in (50, 100, 150, 200)])
    sides = np.zeros((4, 8))
    sides[2] = LOUDEST
    assert abs(turned_by(pieces, sides)) == 180
    sides[:, 0] = LOUDEST + SILENT  # the only digit, as like one on each side
    assert turned_by(pieces, sides) == 0


def test_pieces_in_line_hinder_a_quarter_turn_and_those_above_each_other_favour_it() -> None:
    sides = [0, LOUDEST, 0, 0]
    assert turned_by(bars((600, 600), [(210, 230), (260, 230)]), sides) == 0
    assert turned_by(bars((600, 600), [(210, 230), (210, 290)]), sides) == 90


def test_turned_pieces_stay_in_the_middle(mnist: Mnist) -> None:
    asked: list[np.ndarray] = []

    def likeness(images: np.ndarray) -> np.ndarray:
        asked.append(images)
        return np.zeros(len(images))

    upright(page(mnist, 0, [5]), likeness)
    sides = asked[0].reshape(4, -1, 28, 28)
    for image in sides.reshape(-1, 28, 28):
        weights = image / image.sum()
        assert abs(weights.sum(axis=1) @ np.arange(28) - 14) < 1 and abs(weights.sum(axis=0) @ np.arange(28) - 14) < 1


def test_a_model_without_shapes_counts_by_its_network_alone(mnist: Mnist, reader: DigitReader) -> None:
    model = replace(load_model(MODEL), novelty=None)
    plain, images = DigitReader(model, Predictor(model)), mnist.test_images[:8]
    assert np.allclose(plain.likeness(images), odds(np.zeros(8), plain.probabilities(images)))
    assert not np.allclose(plain.likeness(images), reader.likeness(images), atol=1)
