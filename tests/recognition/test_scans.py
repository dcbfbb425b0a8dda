"""Digits cut close from scans: strokes at the rim, a pattern on the paper, few pixels."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from data.dataset import Mnist
from recognition.cuts import HIGH, PHOTO_HEIGHT, Chosen, Cuts, cut_digit
from recognition.picture import PictureError
from recognition.reader import DigitReader
from recognition.row_reader import RowDigit, RowReader
from recognition.second_look import by_photos_too
from recognition.segmentation import find_ink, one_digit
from recognition.shape import DOUBTED
from tests.conftest import MODEL
from tests.recognition.test_cuts import digit


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL)


def scan(mnist: Mnist, number: int, enlarged: int = 1) -> np.ndarray:
    """A test digit of 18 to 40 pixels in a picture no larger, on grey paper with fine lines."""
    random = np.random.default_rng(number)
    ink = digit(mnist, number, int(random.integers(16, 34)) * enlarged)
    ink = ndimage.gaussian_filter(ink, random.uniform(0.6, 1.2) * enlarged)
    down, across = np.indices(ink.shape) / enlarged
    slope, pitch = random.uniform(-0.4, 0.4), random.uniform(3, 6)
    wave = np.cos(2 * np.pi * (down + slope * across + np.sin(across / random.uniform(4, 9))) / pitch)
    paper = random.uniform(140, 200) - random.uniform(10, 40) * np.maximum(wave, 0)
    grain = random.normal(0, 3, ink.shape)
    return np.clip(paper * (1 - ink) + random.uniform(30, 90) * ink + grain, 0, 255).astype(np.uint8)


def cuts_of_scans(mnist: Mnist, numbers: range, enlarged: int = 1) -> dict[int, Cuts]:
    found = {}
    for number in numbers:
        try:
            found[number] = cut_digit(scan(mnist, number, enlarged))
        except PictureError:
            continue
    return found


@pytest.mark.parametrize(("enlarged", "least", "most"), [(1, 96, 16), (5, 92, 24)])
def test_digits_cut_close_from_patterned_paper(
    enlarged: int, least: int, most: int, mnist: Mnist, reader: DigitReader
) -> None:
    cuts = cuts_of_scans(mnist, range(100), enlarged)
    answers = dict(zip(cuts, reader.read([""] * len(cuts), list(cuts.values())), strict=True))
    right = [answer for n, answer in answers.items() if answer.digits[0][0] == str(mnist.test_labels[n])]
    assert len(right) >= least
    assert sum(answer.no_digit or answer.several for answer in right) <= most


def test_dark_ink_is_found_dark_though_it_fills_the_picture(mnist: Mnist) -> None:
    scans = [scan(mnist, number) for number in range(100)]
    assert sum(find_ink(grey, one_digit).dark for grey in scans) >= 89
    assert sum(find_ink(255 - grey, one_digit).dark for grey in scans) <= 11


def test_digits_cut_close_from_white_paper_are_no_gaps_in_it(mnist: Mnist) -> None:
    """Of 50 pixels a side: larger than the tiny pictures, all of whose rim counts."""
    close = [image[image.any(axis=1)][:, image.any(axis=0)] for image in mnist.test_images[:100]]
    drawn = [np.asarray(Image.fromarray(255 - each).resize((44, 50))) for each in close]
    assert sum(find_ink(grey, one_digit).dark for grey in drawn) >= 95


def test_only_uneven_paper_is_read_as_a_photo(mnist: Mnist) -> None:
    grey = scan(mnist, 0)
    photo = cut_digit(grey).photo
    assert photo is not None and np.array_equal(photo, grey)
    large = np.random.default_rng(0).uniform(180, 230, (900, 700))
    large[400:500, 300:370] *= 1 - 0.8 * digit(mnist, 0, 100)[:, :70]
    part = cut_digit(large.astype(np.uint8)).photo
    assert part is not None and len(part) < 2 * PHOTO_HEIGHT and part.shape[1] < 2 * PHOTO_HEIGHT
    rows = np.flatnonzero((part < 120).any(axis=1))
    assert np.ptp(rows) > HIGH * len(part), "a small digit is cut out with its surroundings"
    even = np.full((60, 60), 255, np.uint8)
    even[10:50, 25:31] = 0
    assert cut_digit(even).photo is None


def looked_again(one: Chosen, found: list[tuple[int, float]], unlike: bool) -> tuple[int, bool, float]:
    """Digit, mark and trust of a picture, whose cuts are read as 8, after `found` was read in its photo."""
    row = [RowDigit(number, confidence, 0, 1, 0.5) for number, confidence in found]
    read = np.full((1, 10), 0.01)
    read[0, 8] = 0.91
    rows = cast(RowReader, SimpleNamespace(read=lambda photo: row))
    both, marks, trust = by_photos_too(read, np.array([unlike]), [one], rows)
    return int(both.argmax()), bool(marks[0]), float(trust[0])


def test_a_photo_is_read_if_the_cut_is_in_doubt(mnist: Mnist) -> None:
    image = np.zeros((28, 28), np.uint8)
    cuts = Cuts(image[None], photo=image)
    assert cuts.chosen(image, False).photo is None
    assert replace(cuts, trust=DOUBTED).chosen(image, False).photo is image
    assert cut_digit(scan(mnist, 0)).chosen(image, False).photo is not None, "it has few pixels"
    one = cuts.chosen(image, True)
    assert looked_again(one, [(3, 0.99)], False) == (3, False, 1.0)
    assert looked_again(replace(one, photo=None), [(3, 0.99)], False) == (8, False, 1.0)
    assert looked_again(replace(one, trust=0.0), [(3, 0.99)], False) == (8, False, 0.0), "it is a thing"


def test_rows_are_not_loaded_for_nothing() -> None:
    reader, image = DigitReader.load(MODEL), np.zeros((28, 28), np.uint8)
    reader.of_chosen([Chosen(image, image)])
    assert "rows" not in vars(reader)


def test_a_digit_that_the_photo_does_not_show_alone_is_doubted() -> None:
    image = np.zeros((28, 28), np.uint8)
    one = Chosen(image, image, photo=image)
    assert looked_again(one, [], False) == (8, False, DOUBTED)
    assert looked_again(one, [(3, 0.99), (3, 0.9)], False) == (8, False, DOUBTED)
    assert looked_again(one, [(3, 0.99), (3, 0.1)], False) == (8, False, 1.0), "perhaps a speck"


def test_a_digit_that_only_the_photo_shows_is_doubted() -> None:
    image = np.zeros((28, 28), np.uint8)
    one = Chosen(image, image, photo=image)
    assert looked_again(one, [(3, 0.99)], True) == (3, False, DOUBTED)
    assert looked_again(one, [(3, 0.9)], True) == (3, True, 1.0), "the photo is not clear"
