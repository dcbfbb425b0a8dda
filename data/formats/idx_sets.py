"""Folders of IDX files under the names of EMNIST, QMNIST, and MNIST with any labels (KMNIST, Fashion-MNIST)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import one_line
from data.formats import idx
from data.formats.idx import Bytes, DataError
from data.formats.labelled import Labelled, Labels, Part, checked, read_names

# Names of the four files, without .gz; * is a part of EMNIST: letters, digits, balanced, byclass, bymerge, mnist.
NAMES = {
    "EMNIST": [
        f"emnist-*-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ],
    "QMNIST": [
        f"qmnist-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")
    ],
    "MNIST": [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")],
}

# SHA-256 of uncompressed training labels -> names of the classes, for sets that come without a list of them.
FASHION_LABELS = "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def idx_set_in(folder: Path) -> str:
    """The set whose four files a folder has by name: EMNIST, QMNIST or MNIST; empty if it has none."""
    return next((name for name in NAMES if all(_matches(folder, pattern) for pattern in NAMES[name])), "")


def read_idx_set(folder: Path, name: str) -> Labelled:
    """Read the four files of a set; EMNIST's images, which have rows and columns exchanged, are turned.

    Args:
        folder: with the files.
        name: from `idx_set_in`.

    Raises:
        DataError: two files for one, or a broken one.
        OSError: a file cannot be read.
    """
    paths = []
    for pattern in NAMES[name]:
        found = _matches(folder, pattern)
        if len(found) > 1:
            names = one_line(", ".join(path.name for path in found), 150)
            raise DataError(
                f"{one_line(folder)}: expected one file {pattern}, got {names}; leave one set in the folder"
            )
        paths += found
    parts = []
    for image_file, label_file in (paths[:2], paths[2:]):
        images: Bytes = idx.read_images(image_file, idx.LARGEST_SET)
        if name == "EMNIST":
            images = images.transpose(0, 2, 1)  # a view: no second copy
        parts.append(_part(image_file, images, label_file))
    names_of = read_names(folder)
    if not names_of and idx.checksum(parts[0].labels.astype(np.uint8)) == FASHION_LABELS:
        names_of = dict(enumerate(FASHION_NAMES))
    turned = ", images turned" if name == "EMNIST" else ""
    return Labelled(parts[0], parts[1], f"IDX by {name}'s names{turned}", names_of)


def _part(image_file: Path, images: Bytes, label_file: Path) -> Part:
    labels: Labels
    if "-idx2-" in label_file.name:
        labels = idx.read_qmnist_labels(label_file)
    else:
        labels = idx.read_labels(label_file, most=255)
    return checked(one_line(image_file), images, labels)


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Files of a name, one with and without .gz counted once."""
    found = {
        path.name.removesuffix(".gz"): path for path in sorted([*folder.glob(pattern), *folder.glob(pattern + ".gz")])
    }
    return list(found.values())
