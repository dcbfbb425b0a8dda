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
from recognition.cuts import PHOTO_HEIGHT, Chosen, Cuts, cut_digit
from recognition.picture import PictureError
from recognition.reader import DigitReader
from recognition.row_reader import RowDigit, RowReader
from recognition.second_look import by_votes_too, with_vote
from recognition.segmentation import find_ink, one_digit
from recognition.shape import DOUBTED
from tests.conftest import MODEL
from tests.recognition.test_cuts import digit, put


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


def test_a_photo_shows_the_digit_and_what_is_around_it(mnist: Mnist) -> None:
    grey = scan(mnist, 0)
    photo = cut_digit(grey).photo
    assert photo is not None and np.array_equal(photo, grey)
    large = np.random.default_rng(0).uniform(180, 230, (900, 700))
    large[400:500, 300:370] *= 1 - 0.8 * digit(mnist, 0, 100)[:, :70]
    cuts = cut_digit(large.astype(np.uint8))
    assert not cuts.scan and not cuts.even_paper, "it has much paper around"
    part = cuts.photo
    assert part is not None and len(part) < 2 * PHOTO_HEIGHT and part.shape[1] < 2 * PHOTO_HEIGHT
    rows = np.flatnonzero((part < 120).any(axis=1))
    assert np.ptp(rows) > 0.4 * len(part), "a small digit is cut out with its surroundings"
    even = np.full((60, 60), 255, np.uint8)
    even[10:50, 25:31] = 0
    assert cut_digit(even).even_paper and cut_digit(even).photo is not None
    assert cut_digit(even[::3, ::3]).photo is None, "it is tiny"


def voted(one: Chosen, found: list[tuple[int, float, float]]) -> Chosen:
    """The same after digits with their confidences and middles were found in its photo, 20 pixels wide."""
    row = [RowDigit(number, confidence, middle, middle, middle) for number, confidence, middle in found]
    return with_vote(one, np.zeros((30, 20), np.uint8), cast(RowReader, SimpleNamespace(read=lambda photo: row)))


def counted(one: Chosen, unlike: bool, sure: float = 0.91) -> tuple[int, bool, float]:
    """Digit, mark and trust of a picture whose cuts are read as 8."""
    read = np.full((1, 10), (1 - sure) / 9)
    read[0, 8] = sure
    both, marks, trust = by_votes_too(read, np.array([unlike]), [one])
    return int(both.argmax()), bool(marks[0]), float(trust[0])


BLANK = np.zeros((28, 28), np.uint8)
ONE = Chosen(BLANK, BLANK)


def test_a_photo_is_read_if_the_cut_is_in_doubt_or_the_picture_a_scan(mnist: Mnist) -> None:
    cuts = Cuts(BLANK[None], photo=BLANK)
    assert cuts.photo_if(in_doubt=False) is None
    assert cuts.photo_if(in_doubt=True) is BLANK
    assert replace(cuts, trust=DOUBTED).photo_if(in_doubt=False) is BLANK
    assert replace(cuts, several=True).photo_if(in_doubt=True) is None, "it shows one of them only"
    assert replace(cuts, trust=0.0).photo_if(in_doubt=True) is None, "it is a thing"
    assert cut_digit(scan(mnist, 0)).photo_if(in_doubt=False) is not None, "it has few pixels"
    large = scan(mnist, 3, 5)
    assert cut_digit(large).photo_if(in_doubt=False) is not None, "it is cut close"
    drawing = np.pad(255 - mnist.test_images[0], 20, constant_values=255)
    assert cut_digit(drawing).photo_if(in_doubt=False) is None, "its paper is even"


def test_the_digit_in_the_middle_of_the_photo_counts() -> None:
    assert voted(ONE, [(3, 0.99, 9)]) == replace(ONE, vote=(3, 0.99))
    assert voted(ONE, [(7, 0.9, 0), (3, 0.8, 11), (5, 0.9, 19)]).vote == (3, 0.8)
    assert counted(replace(ONE, vote=(3, 0.99)), False) == (3, False, 1.0)
    assert counted(ONE, False) == (8, False, 1.0)


