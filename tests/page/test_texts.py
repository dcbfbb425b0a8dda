"""The texts of the page: both languages say the same."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from page.reader import Answer, Layer, ReadDigit
from page.texts import CHINESE, ENGLISH
from page.views import reading_view
from recognition.digit import to_mnist
from recognition.picture import Limits, read_sized
from results.html import OF_RUNS
from results.significance import Outcome
from results.table import GROUP_COLUMNS, VERDICT_COLUMNS


def test_every_column_and_verdict_has_its_chinese() -> None:
    chinese = CHINESE.comparison
    assert [*OF_RUNS, *VERDICT_COLUMNS, *GROUP_COLUMNS] == [
        header for header in [*OF_RUNS, *VERDICT_COLUMNS, *GROUP_COLUMNS] if chinese.headers.get(header)
    ]
    assert set(chinese.outcomes) == set(Outcome)


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "chinese"),
    [
        (b"", "文件是空的"),
        (b"no picture" * 9, "文件不是图片，或者已损坏"),
        (png(Image.new("L", (50, 50), 255)), "图片里没有可识别的笔迹"),
        (png(Image.new("L", (300, 200), 255)), "图片有 300×200 像素，最多 50000 像素"),
        (b"x" * 2_001, "图片太大，最多 2000 字节"),
    ],
    ids=["empty", "broken", "blank", "pixels", "bytes"],
)
def test_a_picture_that_is_not_read_is_said_in_chinese(data: bytes, chinese: str) -> None:
    with pytest.raises(UserError) as raised:
        to_mnist(read_sized(data, Limits(max_bytes=2_000, max_pixels=50_000))[0])
    assert CHINESE.reason(raised.value) == chinese
    assert ENGLISH.reason(raised.value) == str(raised.value)


def test_an_unknown_error_stays_english() -> None:
    assert CHINESE.reason(UserError("something new")) == "something new"
    assert CHINESE.reason(UserError("runs/a: this model is gone")) == "模型 runs/a 已不存在"


def test_in_a_row_the_models_answers_stand_above_the_feature_maps() -> None:
    answers = [Answer(name, "0123456789", np.eye(10)[7]) for name in ("first", "second")]
    digit = ReadDigit(np.zeros((28, 28), np.uint8), False, answers, [Layer("conv1", np.zeros((2, 4, 4)))])
    view = html.unescape(reading_view([digit, digit], ENGLISH))
    assert view.count(ENGLISH.every_model) == 1 + 2  # of the row, and of each digit
    assert view.index(ENGLISH.every_model) < view.index(ENGLISH.digits_in_row) < view.index(ENGLISH.feature_maps)
    assert re.findall(r"<th scope=\"row\">(\w+)</th><td><b>(\d+)</b>", view)[:2] == [("first", "77"), ("second", "77")]


def test_values_that_are_not_finite_are_black_or_white_and_counted() -> None:
    """The others keep their levels, also where their difference is beyond float32."""
    output = np.array([np.nan, -np.inf, np.inf, -3e38, 0, 3e38], np.float32)
    layers = [Layer("some", output), Layer("none", np.full((1, 2, 2), np.nan)), Layer("all", np.arange(3))]
    digit = ReadDigit(np.zeros((28, 28), np.uint8), False, [Answer("first", "0123456789", np.eye(10)[7])], layers)
    view = html.unescape(reading_view([digit], CHINESE))
    assert re.findall(r"<small>(.*?)</small>", view)[-3:] == [
        "6 个单元，其中 3 个值不是有限数",
        "1 张 2×2 特征图，其中 4 个值不是有限数",
        "3 个单元",
    ]
    drawn = re.findall(r'src="data:image/png;base64,(.*?)"', view)[-3]
    with Image.open(io.BytesIO(base64.b64decode(drawn))) as levels:
        assert np.asarray(levels).tolist() == [[0, 0, 255, 0, 128, 255]]


def test_of_many_classes_the_most_likely_are_shown_by_name() -> None:
    labels = [f"class {number}" for number in range(300)]
    answer = Answer("first", labels, np.linspace(0, 1, 300) / 150)
    view = html.unescape(reading_view([ReadDigit(np.zeros((28, 28), np.uint8), True, [answer], [])], ENGLISH))
    assert re.findall(r'bar(?: likeliest-bar)?"><span>(.*?)</span>', view) == [
        f"class {n}" for n in range(299, 287, -1)
    ]
    assert ENGLISH.no_class in view and ENGLISH.class_probabilities in view
    assert ENGLISH.no_digit not in view and ENGLISH.probabilities not in view
