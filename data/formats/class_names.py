"""Names of the classes of known sets that come without a list of them."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data.formats.labelled import Labelled, texts

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# k49_classmap.csv of Kuzushiji-49
HIRAGANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわゐゑをんゝ"
DIGITS, CAPITALS = string.digits, string.ascii_uppercase
MERGED = DIGITS + CAPITALS + "abdefghnqrt"  # letters whose small and capital forms differ (Cohen et al. 2017, EMNIST)

# First labels of MNIST's training and test images, and of Fashion-MNIST's -> names of the classes.
BEGINNINGS: dict[tuple[int, ...], Sequence[str]] = {
    tuple(map(int, labels)): names
    for names, sets in (
        (DIGITS, ("5041921314353617", "7210414959069015")),
        (FASHION, ("9003027255095579", "9211614657457341")),
    )
    for labels in sets
}
# Names of sets, as files and folders have them -> names of the classes, the first one's label.
SETS: dict[str, tuple[Sequence[str], int]] = {
    r"(zalando[-_ ]?)?fashion[-_ ]?mnist|fmnist": (FASHION, 0),
    r"kmnist|kuzushiji[-_ ]?mnist|kuzushiji10": ("おきすつなはまやれを", 0),
    r"k49|kuzushiji[-_ ]?49|kmnist[-_ ]?49": (HIRAGANA, 0),
    r"q?mnist|emnist[-_ ](digits|mnist)": (DIGITS, 0),
    r"emnist[-_ ]letters": (CAPITALS, 1),
    r"emnist[-_ ](balanced|bymerge)": (MERGED, 0),
    r"emnist[-_ ]byclass": (DIGITS + CAPITALS + string.ascii_lowercase, 0),
}
# What may follow: fashion-mnist_train.csv, kmnist-train-imgs.npz, emnist-letters-train-images-idx3-ubyte.gz
REST = r"([-_. ]?(train|test|t10k|raw|master|main|data|dataset|labels|images|imgs|idx\d|ubyte|csv|png))*(\.\w+)*"


def named(found: Labelled) -> Labelled:
    """A data set with the names of its classes if it has none and is a known one.

    A set is known by its first 16 labels; else by the name of its file, of the folder or of that folder's parent. The
    nearest that names a set counts, if the labels of the training images are those of the named set, all of them.
    """
    if found.names:
        return found
    labels = texts(found.train.labels)
    present = np.unique(labels).tolist()
    if present == list(range(10)) and (names := BEGINNINGS.get(tuple(labels[:16].tolist()))):
        return _with_names(found, dict(enumerate(names)))
    for part in reversed(found.file.absolute().parts[-3:] if found.file else ()):
        for pattern, (names, first) in SETS.items():
            if re.fullmatch(f"({pattern}){REST}", part, re.IGNORECASE):
                known = dict(enumerate(names, first))
                return _with_names(found, known) if list(known) == present else found
    return found


def _with_names(found: Labelled, names: dict[int, str]) -> Labelled:
    return replace(found, train=found.train.numbered(), test=found.test and found.test.numbered(), names=names)
