"""Sets of IDX files by the names of MNIST and near ones (KMNIST, Fashion-MNIST), of EMNIST or QMNIST."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import one_line
from common.files import open_file
from data.formats import idx
from data.formats.idx import Bytes, DataError
from data.formats.labelled import Labelled, Labels, Part, checked, read_names

# train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, train_images.bin, emnist-letters-test-labels-idx1-ubyte,
# qmnist-test-labels-idx2-int
NAME = re.compile(
    r"((?P<title>.+?)[-_. ])?(?P<part>train|t10k|test|val|valid|validation)[-_. ]?(?P<what>images|labels)"
    r"([-_. ]?idx[123])?([-_. ]?(ubyte|int))?(\.bin|\.idx)?(\.gz)?",
    re.IGNORECASE,
)
# torchvision keeps the files in ROOT/FashionMNIST/raw, EMNIST's archive in gzip.
PARTS = {"train": "train", "t10k": "test", "test": "test"}
PLACES = ("*", "raw/*", "*/raw/*", "gzip/*")


@dataclass(frozen=True)
class IdxSet:
    """Files of one set in one folder.

    Attributes:
        folder: with the files.
        title: the beginning of their names, as "emnist-letters"; "" for MNIST's names.
        files: by part, train or test, and contents, images or labels.
    """

    folder: Path
    title: str
    files: dict[tuple[str, str], list[Path]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The set by whose names the files are called: EMNIST, QMNIST or MNIST."""
        return next((name for name in ("EMNIST", "QMNIST") if self.title.startswith(name.lower())), "MNIST")

    @property
    def first(self) -> Path:
        """The first file, which names the set."""
        return min(path for paths in self.files.values() for path in paths)

    def file(self, part: str, what: str) -> Path | None:
        """The file of a part and contents; None if there is none.

        Raises:
            DataError: there are several, other than a file and the same compressed.
            OSError: a file cannot be read.
        """
        paths = sorted(self.files.get((part, what), []), key=lambda path: len(path.name))
        if len(paths) > 2 or (len(paths) == 2 and not _is_compressed(*paths)):
            names = one_line(" and ".join(path.name for path in paths), 150)
            raise DataError(
                f"{one_line(self.folder)}: expected one file of the {part} {what}, or the same one compressed beside "
                f"it, got {names}; leave one in the folder"
            )
        return paths[0] if paths else None


def idx_sets_in(path: Path) -> list[IdxSet]:
    """The sets in a folder and in torchvision's folders below it; of a set's file, that set alone."""
    found: dict[tuple[Path, str], IdxSet] = {}
    for place in PLACES if path.is_dir() else PLACES[:1]:
        for file in sorted((path if path.is_dir() else path.parent).glob(place)):
            match = NAME.fullmatch(file.name)
            if match and not file.is_dir() and not file.name.startswith("."):
                title = (match["title"] or "").lower()
                each = found.setdefault((file.parent, title), IdxSet(file.parent, title))
                part = PARTS.get(match["part"].lower(), "validation")
                each.files.setdefault((part, match["what"].lower()), []).append(file)
    return [each for each in found.values() if path.is_dir() or any(path in files for files in each.files.values())]


def read_idx_set(found: IdxSet, root: Path) -> Labelled:
    """Read a set; EMNIST's images, which have rows and columns exchanged, are turned.

    Args:
        found: from `idx_sets_in`.
        root: folder that the user named, in which names of the classes may lie too.

    Raises:
        DataError: images without labels, labels without images, two files for one, or a broken one.
        OSError: a file cannot be read.
    """
    parts: dict[str, Part] = {}
    for part in ("train", "test"):
        images, labels = (found.file(part, what) for what in ("images", "labels"))
        if images and labels:
            parts[part] = _part(images, labels, turned=found.name == "EMNIST")
        elif images or labels:
            raise DataError(
                f"{one_line(found.folder)}: expected images and labels of the {part} part, got "
                f"{one_line((images or labels or found.first).name, 100)} alone; add the other file"
            )
    if not parts:
        raise DataError(
            f"{one_line(found.first)}: expected files of train or test images beside it, got none; rename it"
        )
    train, test = parts.get("train"), parts.get("test")
    held = sorted(path.name for (part, _), paths in found.files.items() if part == "validation" for path in paths)
    notes = (f"left alone: {one_line(', '.join(held), 100)}",) if held else ()
    if train is None:
        train, test, notes = parts["test"], None, (*notes, "no training part: the test files are all images")
    place = "" if found.folder == root else f" in {one_line(found.folder, 100)}"
    turned = ", images turned" if found.name == "EMNIST" else ""
    names = read_names(found.folder, found.title) or read_names(root, found.title)
    return Labelled(train, test, f"IDX by {found.name}'s names{place}{turned}", names, file=found.first, notes=notes)


def _part(image_file: Path, label_file: Path, turned: bool) -> Part:
    images: Bytes = idx.read_images(image_file, idx.LARGEST_SET)
    is_table = "idx2" in label_file.name
    labels: Labels = idx.read_qmnist_labels(label_file) if is_table else idx.read_labels(label_file, most=255)
    # Exchanged as a view: no second copy.
    return checked(one_line(image_file), images.transpose(0, 2, 1) if turned else images, labels)


def _is_compressed(path: Path, compressed: Path) -> bool:
    """True if the second file is the first one with .gz, by the sum and size at its end (RFC 1952, section 2.3.1)."""
    if compressed.name != path.name + ".gz":
        return False
    with open_file(compressed) as file:
        file.seek(max(0, file.seek(0, 2) - 8))
        trailer = file.read(8)
    total = size = 0
    with open_file(path) as file:
        while chunk := file.read(1 << 20):
            total, size = zlib.crc32(chunk, total), size + len(chunk)
    return trailer == struct.pack("<II", total, size % (1 << 32))
