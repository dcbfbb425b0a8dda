"""DigitReader from code: a file, an array, a list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import recognition
from common.errors import UserError
from data.dataset import Mnist
from data.row_shapes import SHARES, reshape
from recognition import Answer, DigitReader
from recognition.names import find_pictures, listed
from recognition.picture import PictureError
from recognition.segmentation import box_of
from tests.conftest import MODEL, ROOT

SEVEN = ROOT / "docs" / "samples" / "seven_on_squared_paper.png"


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader.load(MODEL, top_k=2)


def test_a_file_its_pixels_and_a_list_have_one_answer(reader: DigitReader) -> None:
    from_file = reader.answer(SEVEN)
    assert isinstance(from_file, Answer) and from_file.digits[0][0] == "7" and len(from_file.digits) == 2
    pixels = np.asarray(Image.open(SEVEN).convert("RGB"))
    grey = np.asarray(Image.open(SEVEN).convert("L"))
    assert [each.digits[0][0] for each in reader.answer_all([SEVEN, pixels, grey])] == ["7", "7", "7"]
    assert reader.answer(str(SEVEN)).digits == from_file.digits


def test_mnists_images_are_read_as_they_are(reader: DigitReader, mnist: Mnist) -> None:
    answers = reader.answer_all(list(mnist.test_images[:50]))
    assert sum(a.digits[0][0] == str(label) for a, label in zip(answers, mnist.test_labels[:50], strict=True)) >= 49


def test_a_stretched_9_of_a_shape_that_mnist_lacks(reader: DigitReader, mnist: Mnist) -> None:
    """`lenet_row` has learnt it; the digits' own network alone reads 19 of these 30."""
    random, pictures = np.random.default_rng(0), []
    for image in mnist.test_images[np.flatnonzero(mnist.test_labels == 9)[:30]] / np.float32(255):
        shares = random.random(5)
        reshape(image, 9, shares * [SHARES[9], 1, 1, 1, 1])
        small = Image.fromarray(image[box_of(image > 0.2)]).resize((16, 16), Image.Resampling.BOX)
        pictures.append(np.where(np.asarray(small) > 0.45, 0, 255).astype(np.uint8))
    assert sum(answer.digits[0][0] == "9" for answer in reader.answer_all(pictures)) >= 26


@pytest.mark.parametrize("pixels", [np.zeros((5, 5), np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros(5, np.uint8)])
def test_other_arrays_are_refused_in_one_line(reader: DigitReader, pixels: np.ndarray) -> None:
    with pytest.raises(PictureError, match="expected pixels uint8"):
        reader.answer(pixels)


def test_a_listed_name_is_no_longer_than_any_path(tmp_path: Path) -> None:
    """A line is not read to its end, which may be far away; the names before it are given."""
    names = tmp_path / "names.txt"
    names.write_bytes(b"\xef\xbb\xbfa.png\r\n\n  \n" + b"x" * 4096 + b"\n\xff.png\n" + b"y" * 4097 + b"\nb.png\n")
    found = listed(names)
    assert [next(found) for _ in range(3)] == ["a.png", "x" * 4096, "\udcff.png"]
    with pytest.raises(UserError, match=rf"^{names} line 6: expected a name of at most 4096 characters, got a longer"):
        next(found)
    with names.open("wb") as file:
        file.truncate(1 << 40)  # without an end of line
    with pytest.raises(UserError, match=f"^{names} line 1: "):
        next(listed(names))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it then reports why; the others are read."""
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "7.png").touch()
    scandir = os.scandir

    def refuse(folder: str) -> Any:
        if folder.endswith("closed"):
            raise PermissionError
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [*find_pictures([str(tmp_path)])] == [str(tmp_path / "closed"), str(tmp_path / "open" / "7.png")]


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'digits'"):
        recognition.digits  # noqa: B018
