"""Labelled data sets of every format: the same images by each, classes, splits, and what is refused in one line."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from common.errors import UserError
from data import sources
from data.dataset import Mnist
from data.formats import idx
from data.formats.folder import read_class_folders
from data.formats.idx import DataError
from data.load import Reading, load

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
MNIST = list(sources.SUMS)


@pytest.fixture(scope="module")
def images(mnist: Mnist) -> Arrays:
    """2,000 of MNIST's images to train on, 500 to test."""
    return (mnist.train_images[:2000], mnist.train_labels[:2000], mnist.test_images[:500], mnist.test_labels[:500])


def pattern(labels: list[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images that differ from each other, with these labels."""
    count = len(labels)
    found = np.random.default_rng(1).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return found, np.asarray(labels)


def write_idx(folder: Path, arrays: Arrays, names: list[str] = MNIST, suffix: str = "") -> Path:
    folder.mkdir()
    for name, array in zip(names, arrays, strict=True):
        data = idx.encode(array.astype(np.uint8))
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(data, 1) if suffix else data)
    return folder


def write_npz(folder: Path, arrays: Arrays) -> Path:
    folder.mkdir()
    np.savez(folder / "mnist.npz", x_train=arrays[0], y_train=arrays[1], x_test=arrays[2], y_test=arrays[3])
    return folder / "mnist.npz"


def write_kmnist(folder: Path, arrays: Arrays) -> Path:
    folder.mkdir()
    for name, array in zip(("train-imgs", "train-labels", "test-imgs", "test-labels"), arrays, strict=True):
        np.savez_compressed(folder / f"own-{name}.npz", array)
    return folder


def write_csv(folder: Path, arrays: Arrays, header: bool = True) -> Path:
    folder.mkdir()
    first = ",".join(["label", *(f"pixel{number}" for number in range(784))]) if header else ""
    for name, found, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        table = np.column_stack([labels, found.reshape(len(found), -1)])
        np.savetxt(folder / f"mnist_{name}.csv", table, "%d", ",", header=first, comments="")
        if not header:
            text = (folder / f"mnist_{name}.csv").read_text()
            (folder / f"mnist_{name}.csv").write_text(text.lstrip("\n"))
    return folder


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_parquet(folder: Path, arrays: Arrays) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, found, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        pictures = [{"bytes": png(image), "path": None} for image in found]
        table = pyarrow.table({"image": pictures, "label": labels.astype(np.int64)})
        names = {"info": {"features": {"label": {"names": [str(digit) for digit in range(10)], "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
        pyarrow.parquet.write_table(table, folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def write_folders(folder: Path, arrays: Arrays) -> Path:
    for name, found, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        for number, (image, label) in enumerate(zip(found, labels, strict=True)):
            path = folder / name / str(label) / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image))
    return folder


WRITERS: dict[str, Callable[[Path, Arrays], Path]] = {
    "IDX": write_idx,
    "IDX.gz": lambda folder, arrays: write_idx(folder, arrays, suffix=".gz"),
    "NPZ": write_npz,
    "KMNIST's NPZ": write_kmnist,
    "CSV with header": write_csv,
    "CSV without header": lambda folder, arrays: write_csv(folder, arrays, header=False),
    "Parquet": write_parquet,
    "folder per class": write_folders,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_arrays(name: str, images: Arrays, tmp_path: Path) -> None:
    said: list[str] = []
    loaded = load(WRITERS[name](tmp_path / "data", images), Reading(report=said.append))
    got = (loaded.train_images, loaded.train_labels, loaded.test_images, loaded.test_labels)
    for array, expected in zip(got, images, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.uint8 and not array.flags.writeable
    assert loaded.classes == tuple("0123456789")
    assert loaded.sums == {name: idx.checksum(array) for name, array in zip(MNIST, images, strict=True)}
    assert not loaded.split
    (line,) = said
    assert name.split()[0].removesuffix(".gz").removesuffix("'s") in line.replace("KMNIST's ", "") or "NPZ" in line
    assert "2,000 training and 500 test images of 10 classes" in line


def test_emnist_is_turned_and_named_by_its_mapping(images: Arrays, tmp_path: Path) -> None:
    turned = (images[0].transpose(0, 2, 1), images[1] + 1, images[2].transpose(0, 2, 1), images[3] + 1)
    names = [
        f"emnist-letters-{part}-{kind}"
        for part in ("train", "test")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    folder = write_idx(tmp_path / "emnist", turned, names, ".gz")
    assert load(folder).classes == tuple(map(str, range(1, 11)))
    mapping = "".join(f"{number} {64 + number} {96 + number}\n" for number in range(1, 11))
    (folder / "emnist-letters-mapping.txt").write_text(mapping)
    loaded = load(folder)
    assert loaded.classes == tuple("ABCDEFGHIJ")
    np.testing.assert_array_equal(loaded.train_images, images[0])
    np.testing.assert_array_equal(loaded.test_labels, images[3])
    assert loaded.sums[MNIST[0]] == idx.checksum(images[0])


@pytest.mark.parametrize("label", [-5, 9_000_000_000])
def test_a_mapping_of_labels_that_cannot_be_is_refused(label: int, images: Arrays, tmp_path: Path) -> None:
    names = [
        f"emnist-letters-{part}-{kind}"
        for part in ("train", "test")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    folder = write_idx(tmp_path / "emnist", images, names)
    lines = "".join(f"{number} {65 + number % 100}\n" for number in [*range(10), label])
    (folder / "emnist-letters-mapping.txt").write_text(lines)
    with pytest.raises(DataError, match="expected names for labels of 0 to 1000, got names for"):
        load(folder)


def test_qmnist_keeps_its_labels_in_a_table_of_numbers(images: Arrays, tmp_path: Path) -> None:
    names = [f"qmnist-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")]
    folder = write_idx(tmp_path / "qmnist", images, names)
    for name, labels in ((names[1], images[1]), (names[3], images[3])):
        table = np.full((len(labels), 8), 77, ">i4")
        table[:, 0] = labels
        (folder / name).write_bytes(struct.pack(">3I", 0xC02, *table.shape) + table.tobytes())
    loaded = load(folder)
    np.testing.assert_array_equal(loaded.train_labels, images[1])
    np.testing.assert_array_equal(loaded.test_labels, images[3])


def test_classes_are_named_by_classes_txt(images: Arrays, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data", images)
    (path.parent / "classes.txt").write_text("\n".join(f"class {digit}" for digit in range(10)) + "\n\n")
    assert load(path).classes == tuple(f"class {digit}" for digit in range(10))
    (path.parent / "classes.txt").write_text("zero\none\n")
    with pytest.raises(UserError, match=r"expected a name for each label, got none for \[2, 3, 4, 5, 6, 7, 8, 9\]"):
        load(path)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.arange(60) % 3, 3),
        (np.arange(520) % 26, 26),
        (np.arange(900) % 300, 300),
        (np.arange(50) % 5, 5),
        (1 + np.arange(60) % 26, 26),
        (np.append(np.arange(60) % 3, 3), 4),  # a class with one image, which stays in training
        (np.array([0, 1, 3, 4] * 10), 5),  # a class without an image
    ],
)
def test_any_number_of_classes_is_split_by_class(labels: np.ndarray, classes: int, tmp_path: Path) -> None:
    found, labels = pattern(labels)
    np.savez(tmp_path / "own.npz", x_train=found, y_train=labels)
    loaded = load(tmp_path / "own.npz")
    first = int(labels.min() == 1)
    assert loaded.classes == tuple(str(first + number) for number in range(classes))
    numbers = labels - first
    for number, count in enumerate(np.bincount(numbers, minlength=classes)):
        tested = int((loaded.test_labels == number).sum())
        assert tested == (max(round(0.2 * count), 1) if count > 1 else 0)
        assert int((loaded.train_labels == number).sum()) == count - tested
    parts = np.concatenate([loaded.train_images, loaded.test_images])
    by_image = dict(zip(map(bytes, found), numbers.tolist(), strict=True))
    assert [by_image[bytes(image)] for image in parts] == [*loaded.train_labels.tolist(), *loaded.test_labels.tolist()]
    assert loaded.train_labels.dtype == (np.uint16 if classes > 256 else np.uint8)
    assert load(tmp_path / "own.npz").split == loaded.split


def test_the_split_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """The sum is of the list of test files; it changes only if the rule does."""
    found, labels = pattern(np.arange(50) % 5)
    np.savez(tmp_path / "own.npz", x_train=found, y_train=labels)
    sha256 = load(tmp_path / "own.npz").split["sha256"]
    assert sha256 == "6fda91afa7643887bda78efc09773330d8153da3f97ceb80b3de00e4e0392c15"


def test_classes_of_folders_take_turns_in_the_order_of_the_images(tmp_path: Path) -> None:
    found, _ = pattern([0] * 30)
    for number, image in enumerate(found):
        path = tmp_path / "own" / ("cat" if number < 10 else "dog") / f"photo{number}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    loaded = load(tmp_path / "own")
    assert loaded.classes == ("cat", "dog")
    assert np.bincount(loaded.test_labels).tolist() == [2, 4]
    in_order = read_class_folders(tmp_path / "own").train.labels
    assert [(in_order[place : place + 6] == "cat").sum() for place in range(0, 30, 6)] == [2] * 5


def test_a_broken_picture_is_left_out_or_an_error(tmp_path: Path) -> None:
    found, _ = pattern([0] * 8)
    for number, image in enumerate(found):
        path = tmp_path / "own" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image)[: 100 if number == 3 else None])
    (tmp_path / "own" / "a" / "0.png").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "own" / "b" / "photo.heic").touch()
    (tmp_path / "own" / "a" / "more").mkdir()
    said: list[str] = []
    loaded = load(tmp_path / "own", Reading(report=said.append))
    assert len(loaded.train_labels) + len(loaded.test_labels) == 6
    assert said[:2] == [
        f"{tmp_path / 'own'}: 2 left out, no pictures by their names, such as a/more",
        f"{tmp_path / 'own/a/0.png'}: expected a picture, got a HEIC photo: save it as JPEG or PNG; left out",
    ]
    assert said[2].startswith(f"{tmp_path / 'own/b/3.png'}: expected a picture") and said[2].endswith("; left out")
    (tmp_path / "own" / "a" / "0.png").unlink()
    with pytest.raises(UserError, match=r"3\.png: expected a picture"):
        load(tmp_path / "own", Reading(strict=True))


def _npz(path: Path, **arrays: object) -> Path:
    np.savez(path / "x.npz", **arrays)  # type: ignore[arg-type]
    return path / "x.npz"


def _text(path: Path, text: str, name: str = "x.csv") -> Path:
    (path / name).write_text(text)
    return path / name


def _pipe(path: Path) -> Path:
    os.mkfifo(path / "train-0.parquet")
    return path


def _both(path: Path) -> Path:
    _npz(path, x_train=np.zeros((2, 28, 28), np.uint8), y_train=np.arange(2))
    _text(path, ",".join(["1"] * 785))
    return path


def _pictures(path: Path, names: list[str], side: int = 28) -> Path:
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(png(np.zeros((side, side), np.uint8)))
    return path


def _empty_class(path: Path) -> Path:
    _pictures(path, ["a/1.png", "a/2.png", "b/3.png"])
    (path / "c").mkdir()
    return path


PIXELS = ",".join(["7"] * 784)
ZEROS = np.zeros((4, 28, 28), np.uint8)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda path: path / "none", "expected a data set, got nothing of that name"),
    "no labels": (lambda path: _text(path, f"{PIXELS}\n"), "got no labels; infer.py reads such images"),
    "pixel names only": (lambda path: _text(path, ",".join(f"pixel{n}" for n in range(784))), "infer.py reads"),
    "columns": (lambda path: _text(path, "a,b,c\n1,2,3\n"), "line 1: expected a label and 784 pixels .* got 3 columns"),
    "no label column": (lambda path: _text(path, ",".join(f"c{n}" for n in range(785))), "one column label, got 0"),
    "semicolons": (
        lambda path: _text(path, f"1,{PIXELS}\n".replace(",", ";")),
        "found semicolons: save it with commas",
    ),
    "tabs": (lambda path: _text(path, f"1,{PIXELS}\n".replace(",", "\t"), "x.tsv"), "found tabs: save it with commas"),
    "pixel of 256": (lambda path: _text(path, f"1,{PIXELS}\n0,256{PIXELS[1:]}\n"), "pixels of 0 to 255, got: .*256"),
    "short line": (
        lambda path: _text(path, f"1,{PIXELS}\n0,{PIXELS[2:]}\n"),
        "784 pixels of 0 to 255, got: .*784",
    ),
    "header alone": (
        lambda path: _text(path, "label," + ",".join(f"pixel{n}" for n in range(784))),
        "pixels of 0 to 255, got: ",
    ),
    "lines that end in CR": (
        lambda path: _text(path, f"label,{','.join(f'p{n}' for n in range(784))}\n" + f"1,{PIXELS}\r0,{PIXELS}\r"),
        "pixels of 0 to 255, got: ",
    ),
    "fractions as labels": (lambda path: _text(path, f"0.5,{PIXELS}\n1.5,{PIXELS}\n"), "whole numbers or names"),
    "text": (lambda path: _text(path, "hello\n", "x.txt"), "expected NPZ, CSV, Parquet, .*got none of them"),
    "picture": (lambda path: _pictures(path, ["x.png"]) / "x.png", "expected NPZ, CSV, Parquet"),
    "pictures without classes": (lambda path: _pictures(path, ["x.png"]), "infer.py reads pictures without labels"),
    "two formats": (_both, "expected one format, got NPZ and CSV"),
    "size": (lambda path: _pictures(path, ["a/1.png", "b/2.png"], 8), "none of 2"),
    "empty class": (_empty_class, r"c: expected pictures \(.*\) in a class's folder, got none; fill or remove it"),
    "one class": (lambda path: _pictures(path, ["a/1.png", "a/2.png"]), "expected 2 to 1,000 classes, got 1"),
    "single images": (lambda path: _pictures(path, ["a/1.png", "b/2.png"]), "a class of at least two images"),
    "formula": (lambda path: _pictures(path, ["=a/1.png", "b/2.png"]), "no formulas to a spreadsheet, got '=a'"),
    "1,001 classes": (
        lambda path: _npz(path, x_train=np.zeros((1001, 28, 28), np.uint8), y_train=np.arange(1001)),
        "got 1001",
    ),
    "negative": (lambda path: _npz(path, x_train=ZEROS, y_train=np.array([0, 1, 2, -1])), "got -1 to 2"),
    "objects": (
        lambda path: _npz(path, x_train=ZEROS, y_train=np.array([None] * 4)),
        "expected whole numbers or names",
    ),
    "floats": (lambda path: _npz(path, x_train=ZEROS / 255, y_train=np.arange(4)), "expected whole numbers or names"),
    "labels": (lambda path: _npz(path, x_train=ZEROS, y_train=np.arange(3)), "got 4 images and 3 labels"),
    "8×8": (lambda path: _npz(path, x_train=ZEROS[:, :8, :8], y_train=np.arange(4)), r"\[N, 28, 28\] .*got 4×8×8"),
    "other names": (lambda path: _npz(path, images=ZEROS), "expected arrays x_train, .*got images.npy"),
    "no zip": (lambda path: _text(path, "PK\3\4 but no more", "x.npz"), "expected NumPy's archive"),
    "pipe of a table": (_pipe, "not a regular file"),
    "no table": (lambda path: _text(path, "PAR1 but no more", "x.parquet"), "expected a Parquet file, got"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    with pytest.raises((UserError, OSError)) as caught:
        load(make(tmp_path))
    assert re.search(words, str(caught.value)), caught.value
    assert str(tmp_path) in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_parquet_table_without_a_column_is_refused(column: str, tmp_path: Path) -> None:
    columns: dict[str, object] = {"image": [{"bytes": png(ZEROS[0]), "path": None}], "label": [1]}
    del columns[column]
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=f"expected .*column.* {column}"):
        load(tmp_path / "x.parquet")


def test_a_file_name_that_is_no_text_is_taken(tmp_path: Path) -> None:
    _pictures(tmp_path, ["a/1.png", "a/2.png", "b/3.png"])
    (tmp_path / "b" / "3.png").rename(tmp_path / "b" / os.fsdecode(b"\xb0.png"))
    assert len(load(tmp_path).train_labels) == 2
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / os.fsdecode(b"\xb1.png"))
    (tmp_path / "a" / "2.png").rename(tmp_path / "a" / os.fsdecode(b"\xb2.png"))
    assert load(tmp_path).split["sha256"]
