"""Layouts of data sets as they are found in the world: what is recognised, what is named, what is never guessed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from common.errors import UserError
from data.dataset import Mnist
from data.formats import idx
from data.formats.folder import read_class_folders
from data.formats.idx import DataError
from data.load import Reading, load
from tests.data.test_load import png, write_csv

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def pattern(labels: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images that differ from each other, with these labels."""
    numbers = np.fromiter(labels, np.int64)
    return np.random.default_rng(1).integers(0, 256, (len(numbers), 28, 28), dtype=np.uint8), numbers


def digits(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """As many images of ten classes in turn."""
    return pattern(np.arange(count) % 10)


def write(folder: Path, title: str = "", suffix: str = "", labels: Sequence[int] = range(10), parts: int = 2) -> Path:
    """IDX files, 2 training images and 1 test image of each class; `parts` 1 for those to train on alone."""
    names = ["train", "test" if title else "t10k"][:parts]
    folder.mkdir(parents=True, exist_ok=True)
    for name, repeated in zip(names, (2, 1), strict=False):
        images, numbers = pattern(list(labels) * repeated)
        for what, array in (("images-idx3", images), ("labels-idx1", numbers.astype(np.uint8))):
            data = idx.encode(array)
            path = folder / f"{title}{name}-{what}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data, 1, mtime=0) if suffix else data)
    return folder


def draw(folder: Path, count: int, first: int = 0, name: str = "{}.png") -> Path:
    """PNG files of 28×28 pixels that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        image = np.random.default_rng([number, *folder.name.encode()]).integers(0, 256, (28, 28), dtype=np.uint8)
        (folder / name.format(number)).write_bytes(png(image))
    return folder


def loaded(path: Path, scored: bool = False) -> tuple[Mnist, list[str]]:
    said: list[str] = []
    return load(path, Reading(report=said.append, scored=scored)), said


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1 and str(path) in str(caught.value)
    return str(caught.value)


# Names of known sets


@pytest.mark.parametrize(
    ("inner", "named", "title", "classes"),
    [
        ("FashionMNIST/raw", "FashionMNIST/raw", "", FASHION),
        ("FashionMNIST/raw", "FashionMNIST", "", FASHION),
        ("data/FashionMNIST/raw", "data", "", FASHION),
        ("fashion-mnist", "fashion-mnist", "", FASHION),
        ("KMNIST/raw", ".", "", tuple("おきすつなはまやれを")),
        ("MNIST/raw", ".", "", tuple("0123456789")),
        ("fashion-mnist/MNIST/raw", "fashion-mnist", "", tuple("0123456789")),  # the nearest name counts
        ("my-fashion-mnist-work", "my-fashion-mnist-work", "", tuple("0123456789")),
        ("EMNIST/raw", ".", "emnist-digits-", tuple("0123456789")),
    ],
)
def test_a_known_set_is_named_by_its_folder(
    inner: str, named: str, title: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path / inner, title)
    data, said = loaded(tmp_path / named)
    assert data.classes == classes
    assert (len(data.train_labels), len(data.test_labels)) == (20, 10)
    unnamed = inner == "my-fashion-mnist-work"
    assert ("their labels; a file classes.txt beside the data would name them" in said[-1]) is unnamed


@pytest.mark.parametrize("first", ["9003027255095579", "9211614657457341"])
def test_fashion_mnist_is_named_by_its_first_labels(first: str, tmp_path: Path) -> None:
    images, labels = pattern(map(int, first + "0123456789" * 5))
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    assert load(tmp_path / "x.npz").classes == FASHION
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels[::-1], x_test=images[:10], y_test=labels[:10])
    assert load(tmp_path / "x.npz").classes == tuple("0123456789")


def test_mnist_alone_goes_without_saying(mnist: Mnist, tmp_path: Path) -> None:
    said: list[str] = []
    folder = write(tmp_path)
    for labels in (mnist.train_labels[:20], mnist.train_labels[1:21]):
        (folder / "train-labels-idx1-ubyte").write_bytes(idx.encode(labels))
        load(folder, Reading(report=said.append, usual=False))
    (line,) = said  # KMNIST, for all that is known
    assert "(their labels; a file classes.txt beside the data would name them)" in line


def test_known_sets_are_named_by_their_files(tmp_path: Path) -> None:
    images, labels = digits()
    folder = write_csv(tmp_path / "csv", (images, labels, images[:10], labels[:10]))
    for part in ("train", "test"):
        (folder / f"mnist_{part}.csv").rename(folder / f"fashion-mnist_{part}.csv")
    assert load(folder).classes == FASHION
    data, said = loaded(folder / "fashion-mnist_train.csv")
    assert data.classes == FASHION and "left alone: fashion-mnist_test.csv" in said[0]
    np.savez(tmp_path / "kmnist.npz", x_train=images, y_train=labels)
    assert load(tmp_path / "kmnist.npz").classes[0] == "お"
    np.savez(tmp_path / "kmnist.npz", x_train=images, y_train=labels % 9)  # not the classes of the set
    assert load(tmp_path / "kmnist.npz").classes == tuple("012345678")
    for part in ("train", "test"):  # Kuzushiji-49, in archives of one array
        for kind, array in (("imgs", np.zeros((98, 28, 28), np.uint8)), ("labels", np.arange(98) % 49)):
            (tmp_path / "k49").mkdir(exist_ok=True)
            np.savez(tmp_path / "k49" / f"k49-{part}-{kind}.npz", array)
    assert "".join(load(tmp_path / "k49").classes[44:]) == "ゐゑをんゝ"


@pytest.mark.parametrize(
    ("split", "labels", "classes"),
    [
        ("letters", range(1, 27), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("balanced", range(47), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
        ("byclass", range(62), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
    ],
)
def test_emnist_is_named_without_its_mapping_and_turned_as_csv_too(
    split: str, labels: range, classes: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "raw", f"emnist-{split}-", labels=labels)
    as_idx, _ = loaded(folder)
    assert as_idx.classes == tuple(classes)
    images, numbers = pattern(list(labels) * 2)
    np.testing.assert_array_equal(as_idx.train_images, images.transpose(0, 2, 1))
    table = write_csv(tmp_path / "csv", (images, numbers, images[: len(labels)], numbers[: len(labels)]), header=False)
    for part in ("train", "test"):
        (table / f"mnist_{part}.csv").rename(table / f"emnist-{split}-{part}.csv")
    as_csv, said = loaded(table)
    assert as_csv.classes == tuple(classes) and "images turned" in said[-1]
    np.testing.assert_array_equal(as_csv.train_images, as_idx.train_images)


# What is not certain


def test_of_several_idx_sets_one_is_named_by_a_file(tmp_path: Path) -> None:
    write(tmp_path / "set", "emnist-letters-", labels=range(1, 27))
    write(tmp_path / "set", "emnist-digits-", ".gz")
    said = refused(tmp_path / "set")
    assert (
        "expected one file of each kind, got IDX (emnist-digits-test-images-idx3-ubyte.gz …) and IDX (emnist-letters"
        in said
    )
    assert "; leave one set in the folder, or name one of its files" in said
    assert len(load(tmp_path / "set" / "emnist-letters-train-images-idx3-ubyte").classes) == 26
    assert len(load(tmp_path / "set" / "emnist-digits-test-labels-idx1-ubyte.gz").classes) == 10


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda path: write(path, "emnist-digits-"), "got IDX (emnist-digits-test-images-idx3-ubyte …) and IDX (t10k-"),
        (lambda path: (path / "mnist.pkl.gz").touch(), "got IDX (t10k-images-idx3-ubyte …) and mnist.pkl.gz"),
        (lambda path: write(path / "raw"), "and IDX (raw/t10k-images-idx3-ubyte …)"),
        (lambda path: draw(path / "cat", 1), "got IDX (t10k-images-idx3-ubyte …) and folder per class"),
    ],
)
def test_two_sets_in_one_folder_are_both_named(other: object, words: str, tmp_path: Path) -> None:
    other(write(tmp_path / "set"))  # type: ignore[operator]
    assert words in refused(tmp_path / "set")


def test_a_file_and_the_same_compressed_are_one(tmp_path: Path) -> None:
    """As torchvision leaves them; of two that differ none is guessed."""
    folder = write(write(tmp_path / "MNIST" / "raw"), suffix=".gz")
    assert len(load(tmp_path / "MNIST").train_labels) == 20
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx.encode(np.zeros((20, 28, 28), np.uint8))))
    assert (
        "expected one file of the train images, or the same one compressed beside it, got train-images-idx3-ubyte and "
        "train-images-idx3-ubyte.gz; leave one in the folder" in refused(folder)
    )


def test_idx_files_without_a_part(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", parts=1)
    data, said = loaded(folder)
    assert (len(data.train_labels), len(data.test_labels)) == (10, 10)
    assert (
        "10 training and 10 test images (no test part: a fifth of each class, at least one, set aside by seed 0) of 10"
    ) in said[-1]
    for part in ("images-idx3", "labels-idx1"):
        (folder / f"train-{part}-ubyte").rename(folder / f"t10k-{part}-ubyte")
    assert f"{folder}: no training part: the test files are all images" in loaded(folder)[1]
    (folder / "t10k-images-idx3-ubyte").unlink()
    assert "expected images and labels of the test part, got t10k-labels-idx1-ubyte alone" in refused(folder)


def test_idx_files_of_a_validation_part_are_stated(tmp_path: Path) -> None:
    folder = write(tmp_path / "set")
    (folder / "val-images-idx3-ubyte").write_bytes((folder / "t10k-images-idx3-ubyte").read_bytes())
    assert f"{folder}: left alone: val-images-idx3-ubyte" in loaded(folder)[1]
    for path in [*folder.glob("t*")]:
        path.unlink()
    assert "val-images-idx3-ubyte: expected files of train or test images beside it, got none" in refused(folder)


def test_emnist_without_test_files_is_split(tmp_path: Path) -> None:
    data, _ = loaded(write(tmp_path / "set", "emnist-letters-", labels=[*range(1, 27)] * 5, parts=1))
    assert len(data.classes) == 26 and np.bincount(data.test_labels).tolist() == [2] * 26


# Folders


@pytest.mark.parametrize(
    "names", [("train", "test"), ("training", "testing"), ("Train", "TEST"), ("training_set", "test_set")]
)
def test_parts_have_many_names(names: tuple[str, str], tmp_path: Path) -> None:
    for part, count in zip(names, (6, 2), strict=True):
        for name in ("cat", "dog"):
            draw(tmp_path / part / name, count)
    data, said = loaded(tmp_path)
    assert (data.classes, len(data.train_labels), len(data.test_labels)) == (("cat", "dog"), 12, 4)
    assert len(said) == 1


def test_a_part_that_is_named_alone_states_the_other(tmp_path: Path) -> None:
    for part in ("train", "test"):
        draw(tmp_path / part / "cat", 5), draw(tmp_path / part / "dog", 5)
    _, said = loaded(tmp_path / "train")
    assert said[0].endswith(f"left alone: {tmp_path / 'test'}; name the folder of both to test on it")
    assert len(loaded(tmp_path / "test")[1]) == 1


def test_the_own_validation_part_is_held_out(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("val", 3), ("test", 2)):
        for name in ("cat", "dog"):
            draw(tmp_path / part / name, count, {"train": 0, "val": 100, "test": 200}[part])
    data, said = loaded(tmp_path)
    assert (len(data.train_labels), data.validation, len(data.test_labels)) == (26, 6, 4)
    assert f"{tmp_path}: 6 of the 26 training images are the set's own validation part" in said
    held = {bytes(image) for image in data.train_images[-6:]}
    own = load(tmp_path / "val")
    assert held == {bytes(image) for image in (*own.train_images, *own.test_images)}
    for path in sorted((tmp_path / "test").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "test").rmdir()
    data, said = loaded(tmp_path)  # the test images are a fifth of those in train/
    assert (len(data.train_labels), data.validation, len(data.test_labels)) == (22, 6, 4)
    assert {bytes(image) for image in data.train_images[-6:]} == held
    assert any("22 training and 4 test images (no test part" in line for line in said)


def test_a_test_part_alone_is_all_images(tmp_path: Path) -> None:
    draw(tmp_path / "test" / "cat", 5), draw(tmp_path / "test" / "dog", 5)
    data, said = loaded(tmp_path)
    assert len(data.train_labels) + len(data.test_labels) == 10
    assert f"{tmp_path}: no training part: the images of test/ are all images" in said


def test_pictures_in_parts_without_classes_are_no_classes(tmp_path: Path) -> None:
    draw(tmp_path / "train", 4), draw(tmp_path / "test1", 4)
    assert "expected a folder per class, got pictures without classes in test1, train" in refused(tmp_path)
    draw(tmp_path / "car", 4)  # vehicles, one of which is a train
    (tmp_path / "test1").rename(tmp_path / "bus")
    assert load(tmp_path).classes == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: [draw(p / part / "cat", 2) for part in ("train", "Training")], "expected one folder of the train"),
        (
            lambda p: [draw(p / part / "cat", 2) for part in ("val", "test")],
            "expected a folder train beside val and test",
        ),
        (lambda p: [draw(p / "train" / "cat", 2), draw(p / "test" / "Cat", 2)], "the classes of train/, got Cat too"),
        (lambda p: [draw(p / "x" / "train" / "cat", 2)], "; name the folder x in it"),
        (lambda p: [draw(p / "a" / "b" / c, 2) for c in ("cat", "dog")], "; name the folder a/b in it"),
        (lambda p: [draw(p / "cat", 2), draw(p / "dog" / "small", 2)], "got folders of pictures; move the pictures up"),
        (lambda p: (p / "set.zip").write_bytes(b"PK\3\4"), "got set.zip; unpack the archive"),
        (lambda p: [draw(p / f"{number:04d}", 1) for number in range(1001)], "at most 1,000 classes, got 1001"),
    ],
    ids=[
        "two parts",
        "no training part",
        "capitals",
        "one level down",
        "two levels down",
        "two levels",
        "archive",
        "1,001 classes",
    ],
)
def test_folders_that_are_not_certain_are_refused_with_what_to_do(make: object, words: str, tmp_path: Path) -> None:
    make(tmp_path)  # type: ignore[operator]
    assert words in refused(tmp_path)


def test_what_lies_about_in_folders_does_not_matter(tmp_path: Path) -> None:
    draw(tmp_path / "猫", 5, name="照片 {}.PNG"), draw(tmp_path / "dog\u0301", 5, name="a\nb{}.png")
    for name in (".DS_Store", "README.md", "photos.zip", "猫/Thumbs.db", "猫/.DS_Store", "猫/._照片 0.PNG"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("file,label\nx.png,cat\n")
    draw(tmp_path / "__MACOSX" / "cat", 1), draw(tmp_path / ".cache", 1)
    (tmp_path / "more").symlink_to(tmp_path / "猫")
    (tmp_path / "猫" / "gone.png").symlink_to(tmp_path / "nowhere")
    data, said = loaded(tmp_path)
    assert data.classes == ("do\u01f5", "more", "猫") or data.classes == ("dog\u0301", "more", "猫")
    assert len(data.train_labels) + len(data.test_labels) == 15
    assert [line for line in said if "Thumbs" in line or "DS_Store" in line] == []
    assert sum("gone.png: expected a picture, got: No such file or directory; left out" in line for line in said) == 2


def test_opaque_pictures_with_an_alpha_channel_are_taken(tmp_path: Path) -> None:
    for path in [*draw(tmp_path / "a", 5).iterdir(), *draw(tmp_path / "b", 5).iterdir()]:
        Image.open(path).convert("RGBA").save(path)
    picture = Image.open(tmp_path / "a" / "0.png")
    picture.putalpha(127)
    picture.save(tmp_path / "a" / "0.png")
    data, said = loaded(tmp_path)
    assert len(data.train_labels) + len(data.test_labels) == 9
    assert "a/0.png: expected 8 bits a pixel without transparency, got mode RGBA; save it as grey; left out" in said[0]


def test_one_name_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    """macOS writes é as e and an accent, other systems as one character."""
    draw(tmp_path / "train" / "caf\u00e9", 4), draw(tmp_path / "train" / "tea", 4)
    draw(tmp_path / "test" / "cafe\u0301", 2), draw(tmp_path / "test" / "tea", 2)
    assert load(tmp_path).classes == ("caf\u00e9", "tea")


def test_every_stretch_of_a_folders_images_is_a_fair_sample(tmp_path: Path) -> None:
    """Numbered class by class, and taken one after the other: neither decides what is held out for validation."""
    draw(tmp_path / "cat", 50), draw(tmp_path / "dog", 50, first=100)
    labels = read_class_folders(tmp_path).train.labels
    assert [(labels[first : first + 10] == "cat").sum() for first in range(0, 100, 10)] == [5] * 10
    files = [*read_class_folders(tmp_path).files]
    last = [int(name.split("/")[1].split(".")[0]) % 100 for name in files[-20:]]
    assert min(last) < 10 and max(last) >= 40 and last != sorted(last)
    assert files == [*read_class_folders(tmp_path).files]


@pytest.mark.parametrize("form", ["NPZ", "CSV", "Parquet"])
def test_images_that_come_class_by_class_are_mixed(form: str, tmp_path: Path) -> None:
    images, labels = pattern(np.arange(100) // 10)
    if form == "NPZ":
        np.savez(tmp_path / "own.npz", x_train=images, y_train=labels)
    elif form == "CSV":
        write_csv(tmp_path / "csv", (images, labels, images[:10], labels[:10]))
    else:
        pictures = [{"bytes": png(image), "path": None} for image in images]
        pyarrow.parquet.write_table(pyarrow.table({"image": pictures, "label": labels}), tmp_path / "train.parquet")
    data, said = loaded(tmp_path / "csv" if form == "CSV" else tmp_path)
    last = data.train_labels[-20:]
    assert np.bincount(last, minlength=10).tolist() == [2] * 10
    by_image = {bytes(image): label for image, label in zip(images, labels.tolist(), strict=True)}
    assert [by_image[bytes(image)] for image in data.train_images] == data.train_labels.tolist()
    assert any("class by class: the training images are mixed by seed 0" in line for line in said)


def test_idx_files_keep_their_order(tmp_path: Path) -> None:
    """Runs of older releases, which knew no other data, go on."""
    folder = write(tmp_path / "set", labels=sorted([*range(10)] * 5))
    np.testing.assert_array_equal(load(folder).train_images, pattern(sorted([*range(10)] * 5) * 2)[0])


# Classes


def test_a_class_of_broken_pictures_is_reported(tmp_path: Path) -> None:
    for name in ("cat", "dog", "owl"):
        draw(tmp_path / name, 4)
    for path in (tmp_path / "owl").iterdir():
        path.write_bytes(b"broken")
    data, said = loaded(tmp_path)
    assert len(data.train_labels) + len(data.test_labels) == 8
    assert f"{tmp_path}: no images of class owl that can be used" in said


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([5, 900], ("5", "900")),
        ([0, 1, 2, 900], ("0", "1", "2", "900")),
        ([3, 7], ("3", "7")),
        ([19968, 20108, 19977], ("19968", "19977", "20108")),
        ([0, 1, 3, 4], ("0", "1", "2", "3", "4")),
        (range(1, 27), tuple(map(str, range(1, 27)))),
        ([2**40, 2**41], (str(2**40), str(2**41))),
    ],
)
def test_numbers_that_are_far_apart_are_classes_by_themselves(
    labels: Sequence[int], classes: tuple[str, ...], tmp_path: Path
) -> None:
    images, numbers = pattern(list(labels) * 5)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=numbers)
    data, said = loaded(tmp_path / "own.npz")
    assert data.classes == classes
    by_image = {bytes(image): str(number) for image, number in zip(images, numbers, strict=True)}
    for image, label in zip(data.train_images, data.train_labels, strict=True):
        assert by_image[bytes(image)] == data.classes[label]
    assert any("no images of class 2" in line for line in said) is (list(labels) == [0, 1, 3, 4])


@pytest.mark.parametrize(
    ("labels", "names", "first", "note"),
    [
        (range(1, 4), "abc", 1, "labels count from 1: the first of the 3 names is that of label 1"),
        (range(3), "abc", 0, None),
        (range(3), "abcde", 0, "no images of class d, e that can be used"),
        (range(1, 3), "abc", 0, "no images of class a that can be used"),
    ],
)
def test_names_of_a_file_are_those_of_labels_from_0_or_1(
    labels: range, names: str, first: int, note: str | None, tmp_path: Path
) -> None:
    images, numbers = pattern([*labels] * 5)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=numbers)
    (tmp_path / "classes.txt").write_text("\n".join(names))
    data, said = loaded(tmp_path / "own.npz")
    assert data.classes == tuple(names)
    by_image = {bytes(image): names[number - first] for image, number in zip(images, numbers, strict=True)}
    assert by_image[bytes(data.train_images[0])] == data.classes[data.train_labels[0]]
    assert said[:-1] == ([f"{tmp_path / 'own.npz'}: {note}"] if note else [])


def test_names_of_a_file_may_stand_behind_their_labels(tmp_path: Path) -> None:
    images, numbers = pattern([5, 900] * 5)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=numbers)
    (tmp_path / "classes.txt").write_text("900: big dog\n5 cat\n")
    assert load(tmp_path / "own.npz").classes == ("cat", "big dog")
    (tmp_path / "classes.txt").write_text("900: big dog\ncat\n")
    assert "expected a name for each label, got none for [5, 900]" in refused(tmp_path / "own.npz")


def test_classes_txt_names_numbered_folders_and_torchvisions(tmp_path: Path) -> None:
    draw(tmp_path / "set" / "0", 5), draw(tmp_path / "set" / "1", 5)
    (tmp_path / "set" / "classes.txt").write_text("cat\ndog\n")
    assert load(tmp_path / "set").classes == ("cat", "dog")
    (tmp_path / "set" / "0").rename(tmp_path / "set" / "owl")
    data, said = loaded(tmp_path / "set")
    assert data.classes == ("1", "owl")
    assert f"{tmp_path / 'set'}: classes.txt: left alone, as the labels are names" in said
    write(tmp_path / "own" / "raw", labels=range(2))
    (tmp_path / "own" / "classes.txt").write_text("shoe\nbag\n")
    assert load(tmp_path / "own").classes == ("shoe", "bag")
    (tmp_path / "own" / "classes.txt").rename(tmp_path / "own" / "raw" / "classes.txt")
    assert load(tmp_path / "own").classes == ("shoe", "bag")


# Scoring


def test_one_class_alone_can_be_scored_and_single_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "seven" / "7", 5)
    data, said = loaded(tmp_path / "seven", scored=True)
    assert data.classes == ("7",) and len(data.train_labels) + len(data.test_labels) == 5
    assert not any("set aside" in line for line in said)
    with pytest.raises(DataError, match="expected 2 to 1,000 classes, got 1"):
        load(tmp_path / "seven")
    draw(tmp_path / "two" / "3", 1), draw(tmp_path / "two" / "7", 1)
    data, _ = loaded(tmp_path / "two", scored=True)
    assert (len(data.train_labels), len(data.test_labels), dict(data.split)) == (0, 2, {})


# Tables


def header(names: Sequence[str]) -> str:
    return ",".join(names) + "\n"


def lines(images: np.ndarray, *columns: Iterable[object]) -> str:
    return "".join(
        ",".join([*map(str, image.ravel()), *map(str, rest)]) + "\n"
        for image, *rest in zip(images, *columns, strict=True)
    )


PIXELS = [f"pixel{number}" for number in range(784)]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ([*PIXELS, "label"], None),
        ([*PIXELS, "Class"], None),
        ([*map(str, range(784)), "label"], None),
        ([*[f"{row}x{column}" for row in range(1, 29) for column in range(1, 29)], "label"], None),
        ([*sorted(PIXELS), "label"], np.argsort([int(name[5:]) for name in sorted(PIXELS)])),
        (None, None),
    ],
    ids=["label last", "class", "numbers", "rows and columns", "sorted as text", "headerless, names last"],
)
def test_a_tables_columns_are_found_by_their_names(
    names: list[str] | None, order: np.ndarray | None, tmp_path: Path
) -> None:
    images, labels = digits()
    words = [f"class {label}" if names is None else label for label in labels]
    text = (header(names) if names else "") + lines(images, words)
    (tmp_path / "own.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    part = load(tmp_path / "own.csv", Reading(scored=True))
    found = np.concatenate([part.train_images, part.test_images])
    expected = images if order is None else images.reshape(20, 784)[:, order].reshape(20, 28, 28)
    assert sorted(map(bytes, found)) == sorted(map(bytes, expected))
    assert len(part.classes) == 10


def test_labels_that_pandas_wrote_as_fractions_are_whole(tmp_path: Path) -> None:
    images, labels = digits()
    (tmp_path / "own.csv").write_text(lines(images, labels.astype(float)).replace("\r", ""))
    table = [line.rsplit(",", 1) for line in (tmp_path / "own.csv").read_text().splitlines()]
    (tmp_path / "own.csv").write_text("".join(f"{label},{pixels}\n" for pixels, label in table))
    assert load(tmp_path / "own.csv").classes == tuple("0123456789")


def test_columns_beside_pixels_and_label_are_left_alone(tmp_path: Path) -> None:
    """Kannada-MNIST's test.csv has a column id, and no labels."""
    images, labels = digits()
    (tmp_path / "Train.CSV").write_text(header([*PIXELS, "label", "id"]) + lines(images, labels, range(20)))
    (tmp_path / "test.csv").write_text(header([*PIXELS, "id"]) + lines(images, range(20)))
    (tmp_path / "sample_submission.csv").write_text("id,label\n0,0\n")
    data, said = loaded(tmp_path)
    assert len(data.train_labels) + len(data.test_labels) == 20
    assert f"{tmp_path}: left alone: test.csv" in said


def test_a_column_of_words_is_left_alone_and_spaces_make_no_classes(tmp_path: Path) -> None:
    images, labels = digits()
    words = [f'" {"cat" if label % 2 else "dog, big"}{" " * int(label)}"' for label in labels]
    (tmp_path / "own.csv").write_text(header([*PIXELS, "label", "file"]) + lines(images, words, words))
    data, said = loaded(tmp_path / "own.csv")
    assert data.classes == ("cat", "dog, big")
    assert f"{tmp_path / 'own.csv'}: columns left alone: file" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0," + "0," * 783 + "3\n0," + "0," * 783 + "5\n", "put the labels first, or add a header that calls their"),
        (header(["label", *PIXELS]) + f"1{',7' * 784}\n{',7' * 784}\n", "expected a label in each line, got 1 without"),
        (f"1{',0.25' * 784}\n0{',0.5' * 784}\n", "column 2.; scale pixels to whole numbers of 0 to 255"),
        ("label;pixel0" + ";7" * 784, "found semicolons: save it with commas"),
    ],
    ids=["headerless, label last", "missing label", "fractions", "semicolons"],
)
def test_tables_that_would_be_read_wrong_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(text)
    assert words in refused(tmp_path / "own.csv")
    (tmp_path / "own.csv").write_bytes(text.encode("utf-16"))
    assert "got text in UTF-16: save it in UTF-8" in refused(tmp_path / "own.csv")


