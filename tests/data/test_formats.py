"""What each reader of a data format refuses, and how it counts: faults that would else train in silence."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from data.formats import pictures as formats
from data.formats.idx import LARGEST_SET, DataError
from data.formats.parquet import read_parquet
from data.formats.pictures import AsTheyAre, Pictures, decode_as_it_is, prepare_all, size_of
from data.load import load
from tests.conftest import ROOT
from tests.data.test_load import png, write_idx

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.arange(6) % 2
LINE = ",".join(["7"] * 784)


def _huge_npz(path: Path) -> Path:
    """Two arrays, of which the first one's header announces 2 GiB."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2739137, 28, 28), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        archive.writestr("y_train.npy", b"")
    return path / "x.npz"


def _unlabelled_row(path: Path) -> Path:
    rows = {"image": [{"bytes": png(image), "path": None} for image in IMAGES], "label": [0, 1, None, 0, 1, 0]}
    pyarrow.parquet.write_table(pyarrow.table(rows), path / "x.parquet")
    return path / "x.parquet"


def _broken_line(path: Path) -> Path:
    """The last of 1,000 lines, in the second mebibyte."""
    (path / "x.csv").write_text(f"1,{LINE}\n" * 999 + f"1,{LINE}0,0\n")
    return path / "x.csv"


def _class_of_the_test_part(path: Path) -> Path:
    for place in ("train/a/1", "train/b/2", "test/a/3", "test/c/4"):
        (path / f"{place}.png").parent.mkdir(parents=True, exist_ok=True)
        (path / f"{place}.png").write_bytes(png(IMAGES[0]))
    return path


def _one_name_twice(path: Path) -> Path:
    (path / "data").mkdir()
    (path / "data" / "classes.txt").write_text("cat\ncat\n")
    np.savez(path / "data" / "x.npz", x_train=IMAGES, y_train=LABELS)
    return path / "data" / "x.npz"