def test_the_digit_that_was_cut_votes_wherever_it_stands(mnist: Mnist, reader: DigitReader) -> None:
    """Of pictures on uneven paper with a digit at the left, and a fainter, smaller one near their middle."""
    right = 0
    for number in range(20, 60):
        random, ink = np.random.default_rng(number), np.zeros((120, 300), np.float32)
        ink = put(put(ink, digit(mnist, number, 60), 30, 20), 0.5 * digit(mnist, number + 20, 36), 44, 130)
        grey = np.linspace(200, 150, 300) * (1 - ink) + 40 * ink + random.normal(0, 6, ink.shape)
        answer = reader.answer(np.clip(grey, 0, 255).astype(np.uint8))
        right += answer.digits[0][0] == str(mnist.test_labels[number])
    assert right >= 38


def test_a_vote_in_doubt_outweighs_a_cut_that_is_spoilt() -> None:
    """The rest of it goes to all other digits alike: not to the one that such a cut shows."""
    assert counted(replace(ONE, vote=(3, 0.4)), True)[0] == 3
    assert counted(replace(ONE, vote=(3, 0.4)), False)[0] == 3
    assert counted(replace(ONE, vote=(3, 0.4)), False, sure=0.999)[0] == 8
    assert counted(replace(ONE, vote=(3, 0.4), even_paper=True), False)[0] == 8


def test_a_thing_stays_one_whatever_its_photo_shows() -> None:
    assert counted(replace(ONE, trust=0.0, vote=(3, 0.99)), True)[2] == 0.0


def test_several_are_marked_by_a_photo() -> None:
    marked = replace(ONE, several=True)
    assert voted(ONE, [(3, 0.99, 5), (4, 0.9, 15)]).several
    assert not voted(ONE, [(3, 0.99, 5), (4, 0.5, 15)]).several
    assert not voted(marked, [(3, 0.99, 5)]).several, "neighbours that reach into the picture"
    assert voted(marked, [(3, 0.1, 5)]).several
    assert voted(marked, []).several


def cut_with_neighbours(mnist: Mnist, number: int) -> tuple[np.ndarray, int]:
    """A digit of a row on patterned paper, cut out so wide that its neighbours reach into the picture."""
    random = np.random.default_rng(number)
    digits = [digit(mnist, 3 * number + place, 26) for place in range(3)]
    digits = [each[:, each.max(axis=0) > 0.3] for each in digits]
    ink = np.concatenate(digits, axis=1)
    first, last = digits[0].shape[1], digits[0].shape[1] + digits[1].shape[1]
    part = ndimage.gaussian_filter(ink, 0.7)[:, max(first - 8, 0) : last + 8]
    down, across = np.indices(part.shape)
    paper = random.uniform(150, 200) - random.uniform(10, 30) * np.maximum(np.cos(1.3 * down + 0.3 * across), 0)
    grey = paper * (1 - part) + random.uniform(30, 80) * part + random.normal(0, 3, part.shape)
    return np.clip(grey, 0, 255).astype(np.uint8), int(mnist.test_labels[3 * number + 1])


def test_neighbours_that_reach_into_a_scan_are_not_read(mnist: Mnist, reader: DigitReader) -> None:
    pictures = [cut_with_neighbours(mnist, number) for number in range(60)]
    answers = reader.answer_all([grey for grey, _ in pictures])
    right = [answer for answer, (_, label) in zip(answers, pictures, strict=True) if answer.digits[0][0] == str(label)]
    assert len(right) >= 53
    assert sum(not (answer.no_digit or answer.several) for answer in right) >= 30


def test_rows_are_not_loaded_for_nothing(mnist: Mnist) -> None:
    reader = DigitReader.load(MODEL)
    reader.answer(np.pad(255 - mnist.test_images[0], 20, constant_values=255))
    assert "rows" not in vars(reader)


def test_a_digit_that_the_photo_does_not_show_alone_is_doubted() -> None:
    assert voted(ONE, []).trust == DOUBTED
    assert voted(ONE, [(3, 0.99, 5), (3, 0.6, 15)]).trust == DOUBTED
    assert voted(ONE, [(3, 0.99, 5), (3, 0.1, 15)]).trust == 1.0, "perhaps a speck"


def test_a_digit_that_only_the_photo_shows_is_doubted() -> None:
    clear = replace(ONE, vote=(3, 0.9))
    assert counted(clear, True) == (3, False, DOUBTED)
    assert counted(replace(clear, vote=(3, 0.8)), True) == (3, True, 1.0), "the photo is not clear"
    assert counted(replace(clear, vote=(8, 0.8)), True) == (8, False, DOUBTED), "the cut shows the same digit"
    assert counted(replace(clear, several=True), True) == (3, True, 1.0)
    assert counted(replace(clear, even_paper=True), True) == (3, True, 1.0), "it may be a letter"