# Archives of NumPy


def test_medmnists_arrays(tmp_path: Path) -> None:
    images, labels = digits(60)
    parts = {"train": slice(30), "val": slice(30, 50), "test": slice(50, 60)}
    arrays = {f"{part}_images": images[chosen] for part, chosen in parts.items()}
    arrays |= {f"{part}_labels": labels[chosen, None] for part, chosen in parts.items()}
    np.savez(tmp_path / "pneumonia.npz", **arrays)  # type: ignore[arg-type]
    data = load(tmp_path / "pneumonia.npz")
    np.testing.assert_array_equal(data.train_images, images[:50])
    np.testing.assert_array_equal(data.test_labels, labels[50:])
    assert data.validation == 20


@pytest.mark.parametrize("names", [("x", "y"), ("Images", "Labels"), ("data", "target")])
def test_arrays_without_parts(names: tuple[str, str], tmp_path: Path) -> None:
    images, labels = digits()
    np.savez(tmp_path / "own.npz", **dict(zip(names, (images, labels), strict=True)))  # type: ignore[arg-type]
    data = load(tmp_path / "own.npz")
    assert len(data.train_labels) + len(data.test_labels) == 20


def test_pixels_from_0_to_1_are_refused_with_what_to_do(tmp_path: Path) -> None:
    images, labels = digits()
    np.savez(tmp_path / "own.npz", x_train=(images / 255).astype(np.float32), y_train=labels)
    assert "got float32; store pixels from 0 to 1 as (255 * x).round().astype('uint8')" in refused(tmp_path / "own.npz")
    np.savez(tmp_path / "own.npz", x_train=images, y_train=np.eye(10, dtype=int)[labels])
    assert "got int64 values of shape 20×10" in refused(tmp_path / "own.npz")
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels.astype(float))
    assert "got float64; store labels as whole numbers or str" in refused(tmp_path / "own.npz")


