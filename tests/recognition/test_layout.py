"""Rows of a page: found though it slopes or lies on its side, in cells and columns, freed of lines; box by box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from data.dataset import Mnist
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.layout import find_strips
from recognition.picture import PictureError
from recognition.reader import DigitReader
from recognition.row_reader import RowReader
from recognition.rows import joined, read_rows
from recognition.ruling import page_lines
from recognition.strip import Rows, Turn
from recognition.upright import upright
from tests.conftest import MODEL
from tests.recognition.pages import JUDGING, PageMaker, rows_right
from tests.recognition.tables import table


@pytest.fixture(scope="module")
def readers() -> tuple[DigitReader, RowReader]:
    model = load_model(MODEL)
    return DigitReader(model, Predictor(model)), RowReader.load(MODEL)


@pytest.fixture(scope="module")
def maker(mnist: Mnist) -> PageMaker:
    return PageMaker(mnist.test_images, mnist.test_labels, (900, 1000))


def read(grey: np.ndarray, readers: tuple[DigitReader, RowReader]) -> Sequence[str]:
    reader, row_reader = readers
    strips = find_strips(grey, reader.likeness)
    rows = read_rows(Rows(grey, (grey.shape[1], grey.shape[0]), strips), row_reader)
    return ["".join(answer.digits[0][0] for answer in reader.row("", row)) for row in rows]


def unsure(images: np.ndarray) -> np.ndarray:
    return np.zeros(len(images))


@pytest.mark.parametrize(
    "ingredients", [["slope"], ["turned"], ["dark_rim"], ["table"], ["columns"], ["comb"], ["ruled"]]
)
def test_rows_of_a_page_are_found(
    ingredients: list[str], maker: PageMaker, readers: tuple[DigitReader, RowReader]
) -> None:
    pages = [maker.page(seed, ingredients, rows=3) for seed in (JUDGING - 1, JUDGING - 2)]
    found = [read(page.grey, readers) for page in pages]
    assert [len(each) for each in found] == [len(page.rows) for page in pages]
    right = sum(rows_right(page.rows, each) for page, each in zip(pages, found, strict=True))
    assert right >= 0.6 * sum(len(page.rows) for page in pages)


def test_a_box_is_where_its_ink_is_on_a_page_that_lies_on_its_side(maker: PageMaker) -> None:
    turn = Turn(size=(200, 100), scale=1.0, degrees=90.0, turned=(100, 200))
    # Turned counter-clockwise, the picture's right side is the page's top.
    assert turn.box(0, 0, 10, 20) == (180, 0, 200, 10)
    assert Turn((200, 100), 2.0, 0.0, (100, 50)).box(10, 5, 20, 15) == (20, 10, 40, 30)


@pytest.mark.parametrize("ingredients", [["slope"], ["turned"], ["ruled"]])
def test_the_photo_of_a_strip_shows_its_ink_where_the_strip_has_it(ingredients: list[str], maker: PageMaker) -> None:
    grey = maker.page(JUDGING - 1, ingredients, rows=3).grey
    for strip in find_strips(grey, unsure):
        photo = strip.photo(grey)
        assert photo.shape == strip.grey.shape and photo.dtype == np.uint8
        assert np.corrcoef(photo[strip.ink], strip.grey[strip.ink])[0, 1] > 0.9
        assert photo[strip.ink].mean() < photo[~strip.ink].mean() - 50


def test_lines_of_a_page_are_taken_away_and_stems_stay() -> None:
    ink = np.zeros((200, 400), bool)
    ink[150:153, 20:380] = True  # a comb's line
    ink[132:150, 100:103] = True  # its tooth
    ink[100:151, 200:206] = True  # the stem of a digit that stands on the line
    ink[100:101, 260:380] = True  # another line
    ink[100:151, 300:307] = True  # a stem from the one to the other
    lines = page_lines(ink, 50)
    assert lines[151, 110:190].all() and lines[135:149, 101].all()
    assert not lines[100:149, 200:206].any()
    assert lines[100, 270:290].all() and not lines[102:149, 300:307].any()


def test_sides_of_a_box_are_taken_away_though_a_digit_touches_them() -> None:
    ink = np.zeros((200, 400), bool)
    ink[80:83, 20:380] = ink[150:153, 20:380] = True  # a box's lines
    ink[80:153, 100:103] = ink[80:153, 200:203] = True  # its sides
    ink[110:118, 70:130] = ink[95:150, 240:247] = True  # a stroke across the one; a stem beside the other
    ink[120:127, 200:240] = True  # a stroke up to the other
    lines = page_lines(ink, 55)
    for side in (slice(100, 103), slice(200, 203)):
        assert lines[84:108, side].all() and lines[130:149, side].all()
    assert not lines[111:117, 70:130].any() and not lines[95:145, 240:247].any()


def test_columns_that_stand_near_are_parted_and_wide_numbers_are_not() -> None:
    def page(columns: Sequence[int]) -> np.ndarray:
        grey = np.full((500, 700), 255, np.uint8)
        for top in (50, 200, 350):
            for left in columns:
                grey[top : top + 40, left : left + 20] = 0
        return grey

    def rows(columns: Sequence[int]) -> int:
        return len(find_strips(page(columns), unsure))

    assert rows([100, 130, 200, 230]) == 6  # two columns of two digits each, 1.25 heights between them
    assert rows([100, 150, 200, 260]) == 3  # one of four


def test_a_low_wide_digit_at_the_end_is_of_the_row_and_a_dash_is_not() -> None:
    def width(low: tuple[int, int]) -> int:
        grey = np.full((200, 400), 255, np.uint8)
        for left in (100, 140, 180):
            grey[80:120, left : left + 25] = 0
        grey[120 - low[0] : 120, 220 : 220 + low[1]] = 0
        return find_strips(grey, unsure)[0].ink.shape[1]

    assert width((15, 24)) > width((6, 24)) + 30


def test_a_lone_digit_shows_no_slope() -> None:
    picture = Image.new("L", (64, 65), 220)
    pen = ImageDraw.Draw(picture)
    pen.line((24, 20, 40, 46), fill=60, width=2)  # a slanted 1
    pen.rectangle((0, 0, 63, 64), outline=120)  # the edges of its cell
    assert upright(np.asarray(picture), unsure).turn.degrees == 0


def test_a_narrow_digit_is_measured_not_the_specks_beside_it() -> None:
    picture = Image.new("L", (180, 180), 220)
    pen = ImageDraw.Draw(picture)
    pen.ellipse((60, 20, 95, 80), outline=40, width=5)
    pen.ellipse((62, 75, 93, 150), outline=40, width=5)  # a narrow 8
    for x, y in ((10, 20), (150, 130), (12, 150)):
        pen.ellipse((x, y, x + 7, y + 7), fill=60)
    page = upright(np.asarray(picture), unsure)
    assert page.height * page.turn.scale > 100


def test_a_line_across_a_small_picture_is_taken_away() -> None:
    ink = np.zeros((130, 190), bool)
    ink[:, 50:54] = ink[20:110, 120:130] = True  # a cell's border; a stem
    lines = page_lines(ink, 90)
    assert lines[5:125, 51].all() and not lines[20:110, 120:130].any()


def test_lines_that_lean_or_have_gaps_are_taken_away_and_slanted_stems_stay() -> None:
    picture = Image.new("L", (400, 300), 0)
    pen = ImageDraw.Draw(picture)
    pen.line((0, 60, 400, 84), fill=1, width=3)
    pen.line((50, 0, 64, 300), fill=1, width=4)
    for left in range(0, 400, 24):
        pen.line((left, 240 - left // 20, left + 20, 240 - (left + 20) // 20), fill=1, width=2)
    lines = np.asarray(picture, bool)
    stems = np.zeros(lines.shape, bool)
    for left in (150, 250, 330):
        pen.line((left + 12, 110, left, 190), fill=1, width=7)
        stems[110:191, left - 4 : left + 17] = True
    found = page_lines(np.asarray(picture, bool), 80)
    assert (found & lines).sum() > 0.85 * lines.sum() and not (found & stems).any()


def noughts(tops: Sequence[int], lefts: Sequence[int], level: int = 0) -> Image.Image:
    picture = Image.new("L", (1200, 700), 255)
    pen = ImageDraw.Draw(picture)
    for top in tops:
        for left in lefts:
            pen.ellipse((left, top, left + 30, top + 50), outline=level, width=6)
    return picture


def test_small_digits_at_the_ends_and_between_are_of_the_row() -> None:
    picture = noughts([100], [200, 250, 500, 550])
    pen = ImageDraw.Draw(picture)
    for left in (160, 310, 370, 430, 610):
        pen.ellipse((left, 115, left + 17, 134), outline=0, width=5)
    (strip,) = find_strips(np.asarray(picture), unsure)
    assert strip.box(0, 0, *strip.ink.shape[::-1])[0] < 160 and strip.box(0, 0, *strip.ink.shape[::-1])[2] > 627


def test_boxes_part_no_row_and_cells_of_a_table_do() -> None:
    def found(tops: Sequence[int]) -> int:
        picture = noughts([top + 27 for top in tops], [130, 240, 350, 460])
        pen = ImageDraw.Draw(picture)
        for top in tops:
            for left in (90, 200, 310, 420):
                pen.rectangle((left, top, left + 110, top + 104), outline=0, width=4)
        return len(find_strips(np.asarray(picture), unsure))

    assert found([100]) == 1 and found([100, 204, 308]) == 12


def test_double_lines_are_one_beside_the_next() -> None:
    ridges = np.zeros((200, 400), bool)
    ridges[:, 50::80] = ridges[:, 53::80] = True
    assert page_lines(np.zeros_like(ridges), 20.0, ridges)[:, 50::80].mean() > 0.9


def test_faint_squares_part_no_row() -> None:
    sheet = np.asarray(noughts([60], range(70, 500, 72))).astype(np.float32)[:170]
    sheet[20::40] -= 7
    sheet[:, 20::40] -= 7
    sheet += np.random.default_rng(0).normal(0, 1.5, sheet.shape) - 8
    assert len(find_strips(np.clip(sheet, 0, 255).astype(np.uint8), unsure)) == 1


def test_a_row_whose_digits_stand_far_apart_is_one() -> None:
    assert len(find_strips(np.asarray(noughts([100], [100, 180, 265, 350, 485, 570, 650])), unsure)) == 1
    assert len(find_strips(np.asarray(noughts([100], [100, 140, 180, 220, 360, 400, 440])), unsure)) == 2


def test_a_row_of_digits_at_the_edge_is_one_and_shadows_there_are_not() -> None:
    page = np.asarray(noughts([0, 100], [100, 150, 200]))
    assert len(find_strips(page, unsure)) == 2
    shadows = np.asarray(noughts([100], [100, 150, 200])).copy()
    shadows[:30, 400:450] = shadows[:30, 460:510] = shadows[:60, 700:730] = 0
    assert len(find_strips(shadows, unsure)) == 1


@pytest.mark.parametrize("degrees", [0, 27, -40])
def test_rows_are_found_though_they_are_steep(degrees: int) -> None:
    page = noughts([100, 250, 400], range(200, 900, 70)).rotate(degrees, expand=True, fillcolor=255)
    strips = find_strips(np.asarray(page), lambda images: np.repeat([0.9, 0.1, 0.1, 0.1], len(images) // 4))
    assert [ndimage.label(strip.ink, np.ones((3, 3)))[1] for strip in strips] == [10, 10, 10]


def test_what_shows_through_from_behind_is_no_row() -> None:
    faint, dark = (
        np.asarray(noughts(tops, range(200, 900, 70), level)) for tops, level in (([200], 215), ([100, 350], 0))
    )
    assert len(find_strips(np.minimum(faint, dark), unsure)) == 2 and len(find_strips(faint, unsure)) == 1


@pytest.mark.parametrize("fall", [12, -12])
def test_a_row_that_slopes_by_itself_is_levelled(fall: int) -> None:
    grey = np.full((900, 700), 255, np.uint8)
    for top in (300, 400, 500, 600, 700, 800):  # the page's rows are level
        for left in range(40, 660, 60):
            grey[top : top + 40, left : left + 20] = 0
    tops = [120 + fall * number for number in range(-3, 5)]
    lefts = [60 + 70 * number for number in range(8)]
    for left, top in zip(lefts, tops, strict=True):
        grey[top : top + 40, left : left + 20] = 0
    strip = find_strips(grey, unsure)[0]
    assert strip.turn.degrees == 0 and strip.ink.shape[0] < 80
    for left, top in zip(lefts, tops, strict=True):
        at = left - strip.left
        rows = np.flatnonzero(strip.ink[:, at : at + 20].any(axis=1))
        box = strip.box(at, rows[0], at + 20, rows[-1] + 1)
        assert np.abs(np.subtract(box, (left, top, left + 20, top + 40))).max() <= 5


def test_strokes_that_rise_do_not_turn_a_low_picture() -> None:
    picture = Image.new("L", (220, 60), 230)
    pen = ImageDraw.Draw(picture)
    for top in (6, 24, 42):
        for left in (8, 62, 116, 170):
            pen.line((left, top + 8, left + 36, top), fill=60, width=5)
    grey = np.asarray(picture)
    assert upright(grey, unsure).turn.degrees == 0
    # With room above and below, they may be what is there of a page that slopes.
    assert upright(np.pad(grey, ((60, 60), (0, 0)), mode="edge"), unsure).turn.degrees < -5


@pytest.mark.parametrize("size", [(1, 300), (5, 5), (1000, 20)])
def test_what_has_no_rows_is_refused_in_a_line(size: tuple[int, int]) -> None:
    for grey in (np.full(size, 200, np.uint8), np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)):
        try:
            find_strips(grey, unsure)
        except PictureError as error:
            assert "\n" not in str(error)


def test_networks_that_disagree_are_not_sure() -> None:
    alone = np.eye(10)[[3, 5]] * 0.9 + 0.01
    both = joined([(3, 0.9), (6, 0.9)], alone, np.zeros(2, bool))
    assert both[0].argmax() == 3 and both[0].max() > 0.85 and both[1].max() < 0.75
    assert joined([(6, 0.9)], alone[1:], np.ones(1, bool)).argmax() == 6  # the image is unlike every digit
    assert np.array_equal(joined([(6, 0.9)], alone[1:], np.zeros(1, bool), ("a", "b")), alone[1:])


def test_of_networks_that_are_as_sure_the_one_of_rows_counts_more() -> None:
    alone = np.eye(10)[[5]] * 0.9 + 0.01
    assert joined([(6, 0.91)], alone, np.zeros(1, bool)).argmax() == 6


@pytest.mark.parametrize("seed", [7, 19, 24])
def test_cells_between_faint_lines_that_break_are_rows_of_their_own(seed: int, mnist: Mnist) -> None:
    """Also between lines that are fainter than the grain."""
    grey, cells = table(seed, mnist.test_images, mnist.test_labels)
    assert len(find_strips(grey, unsure)) == pytest.approx(len(cells), abs=3)
