"""One digit among what hides it: form lines, a large page, specks, other digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from data.dataset import Mnist
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.cuts import Cuts, cut_digit
from recognition.output import as_csv, as_json, as_table_row
from recognition.parts import parts_of
from recognition.picture import BlankError
from recognition.reader import Answer, DigitReader
from recognition.ruling import without_lines
from recognition.segmentation import Ink, find_ink, one_digit
from recognition.shape import DOUBTED
from tests.conftest import MODEL

PAPER, PEN = 240.0, 50.0
NUMBERS = range(30, 50)


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    saved = load_model(MODEL)
    return DigitReader(saved, Predictor(saved))


def digit(mnist: Mnist, number: int, height: int) -> np.ndarray:
    """A test digit, tightly cropped, `height` pixels high, 0 paper to 1 ink."""
    smooth = ndimage.gaussian_filter(ndimage.zoom(mnist.test_images[number] / 255, 8, order=1), 2)
    ink = np.clip((smooth - 0.35) / 0.3, 0, 1).astype(np.float32)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = min(max(2, round(ink.shape[1] * height / len(ink))), height), height
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX))


def put(sheet: np.ndarray, part: np.ndarray, top: int, left: int) -> np.ndarray:
    under = sheet[top : top + len(part), left : left + part.shape[1]]
    np.maximum(under, part, out=under)
    return sheet


def picture(ink: np.ndarray) -> np.ndarray:
    return np.rint(PAPER * (1 - ink) + PEN * ink).astype(np.uint8)


def marked(draw: Callable[[int], np.ndarray], mnist: Mnist, reader: DigitReader) -> tuple[int, int]:
    """Numbers of digits read rightly, and of those among them that are marked as no digit or as several."""
    cuts = [cut_digit(draw(number)) for number in NUMBERS]
    answers = reader.read([""] * len(cuts), cuts)
    right = [answer.digits[0][0] == str(mnist.test_labels[n]) for answer, n in zip(answers, NUMBERS, strict=True)]
    marks = [answer.no_digit or answer.several for answer in answers]
    return sum(right), sum(is_right and mark for is_right, mark in zip(right, marks, strict=True))


def test_a_digit_of_six_millimetres_on_a_large_page(mnist: Mnist, reader: DigitReader) -> None:
    def page(number: int) -> np.ndarray:
        return picture(put(np.zeros((640, 452), np.float32), digit(mnist, number, 13), 300 + number, 5 * number))

    right, doubted = marked(page, mnist, reader)
    assert right >= 19 and doubted <= 2


def test_a_cut_that_looks_like_a_digit_does_not_make_a_thing_one(reader: DigitReader, mnist: Mnist) -> None:
    plain = np.zeros((28, 28), np.uint8)
    plain[4:24, 4:24] = 255
    cuts = Cuts(np.stack([plain, mnist.test_images[0]]))
    (answer,) = reader.read([""], [cuts])
    assert answer.no_digit and answer.digits[0][1] < 0.95


def test_a_comb_beside_the_digit(mnist: Mnist, reader: DigitReader) -> None:
    def comb(number: int) -> np.ndarray:
        part = digit(mnist, number, 34)
        sheet = put(np.zeros((46, part.shape[1] + 16), np.float32), part, 11, 8)
        sheet[-2:] = sheet[-20:, :2] = sheet[-20:, -2:] = 0.8
        return picture(sheet)

    right, _ = marked(comb, mnist, reader)  # by the plain cut alone 9
    assert right >= 13


def cell(mnist: Mnist, number: int) -> np.ndarray:
    """A test digit with two borders of its cell."""
    part = digit(mnist, number, 40)
    sheet = put(np.zeros((58, 40), np.float32), part, 10, (40 - part.shape[1]) // 2)
    sheet[-3:] = sheet[:, :4] = 1
    return picture(ndimage.gaussian_filter(0.6 * sheet, 0.6))


def test_the_border_of_a_cell_is_taken_away(mnist: Mnist, reader: DigitReader) -> None:
    right, doubted = marked(lambda number: cell(mnist, number), mnist, reader)
    assert right >= 17 and doubted <= 3


def test_a_border_goes_though_a_zero_leans_on_it(mnist: Mnist, reader: DigitReader) -> None:
    answers = reader.answer_all([cell(mnist, number) for number in (25, 71, 183, 188, 246)])
    assert sum(answer.digits[0][0] == "0" for answer in answers) >= 4  # of which by the median thickness none


def test_a_stroke_along_the_rim_is_no_line_of_a_form(mnist: Mnist, reader: DigitReader) -> None:
    right, doubted = marked(lambda number: picture(digit(mnist, number, 50)), mnist, reader)
    assert right >= 18 and doubted <= 2


def test_lines_are_taken_away_and_strokes_stay(mnist: Mnist) -> None:
    for number in NUMBERS:
        own = put(np.zeros((140, 130), np.float32), digit(mnist, number, 100), 20, 20) > 0.5
        boxed = own.copy()
        boxed[:4] = boxed[-4:] = boxed[:, :4] = boxed[:, -4:] = True
        rest = without_lines(boxed)
        assert rest is not None and np.count_nonzero(rest & ~own) < 30
        assert np.count_nonzero(own & ~rest) < 0.1 * np.count_nonzero(own)
    stroke = np.zeros((100, 60), bool)
    stroke[:, 25:32] = True
    assert without_lines(stroke) is None


@pytest.mark.parametrize("size", [2, 4, 8])
def test_a_speck_is_nothing_to_read(size: int) -> None:
    row, column = np.mgrid[:400, :300]
    with pytest.raises(BlankError, match="nothing to read"):
        cut_digit(picture(np.exp(-(((row - 200) / size) ** 4) - ((column - 90) / size / 1.3) ** 4)))


def test_several_digits_are_marked(mnist: Mnist) -> None:
    for number in NUMBERS:
        first, second = (digit(mnist, each, 60) for each in (number, number + 1))
        gap = 4 + number % 20
        sheet = np.zeros((100, 60 + first.shape[1] + gap + second.shape[1]), np.float32)
        put(put(sheet, first, 20, 30), second, 20, 30 + first.shape[1] + gap)
        assert cut_digit(picture(sheet)).several, number
        assert not cut_digit(picture(np.pad(first, 30))).several, number


def test_other_cuts_are_made_in_doubt_alone(mnist: Mnist, reader: DigitReader, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Cuts] = []
    others = Cuts.others

    def recorded(cuts: Cuts) -> np.ndarray:
        made.append(cuts)
        return others(cuts)

    monkeypatch.setattr(Cuts, "others", recorded)
    sure = cut_digit(picture(np.pad(digit(mnist, 0, 60), 30)))
    doubtful = cut_digit(picture(np.tri(80, 70, dtype=np.float32)[::-1]))
    assert len(sure.images) == 1 and len(sure.others()) and made.pop() is sure
    reader.read(["", ""], [sure, doubtful])
    assert all(each is doubtful for each in made)


def test_faint_pencil_of_uneven_pressure_is_made_even() -> None:
    grey = np.full((28, 28), 255, np.uint8)
    grey[4:24, 8:11], grey[4:24, 18:21] = 160, 225
    ink = find_ink(grey, one_digit)
    faint, dark = (ink.depth[40:70, columns].max() for columns in (slice(72, 84), slice(32, 44)))
    assert faint > 0.7 * dark


def test_a_digit_stretched_to_a_square_is_made_narrower(mnist: Mnist, reader: DigitReader) -> None:
    def stretched(number: int) -> np.ndarray:
        part = Image.fromarray(digit(mnist, number, 64)).resize((16, 16), Image.Resampling.BOX)
        return np.where(np.asarray(part) > 0.45, 0, 255).astype(np.uint8)

    right, _ = marked(stretched, mnist, reader)
    assert right >= 18
    cuts = [cut_digit(stretched(number)) for number in range(150)]
    both = [each for each in cuts if len(each.images) == 2]
    assert len(both) > 100
    for each, chosen in zip(both, reader.choose(both), strict=True):
        assert np.array_equal(chosen.image, each.images[1]), "both widths are read, in doubt too"


def test_a_stretched_digit_may_be_in_several_pieces() -> None:
    grey = np.full((16, 16), 255, np.uint8)
    grey[:3, 4:14] = grey[3:7, 3:6] = 0  # a 5 with a gap
    grey[10:13, 12:16] = grey[13:, 2:13] = grey[11:14, :3] = 0
    images = cut_digit(grey).images
    assert len(images) == 2
    for image in images:
        assert image[:10].any() and image[18:].any()


def test_a_picture_of_repeated_pixels_is_read_at_its_own_size(mnist: Mnist) -> None:
    small = np.asarray(Image.fromarray(mnist.test_images[0]).resize((16, 16)))
    for grey in (mnist.test_images[0], np.where(small > 100, 0, 255).astype(np.uint8)):
        wanted = cut_digit(grey).images
        for high, wide in ((4, 4), (10, 10), (4, 6)):
            assert np.array_equal(cut_digit(np.kron(grey, np.ones((high, wide), np.uint8))).images, wanted) == (
                high == wide
            )


def test_straight_lines_are_no_repeated_pixels() -> None:
    line = np.full((200, 160), 230, np.uint8)
    line[:, 60:70] = 60
    cross = line.copy()
    cross[95:105] = 60
    for grey in (line, cross):
        assert cut_digit(grey).trust == 0


def test_a_ring_that_fills_a_small_drawing_keeps_its_hole(reader: DigitReader) -> None:
    row, column = np.mgrid[:16, :16] - 7.5
    away = np.hypot(row, column)
    ring = np.where((away < 8.6) & (away > 7), 0, 255).astype(np.uint8)
    for grey in (ring, 255 - ring):
        assert cut_digit(grey).images[0][14, 14] == 0
        answer = reader.answer(grey)
        assert answer.digits[0][0] == "0" and not answer.no_digit


def test_the_ground_beside_a_thing_is_no_line_of_a_form(reader: DigitReader) -> None:
    jumper = np.zeros((28, 28), np.uint8)
    jumper[2:26, 9:19] = jumper[3:24, 3:8] = jumper[3:24, 20:25] = 200  # a body and two sleeves
    jumper[2:6, 3:25] = 200
    answer = reader.answer(jumper)
    assert answer.no_digit and not answer.several


@pytest.mark.parametrize("side", [120, 280])
def test_a_thing_is_no_digit_and_not_several(side: int, reader: DigitReader) -> None:
    row, column = np.mgrid[:side, :side] / side - 0.5
    disc = np.where(np.hypot(row, column) < 0.4, 50, 235).astype(np.uint8)
    answer = reader.answer(disc)
    assert answer.no_digit and not answer.several


def test_parts_of_the_ink_that_are_digits(mnist: Mnist, reader: DigitReader) -> None:
    first, second = (digit(mnist, number, 40) for number in (30, 31))
    column = np.zeros((124, 90), np.float32)
    put(put(column, first, 20, 30), second, 66, 30)
    parts, apart = cut_digit(picture(column)).parts()
    assert apart and len(parts) == 2 and reader.answer(picture(column)).several
    for number in NUMBERS:
        assert not cut_digit(picture(np.pad(digit(mnist, number, 60), 30))).parts()[1], number


def parts(*boxes: tuple[int, int, int, int]) -> tuple[list[np.ndarray], bool]:
    """Parts of ink that fills these boxes: left, top, right, bottom."""
    own = np.zeros((40, 60), bool)
    for left, top, right, bottom in boxes:
        own[top:bottom, left:right] = True
    found, apart = parts_of(Ink(np.where(own, np.float32(200), np.float32(0)), own, 0.5, 1))
    return list(found), apart


def test_specks_and_low_pieces_are_no_parts() -> None:
    assert parts((0, 0, 3, 4), (10, 0, 13, 4))[0] == []
    high = (5, 5, 15, 35)
    assert parts(high, (17, 32, 30, 35))[0] == []
    both, apart = parts(high, (17, 10, 27, 35))
    assert len(both) == 2 and apart


def test_one_wide_piece_is_parted_where_it_is_thin() -> None:
    halves, apart = parts((5, 5, 25, 25), (24, 14, 27, 15), (26, 5, 36, 25))
    assert not apart
    assert [np.count_nonzero((half > 100).any(axis=0)) for half in halves] == pytest.approx([20, 10], abs=2)


def test_several_digits_name_the_option() -> None:
    answer = Answer("42.png", [("2", 0.99)], rejected=False, several=True)
    assert '"several": true' in as_json(answer) and "--lines" in as_table_row(answer)
    assert as_csv(answer).endswith(",true")
    assert "--lines" not in as_table_row(Answer("2.png", [("2", 0.99)], rejected=False))


@pytest.mark.parametrize("line", [2, 6])
def test_thick_strokes_in_a_frame_of_thin_lines(line: int, reader: DigitReader) -> None:
    image = Image.new("L", (208, 208), 235)
    pen = ImageDraw.Draw(image)
    pen.line([(90, 65), (80, 110), (130, 110), (115, 110), (120, 70), (112, 145)], fill=30, width=16, joint="curve")
    alone = np.asarray(image)
    pen.rectangle((32, 32, 176, 176), outline=30, width=line)
    answers = [reader.answer(each) for each in (alone, np.asarray(image))]
    assert [(each.digits[0][0], each.no_digit, each.several) for each in answers] == [("4", False, False)] * 2


def test_digits_of_a_thick_pen_in_a_frame(mnist: Mnist, reader: DigitReader) -> None:
    grain = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 3, (182, 182)), 1.5)

    def framed(number: int) -> np.ndarray:
        thick = ndimage.maximum_filter(np.pad(digit(mnist, number, 70), 4), 9)
        sheet = put(np.zeros((182, 182), np.float32), thick, 52, (182 - thick.shape[1]) // 2)
        sheet[28:154, [28, 153]] = sheet[[28, 153], 28:154] = 1
        return (picture(sheet) + grain).astype(np.uint8)

    right, _ = marked(framed, mnist, reader)
    assert right > 17  # 15 if the frame is not sought first


@pytest.mark.parametrize(("width", "height", "high"), [(1040, 240, 150), (510, 160, 105)])
def test_a_digit_in_a_wide_frame(width: int, height: int, high: int, mnist: Mnist, reader: DigitReader) -> None:
    def framed(number: int) -> np.ndarray:
        own = digit(mnist, number, high)
        sheet = np.ones((height, width), np.float32)
        sheet[:10] = sheet[-10:] = sheet[:, :10] = sheet[:, -10:] = sheet[14:-14, 14:-14] = 0
        return picture(put(sheet, own, (height - high) // 2, (width - own.shape[1]) // 2))

    right, marks = marked(framed, mnist, reader)
    assert right > 18 and marks < 4  # 10, if the margin is a part of the longer side


@pytest.mark.parametrize("line", [6, 10])
def test_a_square_nought_that_is_crossed_out_is_no_sure_1(line: int, reader: DigitReader) -> None:
    image = Image.new("L", (200, 240), 235)
    pen = ImageDraw.Draw(image)
    pen.rectangle((50, 40, 150, 200), outline=40, width=line)
    pen.line((60, 180, 140, 60), fill=40, width=line)
    assert reader.answer(np.asarray(image)).digits[0][1] < 0.9


def test_a_line_along_the_rim_of_a_tiny_picture_is_doubted(reader: DigitReader) -> None:
    rim, stroke = np.full((2, 20, 30), 235, np.uint8)
    rim[:, 0] = stroke[2:18, 14:16] = 60
    assert [cut_digit(each).trust for each in (rim, stroke)] == [DOUBTED, 1]