# Parquet


def write_table(path: Path, count: int, names: dict[str, list[str]], image: str = "image", **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images, labels = digits(count)
    values: dict[str, object] = {image: [{"bytes": png(each), "path": None} for each in images]}
    values |= columns or {"label": labels}
    features = {column: {"names": each, "_type": "ClassLabel"} for column, each in names.items()}
    table = pyarrow.table(values).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path)
    return path.parent


LETTERS = list("abcdefghij")


@pytest.mark.parametrize("form", ["data/{}-00000-of-00001.parquet", "mnist/{}-0.parquet", "default/{}/0000.parquet"])
def test_the_hubs_folders(form: str, tmp_path: Path) -> None:
    for part, count in (("train", 20), ("validation", 10), ("test", 10)):
        write_table(tmp_path / form.format(part), count, {"label": LETTERS})
    data = load(tmp_path)
    assert (len(data.train_labels), data.validation, len(data.test_labels)) == (30, 10, 10)
    assert data.classes == tuple(LETTERS)


def test_test_files_with_secret_labels_are_left_alone(tmp_path: Path) -> None:
    write_table(tmp_path / "train-0.parquet", 20, {"label": LETTERS})
    write_table(tmp_path / "test-0.parquet", 10, {"label": LETTERS}, label=[-1] * 10)
    data, said = loaded(tmp_path)
    assert len(data.train_labels) + len(data.test_labels) == 20
    assert f"{tmp_path}: left alone: the test files, whose labels are all -1" in said


