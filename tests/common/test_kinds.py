"""Messages name what was found in place of a picture, a data set, a log."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import compare
from common.errors import UserError
from common.signals import StopRequest
from data import sources
from data.formats import idx
from data.formats.idx import DataError
from data.sources import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from recognition.picture import PictureError, read_picture
from results.log import is_unfinished, read_results
from results.records import Row, columns


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("7.png", b"7")
    else:
        with tarfile.open(fileobj=file, mode="w") as tape:
            tape.addfile(tarfile.TarInfo("7.png"))
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>"
FOUND = {
    "HEIC photo": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n",
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "ZIP": archive("zip"),
    "tar archive": archive("tar"),
    "web page": PAGE,
    "Git LFS": LFS,
    "NumPy": b"\x93NUMPY\x01\0" + bytes(100),
    "video": b"\0\0\0\x18ftypisom" + bytes(100),
    "IDX": idx.encode(np.zeros((2, 28, 28), np.uint8)),
}


@pytest.mark.parametrize("kind", FOUND)
def test_what_is_no_picture_is_named(kind: str) -> None:
    with pytest.raises(PictureError, match=f"^expected a picture, got an? [^\n]*{kind}"):
        read_picture(FOUND[kind])


@pytest.mark.parametrize("kind", [kind for kind in FOUND if kind not in ("IDX",)])
@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_no_data_set_is_named(kind: str, zipped: bool, tmp_path: Path) -> None:
    """A page of a mirror that is saved as .gz is text all the same, unless it is packed once more."""
    path = tmp_path / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(gzip.compress(FOUND[kind]) if zipped else FOUND[kind])
    with pytest.raises(DataError, match=f"got 0x[0-9a-f]{{8}}, as of an? [^\n]*{kind}"):
        idx.read_images(path)


DATA = {
    TRAIN_IMAGES: idx.encode(np.full((3, 28, 28), 7, np.uint8)),
    TRAIN_LABELS: idx.encode(np.array([1, 2, 3], np.uint8)),
    TEST_IMAGES: idx.encode(np.full((2, 28, 28), 9, np.uint8)),
    TEST_LABELS: idx.encode(np.array([4, 5], np.uint8)),
}


def fill(folder: Path, pattern: str = "{name}") -> Path:
    """The four files, their names changed as a pattern says."""
    folder.mkdir(parents=True)
    for name, data in DATA.items():
        which, what, shape, _ = name.split("-")
        (folder / pattern.format(name=name, which=which, what=what, shape=shape)).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    "pattern",
    ["{which}-{what}.{shape}-ubyte", "{which}-{what}.bin", "{which}_{what}", "{which}-{what}-{shape}-ubyte.bin"],
)
def test_data_of_nearly_the_same_names_are_found(pattern: str, tmp_path: Path) -> None:
    found = sources.read_folder(fill(tmp_path / "data", pattern))
    assert {name: idx.encode(array) for name, array in found.arrays.items()} == DATA


@pytest.mark.parametrize("inner", ["raw", "MNIST/raw"])
def test_torchvisions_folder_is_found(inner: str, tmp_path: Path) -> None:
    fill(tmp_path / "data" / inner)
    found = sources.read_folder(tmp_path / "data")
    assert {name: idx.encode(array) for name, array in found.arrays.items()} == DATA


def test_data_that_are_not_taken_are_named(tmp_path: Path) -> None:
    """EMNIST's images are turned, so they are not taken as they are; of two that fit, none is."""
    said = {}
    for name, pattern in (("emnist", "emnist-digits-{name}"), ("archive", "{what}.zip"), ("words", "{which}.txt")):
        folder = fill(tmp_path / name, pattern)
        with pytest.raises(DataError) as error:
            sources.read_folder(folder)
        said[name] = str(error.value)
    assert "emnist-digits-t10k-images-idx3-ubyte" in said["emnist"] and "exchanged" in said["emnist"]
    assert "found images.zip, labels.zip (unpack the archive)" in said["archive"]
    assert said["words"].endswith("; found t10k.txt, train.txt")
    fill(tmp_path / "more" / "FashionMNIST" / "raw")
    with pytest.raises(DataError, match=r"; they are in FashionMNIST/raw: name that folder$"):
        sources.read_folder(tmp_path / "more")
    twice = fill(tmp_path / "twice", "{which}-{what}.bin")
    shutil.copy(twice / "train-images.bin", twice / "train_images.bin")
    with pytest.raises(DataError, match=f"missing: {TRAIN_IMAGES}; found"):
        sources.read_folder(twice)


def log(rows: int) -> bytes:
    values = ["a", "", 0.5, 0.9, *[""] * 4, *[""] * 4, 0.001, 1.0, 100.0, 1]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(Row))
    for number in range(1, rows + 1):
        writer.writerow([values[0], number, *values[2:]])
    return text.getvalue().encode()


def test_a_log_that_a_spreadsheet_saved_is_one_short_line(tmp_path: Path) -> None:
    for mark, marks in ((b";", "semicolons"), (b"\t", "tabs")):
        (tmp_path / "results.csv").write_bytes(b"\xef\xbb\xbf" + log(2).replace(b",", mark).replace(b"\n", b"\r\n"))
        with pytest.raises(UserError, match=f"found {marks}: save it with commas$") as error:
            read_results(tmp_path / "results.csv")
        assert len(str(error.value).removeprefix(str(tmp_path))) < 100


def test_a_last_row_without_its_line_end_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, cut in (("cut", 1), ("whole", 0), ("being written", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.csv").write_bytes(log(3)[: -cut or None])
        assert is_unfinished(tmp_path / name / "results.csv") == (name == "cut")
    monkeypatch.setattr(
        sys, "argv", ["compare.py", *(str(tmp_path / name) for name in ("cut", "whole", "being written"))]
    )
    assert compare.main(StopRequest()) == 0
    assert capsys.readouterr().err == "note: cut: its last row has no line end, and is left out\n"
