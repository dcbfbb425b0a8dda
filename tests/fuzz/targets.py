"""The readers of foreign bytes, each as a function that takes any bytes and may raise nothing but a UserError.

A reader gets the bytes where a stranger could put them: as a file's content, in a folder whose other files are right,
and behind checksums that fit, so that what lies after the checks is tried too.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import safetensors.numpy
from PIL import Image

from common.checksummed import dump_checksummed, parse_object
from common.errors import UserError
from common.files import sha256
from data.formats.idx import encode, read_images, read_labels, read_pickle, read_qmnist_labels
from data.formats.labelled import NAMES_FILE
from data.formats.pictures import decode_as_it_is
from data.load import load
from model.program_check import check_program
from model.saved_model import CARD, read_model
from recognition.digit import to_mnist
from recognition.picture import Limits, read_picture
from results import checkpoint
from results.log import ResultsLog, StepsLog, read_results, read_steps
from results.predictions import read_predictions, write_predictions
from results.records import Row, Step
from results.run_folder import RunFolder
from tests.models import write_model
from training.same_run import resumed
from training.settings import Settings, to_json


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        read: tries it on any bytes, with a folder for its files; raises UserError or nothing.
        seeds: good inputs, from which to depart.
    """

    read: Callable[[bytes, Path], object]
    seeds: Callable[[Path], list[bytes]]


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for the readers' files, in memory if the system has such a place."""
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def _file(data: bytes, folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


# data.formats.idx: raw and gzip, images and labels; the pickle behind a sum that fits, as itself and compressed.


def _read_idx(data: bytes, folder: Path) -> None:
    path = _file(data, folder)
    for read in (read_images, read_labels, read_qmnist_labels):
        with contextlib.suppress(UserError):
            read(path)


def _idx_seeds(folder: Path) -> list[bytes]:
    images, labels = encode(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)), encode(np.arange(7, dtype=np.uint8))
    table = struct.pack(">6I", 0x0C02, 2, 2, 3, 1, 4)
    return [images, labels, table, *(gzip.compress(each, mtime=0) for each in (images, labels, table))]


def _read_pickle(data: bytes, folder: Path) -> None:
    for content in (data, gzip.compress(data, 1, mtime=0)):
        with contextlib.suppress(UserError):
            read_pickle(_file(content, folder), sha256(content))


def _pickle_seeds(folder: Path) -> list[bytes]:
    pair = np.zeros((1, 784), np.float32), np.zeros(1, np.int64)
    return [pickle.dumps((pair, pair, pair), protocol=protocol) for protocol in (1, 2)]


# data.load: a file of each format, found from the content.


def _load(data: bytes, folder: Path) -> None:
    load(_file(data, folder))