@pytest.mark.parametrize("part", ["train-00001-of-00002", "validation", "test"])
def test_files_that_name_classes_otherwise_are_refused(part: str, tmp_path: Path) -> None:
    """A label would be another class there; a file without names has those of the others."""
    write_table(tmp_path / "train-00000-of-00002.parquet", 20, {"label": LETTERS})
    write_table(tmp_path / f"{part}.parquet", 10, {})
    assert load(tmp_path).classes == tuple(LETTERS)
    write_table(tmp_path / f"{part}.parquet", 10, {"label": LETTERS[::-1]})
    expected = f"{part}.parquet: expected the same names of classes in all files, got {', '.join(LETTERS)} and j, i, h"
    assert expected in refused(tmp_path)


@pytest.mark.parametrize("name", ["own", "test-set"])
def test_a_table_of_no_part_is_stated(name: str, tmp_path: Path) -> None:
    """The name of the set's own folder is no part's."""
    folder = write_table(tmp_path / name / "own.parquet", 20, {})
    assert len(loaded(folder)[0].train_labels) == 10
    (folder / "own.parquet").rename(folder / "train.parquet")
    write_table(folder / "more.parquet", 10, {})
    assert f"{folder}: left alone: more.parquet" in loaded(folder)[1]


def test_two_of_the_hubs_configurations_are_named(tmp_path: Path) -> None:
    for name in ("letters", "digits"):
        write_table(tmp_path / name / "train-0.parquet", 10, {})
    assert "expected one set, got those in digits and letters; name one of these folders" in refused(tmp_path)
    assert len(load(tmp_path / "letters", Reading(scored=True)).classes) == 10


def test_columns_of_other_names(tmp_path: Path) -> None:
    """As CIFAR-100 has them."""
    labels, coarse = np.arange(20) % 10, np.arange(20) % 2
    names = {"fine_label": LETTERS, "coarse_label": ["x", "y"]}
    write_table(tmp_path / "train.parquet", 20, names, "img", fine_label=labels, coarse_label=coarse)
    data, said = loaded(tmp_path)
    assert data.classes == tuple(LETTERS)
    assert f"{tmp_path}: labels are those of the column fine_label; left alone: coarse_label" in said
    write_table(tmp_path / "train.parquet", 20, names, "img", coarse_label=coarse, digit=labels, letter=labels)
    assert load(tmp_path).classes == ("x", "y")
    write_table(tmp_path / "train.parquet", 20, {}, "img", digit=labels, letter=labels)
    assert "expected one column label, got digit, letter; rename one to label" in refused(tmp_path / "train.parquet")