def _two_sets_of_emnist(path: Path) -> Path:
    kinds = [f"{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    folder = write_idx(path / "emnist", (IMAGES, LABELS) * 2, [f"emnist-letters-{kind}" for kind in kinds])
    for kind in kinds:
        (folder / f"emnist-digits-{kind}").write_bytes((folder / f"emnist-letters-{kind}").read_bytes())
    return folder


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an archive that announces too much": (_huge_npz, f"at most {LARGEST_SET} bytes, got a header that announces"),
    "a row without a label": (_unlabelled_row, "expected a label in each row, got 1 without"),
    "a line in the middle": (_broken_line, r"785.*counted from line 6[67]\d$"),
    "a class of the test part alone": (_class_of_the_test_part, r"test: expected the classes of train/, got c too"),
    "two classes of one name": (_one_name_twice, "expected a name of its own for each class, got cat twice"),
    "two sets": (_two_sets_of_emnist, r"one file of each kind, got IDX \(emnist-digits-.*\) and IDX \(emnist-letters-"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_taken_for_something_else_is_refused(name: str, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        load(make(tmp_path))
    assert re.search(words, str(caught.value)), caught.value


def test_a_picture_whose_pixels_do_not_show_all_is_refused() -> None:
    """Transparency, as a channel or as a colour, and more than 8 bits; its 28×28 pixels are no reason to take it."""
    palette = Image.fromarray(IMAGES[0]).convert("P")
    for picture, options in (
        (Image.new("RGBA", (28, 28)), {}),
        (palette, {"transparency": 0}),
        (Image.new("I;16", (28, 28)), {}),
    ):
        file = io.BytesIO()
        picture.save(file, "PNG", **options)
        with pytest.raises(DataError, match="expected 8 bits a pixel without transparency, got mode"):
            decode_as_it_is(file.getvalue())
    file = io.BytesIO()
    palette.save(file, "PNG")
    assert decode_as_it_is(file.getvalue()).shape == (28, 28)


def test_no_size_is_asked_of_a_picture_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow reads the whole file for that of a WebP; one of 20 GB that is mostly a hole needs no disk."""
    Image.fromarray(IMAGES[0]).save(tmp_path / "x.webp")
    assert size_of(str(tmp_path / "x.webp")) == (28, 28)
    monkeypatch.setattr(formats, "LARGEST_FILE", 100)
    assert size_of(str(tmp_path / "x.webp")) is None


def test_no_memory_is_taken_for_a_number_of_pictures_that_cannot_be() -> None:
    count = LARGEST_SET // 784 + 1
    pictures = Pictures("here", np.broadcast_to(np.zeros(1, np.int64), count), lambda places: iter([]), str)
    with pytest.raises(DataError, match=f"^here: expected at most {count - 1} pictures, got {count}$"):
        prepare_all(pictures, AsTheyAre(), False, print)


def test_a_set_of_thousands_is_split_without_losing_an_image(tmp_path: Path) -> None:
    """The images that stay are moved together in place, 1,024 at a time."""
    labels = np.arange(5000) % 7
    images = np.zeros((5000, 28, 28), np.uint8)
    images[:, 0, :2] = np.arange(5000, dtype=">u2").view(np.uint8).reshape(-1, 2)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels)
    loaded = load(tmp_path / "own.npz")
    found = np.concatenate([loaded.train_images, loaded.test_images])[:, 0, :2]
    numbers = np.ascontiguousarray(found).view(">u2").ravel().astype(int)
    assert sorted(numbers) == list(range(5000))
    assert (numbers % 7).tolist() == [*loaded.train_labels.tolist(), *loaded.test_labels.tolist()]


def _archive(path: Path, **arrays: Any) -> Path:
    np.savez(path / "x.npz", **arrays)
    return path / "x.npz"


def _file(path: Path, name: str, data: bytes) -> Path:
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)
    return path / name


def _sixteen_bits(path: Path) -> Path:
    for number, image in enumerate(IMAGES):
        file = io.BytesIO()
        Image.fromarray(image.astype(np.uint16) * 257).save(file, "PNG")
        _file(path, f"{'ab'[number % 2]}/{number}.png", file.getvalue())
    return path


def _two_names_for_a_label(path: Path) -> Path:
    _file(path, "classes.txt", b"0 cat\n0 dog\n1 bird\n")
    return _archive(path, x_train=IMAGES, y_train=LABELS)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda path: _file(path, "x.csv", b""), "got an empty file"),
        (lambda path: _file(path, "x.csv", b"1\r".join([LINE.encode()] * 3)), "found CR alone: save it with LF"),
        (lambda path: _archive(path, x_train=IMAGES, y_train=np.eye(2, dtype=int)[LABELS]), r"y\.argmax\(1\)"),
        (lambda path: _archive(path, x_train=IMAGES, y_train=np.eye(2)[LABELS]), r"y\.argmax\(1\)"),
        (lambda path: _archive(path, x_train=np.stack([IMAGES] * 3, -1), y_train=LABELS), "make them grey"),
        (_two_names_for_a_label, "expected one name for each label, got several for 0"),
        (_sixteen_bits, r"got none of 4: .*/[ab]/\d\.png: .* mode I;16; save it as grey; or try --prepare resize"),
        (lambda path: _file(path, "a/1.heic", b"x").parents[1], r"no picture by its name is in them, but a/1\.heic"),
    ],
)
def test_a_refusal_names_the_cause_and_the_way_out(
    write: Callable[[Path], Path], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        load(write(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["large_string", "string_view", "dictionary"])
def test_parquet_of_polars_and_of_categories_is_read(kind: str, tmp_path: Path) -> None:
    labels = pyarrow.array(["cat" if label else "dog" for label in LABELS])
    if kind != "dictionary" and not hasattr(pyarrow, kind):
        pytest.skip(f"this pyarrow has no {kind}")
    labels = labels.dictionary_encode() if kind == "dictionary" else labels.cast(getattr(pyarrow, kind)())
    pictures = pyarrow.array([png(image) for image in IMAGES], pyarrow.large_binary())
    pyarrow.parquet.write_table(pyarrow.table({"image": pictures, "label": labels}), tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet")
    assert data.classes == ("cat", "dog")
    assert sorted([*data.train_labels, *data.test_labels]) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("chosen", [range(3000), [0], [1050], [1023, 1024], [1100], [2099, 2100], [1500, 2999]])
def test_a_row_is_found_whatever_file_group_and_batch_it_is_in(chosen: Sequence[int], tmp_path: Path) -> None:
    for number, rows in enumerate((range(2100), range(2100, 3000))):
        columns = {"image": [b"%d" % row for row in rows], "label": [row % 7 for row in rows]}
        path = tmp_path / f"train-{number}.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=1100)
    part = read_parquet(tmp_path).train
    assert isinstance(part.images, Pictures)
    assert list(part.images[np.array(chosen)]) == [b"%d" % row for row in chosen]
    assert part.labels.tolist() == [row % 7 for row in range(3000)]
    for row, name in ((0, "0.parquet: row 0"), (2099, "0.parquet: row 2099"), (2100, "1.parquet: row 0")):
        assert part.images.name(row) == f"{tmp_path}/train-{name}"


def test_a_page_that_announces_gigabytes_takes_no_memory() -> None:
    with pytest.raises(DataError, match="expected a Parquet file, got: Unexpected end of stream"):
        load(ROOT / "tests" / "fuzz" / "corpus" / "parquet" / "page_announces_gigabytes")
    assert pyarrow.default_memory_pool().max_memory() < 1 << 29


def test_a_row_group_without_its_pictures_is_refused() -> None:
    """Else the pictures after it would get the labels of others."""
    with pytest.raises(DataError, match="row group 0: expected 2 pictures, got 0"):
        load(ROOT / "tests" / "fuzz" / "corpus" / "parquet" / "row_group_without_its_pictures")