def _labelled() -> tuple[np.ndarray, np.ndarray]:
    """Two images of one class and one of another, of few levels: short inputs are tried fast."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 7:21, 7:21] = np.random.default_rng(0).integers(0, 10, (3, 14, 14))
    return images, np.array([0, 0, 1])


def _archive(save: Callable[..., None] = np.savez, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _npz_seeds(folder: Path) -> list[bytes]:
    images, labels = _labelled()
    parts = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    medmnist = {"train_images": images, "train_labels": labels[:, None], "val_images": images, "val_labels": labels}
    names = np.array(["cat", "cat", "dog"])
    return [
        _archive(np.savez_compressed, **parts),
        _archive(np.savez_compressed, **medmnist),
        _archive(images=images, labels=names),
    ]


def _csv_seeds(folder: Path) -> list[bytes]:
    images, labels = _labelled()
    lines = [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]
    header = ",".join(["label", *(str(number) for number in range(784))])
    return ["\n".join(lines).encode(), "\n".join([header, *lines]).encode()]


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _parquet_seeds(folder: Path) -> list[bytes]:
    images, labels = _labelled()
    pictures = [{"bytes": _png(image), "path": None} for image in images]
    hub = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    tables = [
        pyarrow.table({"image": pictures, "label": labels}),
        pyarrow.table({"picture": [each["bytes"] for each in pictures], "target": ["a", "a", "b"]}),
        pyarrow.table({"image": pictures, "label": labels}).replace_schema_metadata({"huggingface": json.dumps(hub)}),
    ]
    found = []
    for number, table in enumerate(tables):
        file = io.BytesIO()  # without Arrow's own copy of the schema the metadata can be read, and changed
        pyarrow.parquet.write_table(table, file, store_schema=number < 2, row_group_size=2)
        found.append(file.getvalue())
    return found


def _decode_as_it_is(data: bytes, folder: Path) -> None:
    decode_as_it_is(data)


_PICTURE = _png(np.zeros((28, 28), np.uint8))


def _small_picture_seeds(folder: Path) -> list[bytes]:
    found = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"):
        file = io.BytesIO()
        Image.fromarray(_labelled()[0][0]).save(file, kind)
        found.append(file.getvalue())
    return found


# data.load: EMNIST's folder, of which the first byte says which of the five files is changed.

_EMNIST = [
    *(
        f"emnist-letters-{part}-{kind}"
        for part in ("train", "test")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ),
    "emnist-letters-mapping.txt",
]


def _emnist_files() -> list[bytes]:
    images, labels = _labelled()
    arrays = [encode(images), encode((labels + 1).astype(np.uint8))] * 2
    return [*arrays, b"1 65 97\n2 66 98\n"]


_EMNIST_FILES = _emnist_files()


def _read_emnist(data: bytes, folder: Path) -> None:
    _read_changed(_EMNIST, _EMNIST_FILES, data, folder)


def _emnist_seeds(folder: Path) -> list[bytes]:
    return [bytes([number]) + content for number, content in enumerate(_EMNIST_FILES)]


# data.load: KMNIST's folder of archives, and a list of the names; the first byte says which file is changed.

_KMNIST = [*(f"kmnist-{part}-{kind}.npz" for part in ("train", "test") for kind in ("imgs", "labels")), NAMES_FILE]


def _kmnist_files() -> list[bytes]:
    images, labels = _labelled()
    return [*[_archive(np.savez_compressed, arr_0=array) for array in (images, labels)] * 2, b"cat\ndog\n"]


def _read_kmnist(data: bytes, folder: Path) -> None:
    _read_changed(_KMNIST, _KMNIST_FILES, data, folder)


def _kmnist_seeds(folder: Path) -> list[bytes]:
    return [*(bytes([number]) + content for number, content in enumerate(_KMNIST_FILES)), b"\x040 cat\n1: dog\n"]


def _read_changed(names: list[str], contents: list[bytes], data: bytes, folder: Path) -> None:
    chosen = (data or b"\0")[0] % len(names)
    for number, (name, content) in enumerate(zip(names, contents, strict=True)):
        (folder / name).write_bytes(data[1:] if number == chosen else content)
    load(folder)


_KMNIST_FILES = _kmnist_files()


# data.load: a folder per class, in which one file has a name of up to 8 bytes and contents that are changed.


def _read_class_folder(data: bytes, folder: Path) -> None:
    name = os.fsdecode(data[:8].translate(None, b"/\0")).strip(".")
    shutil.rmtree(folder / "set" / "b", ignore_errors=True)
    for each in ("a", "b"):
        (folder / "set" / each).mkdir(parents=True, exist_ok=True)
    for path, content in {"a/1": _PICTURE, "a/2": _PICTURE, "b/3": _PICTURE, f"b/{name}": data[8:]}.items():
        (folder / "set" / f"{path}.png").write_bytes(content)
    load(folder / "set")


def _class_folder_seeds(folder: Path) -> list[bytes]:
    return [f"{number:08d}".encode() + content for number, content in enumerate(_small_picture_seeds(folder))]


# recognition.picture, and what makes a digit of it.


def _read_picture(data: bytes, folder: Path) -> None:
    to_mnist(read_picture(data, Limits(max_pixels=100_000)))


def _picture_seeds(folder: Path) -> list[bytes]:
    drawn = np.full((24, 20), 255, np.uint8)
    drawn[4:20, 9:12] = 0
    seeds: list[tuple[str, str, dict[str, Any]]] = []
    for mode, kind in [("L", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("P", "GIF"), ("1", "PPM"), ("L", "JPEG")]:
        seeds.append((mode, kind, {}))
    seeds += [("CMYK", "TIFF", {}), ("RGB", "BMP", {}), ("L", "TIFF", {"compression": "tiff_lzw"}), ("RGB", "WEBP", {})]
    seeds += [("RGB", "TGA", {}), ("RGB", "PCX", {}), ("L", "SGI", {}), ("RGB", "ICO", {"sizes": [(20, 24)]})]
    found = []
    for mode, kind, options in seeds:
        file = io.BytesIO()
        Image.fromarray(drawn).convert(mode).save(file, kind, **options)
        found.append(file.getvalue())
    return found


# results.log


def _read_results(data: bytes, folder: Path) -> None:
    for read in (read_results, read_steps, ResultsLog, StepsLog):
        with contextlib.suppress(UserError):
            read(_file(data, folder))


def _results_seeds(folder: Path) -> list[bytes]:
    four: dict[str, Any] = {"loss": 0.1, "correct": 9, "total": 10, "accuracy": 0.9}
    scores = {f"{images}_{name}": value for images in ("validation", "test") for name, value in four.items()}
    plain: dict[str, Any] = {
        "train_loss": 0.5,
        "train_accuracy": 0.25,
        "learning_rate": 1e-3,
        "seconds": 2.5,
        "images_per_second": 9.0,
    }
    results, steps = ResultsLog(folder / "results"), StepsLog(folder / "steps")
    for number in (1, 2):
        results.append(Row(run="a", pass_number=number, best=number == 1, **plain, **scores))
        steps.append(Step(pass_number=1, step=number, loss=0.5, accuracy=0.25, learning_rate=0.1))
    return [results.path.read_bytes(), steps.path.read_bytes()]


# results.checkpoint: each of its files, the others right; behind sums that fit.


def _read_checkpoint(data: bytes, folder: Path) -> None:
    """The first byte says which of the four files the others are."""
    name = (checkpoint.MANIFEST, *_CHECKPOINT)[(data or b"\0")[0] % 4]
    contents = {**_CHECKPOINT, name: _resealed(data[1:])}
    if name != checkpoint.MANIFEST:
        contents[checkpoint.MANIFEST] = _manifest({**_CHECKPOINT, name: contents[name]})
    here = folder / "0001-000002"
    here.mkdir(exist_ok=True)
    for name, content in contents.items():
        (here / name).write_bytes(content)
    checkpoint.load_checkpoint(folder)


_CHECKPOINT = {
    checkpoint.STATE: safetensors.numpy.save({"a": np.zeros((2, 3), np.float32), "b": np.ones((), np.int64)}),
    checkpoint.PROGRESS: b'{"passes": 1, "steps": 2}',
    checkpoint.LOG: b"",
}


def _manifest(contents: dict[str, bytes]) -> bytes:
    return dump_checksummed({name: {"bytes": len(data), "sha256": sha256(data)} for name, data in contents.items()})


def _checkpoint_seeds(folder: Path) -> list[bytes]:
    contents = (_manifest(_CHECKPOINT), *_CHECKPOINT.values())
    return [bytes([number]) + content for number, content in enumerate(contents)]


def _resealed(data: bytes) -> bytes:
    """JSON with a seal that fits, if `data` is any; else `data`."""
    try:
        return dump_checksummed(parse_object(data))
    except (ValueError, RecursionError):
        return data


# model.saved_model: the card.


def _read_card(data: bytes, folder: Path) -> None:
    model = folder / "model"
    if not model.exists():
        write_model(model, b"program", b"parameters", _CARD)
    (model / CARD).write_bytes(_resealed(data))
    read_model(model)


_CARD = {
    "input": {"name": "image", "shape": [-1, 1, 28, 28], "low": 0.0, "high": 1.0, "fit": "none"},
    "labels": [str(digit) for digit in range(10)],
    "scores": {"test": {"loss": 0.1, "correct": 9, "total": 10}},
}


def _card_seeds(folder: Path) -> list[bytes]:
    write_model(folder / "model", b"program", b"parameters", _CARD)
    return [(folder / "model" / CARD).read_bytes()]


# model.program_check: program and parameters of a model.

_SAMPLE = Path(__file__).parents[1] / "samples" / "c93bf08" / "run" / "inference_model"


def _check_program(data: bytes, folder: Path) -> None:
    check_program(data, read_model(_SAMPLE).parameters, "image", [-1, 1, 28, 28])


def _program_seeds(folder: Path) -> list[bytes]:
    return [read_model(_SAMPLE).program]


def _check_parameters(data: bytes, folder: Path) -> None:
    check_program(read_model(_SAMPLE).program, data, "image", [-1, 1, 28, 28])


def _parameter_seeds(folder: Path) -> list[bytes]:
    return [read_model(_SAMPLE).parameters]


# results.run_folder and training.settings: run.json; results.predictions.


def _read_record(data: bytes, folder: Path) -> None:
    (folder / "run.json").write_bytes(_resealed(data))
    resumed(folder, lambda settings: settings)


def _record_seeds(folder: Path) -> list[bytes]:
    run = RunFolder(folder)
    run.write_record({"run": "a", "settings": to_json(Settings(passes=3, maps=(20, 50)))})
    return [run.record.read_bytes()]


def _read_answers(data: bytes, folder: Path) -> None:
    read_predictions(_file(data, folder))


def _answers_seeds(folder: Path) -> list[bytes]:
    write_predictions(folder / "answers", np.arange(5), np.arange(5))
    return [(folder / "answers").read_bytes()]


TARGETS = {
    "idx": Target(_read_idx, _idx_seeds),
    "pickle": Target(_read_pickle, _pickle_seeds),
    "npz": Target(_load, _npz_seeds),
    "csv": Target(_load, _csv_seeds),
    "parquet": Target(_load, _parquet_seeds),
    "emnist": Target(_read_emnist, _emnist_seeds),
    "kmnist": Target(_read_kmnist, _kmnist_seeds),
    "class_folder": Target(_read_class_folder, _class_folder_seeds),
    "small_picture": Target(_decode_as_it_is, _small_picture_seeds),
    "picture": Target(_read_picture, _picture_seeds),
    "results": Target(_read_results, _results_seeds),
    "checkpoint": Target(_read_checkpoint, _checkpoint_seeds),
    "card": Target(_read_card, _card_seeds),
    "program": Target(_check_program, _program_seeds),
    "parameters": Target(_check_parameters, _parameter_seeds),
    "record": Target(_read_record, _record_seeds),
    "answers": Target(_read_answers, _answers_seeds),
}


def run_once(target: Target, data: bytes, folder: Path) -> None:
    """Try bytes on a reader; a UserError of one line is how it shall refuse them.

    Raises:
        Exception: whatever else the reader raised.
    """
    try:
        target.read(data, folder)
    except UserError as error:
        if len(str(error).splitlines()) > 1:
            raise AssertionError(f"an error of several lines: {error}") from error


def seeds(name: str) -> list[bytes]:
    """Good inputs of a target, and the found cases that are kept in corpus/."""
    with scratch() as folder:
        kept = Path(__file__).parent / "corpus" / name
        good = TARGETS[name].seeds(Path(folder))
        return [*good, *(path.read_bytes() for path in sorted(kept.glob("*")))]
