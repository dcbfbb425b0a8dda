"""NumPy's archives: Keras' mnist.npz with x_train …, MedMNIST's with train_images …, KMNIST's of one array a file."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from common.errors import one_line
from common.files import open_file
from data.formats.idx import LARGEST_SET, DataError
from data.formats.labelled import SIDE, Labelled, Part, checked, files_in, read_names

# Images and labels of the training part, of the test part, and of the validation part.
KERAS = ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val")
PAIRS = (("x", "y"), ("images", "labels"), ("data", "labels"), ("data", "target"))  # without parts
MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels")
PARTS = ("train-imgs", "train-labels", "test-imgs", "test-labels")  # kmnist-train-imgs.npz …


def read_npz(path: Path) -> Labelled:
    """Read a file of x_train, y_train and perhaps others of `KERAS`, or of `MEDMNIST`; or a folder of KMNIST's four.

    Raises:
        DataError: missing or extra arrays, arrays of objects, or more than 1 GiB.
        OSError: a file cannot be read.
    """
    where, file = one_line(path), path
    if path.is_dir():
        found = {part: [each for each in files_in(path, ".npz") if each.stem.endswith(part)] for part in PARTS}
        if any(len(files) != 1 for files in found.values()):
            names = one_line(", ".join(each.name for each in files_in(path, ".npz")), 100)
            raise DataError(f"{where}: expected one file *{'.npz, one *'.join(PARTS)}.npz, got {names}; name one file")
        arrays = {name: _arrays(found[part][0], ("arr_0",))["arr_0"] for name, part in zip(KERAS, PARTS, strict=False)}
        file = found[PARTS[0]][0]
    else:
        arrays = _arrays(path, KERAS, MEDMNIST, *PAIRS)
    pairs = dict(zip(KERAS[::2], KERAS[1::2], strict=True))
    if "x_train" not in arrays or any((images in arrays) != (labels in arrays) for images, labels in pairs.items()):
        raise DataError(
            f"{where}: expected {', '.join(KERAS[:4])} (the last two may be missing), got "
            f"{one_line(', '.join(arrays), 100) or 'none'}; without labels, infer.py reads pictures"
        )
    parts = {
        images: checked(f"{where}: {images}", arrays[images], arrays[labels])
        for images, labels in pairs.items()
        if images in arrays
    }
    train, validation = parts["x_train"], parts.get("x_val")
    if validation:
        images: list[Any] = [train.images, validation.images]
        train = Part(np.concatenate(images), np.concatenate([train.labels, validation.labels]))
    return Labelled(
        train,
        parts.get("x_test"),
        "NPZ",
        read_names(file.parent),
        validation=len(validation.labels) if validation else 0,
        file=file,
    )


def _arrays(path: Path, *choices: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an archive by the names of the first choice; the archive has those of any one, in capitals or not."""
    where = one_line(path)
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = {name.removesuffix(".npy").lower(): name for name in archive.namelist() if name.endswith(".npy")}
            wanted = next((names for names in choices if all(name in members for name in names[:2])), ())
            if not wanted:
                got = one_line(", ".join(archive.namelist()), 100)
                hint = (
                    "; name them so, or use infer.py for pictures without labels"
                    if members
                    else "; unpack an archive of other files"
                )
                raise DataError(f"{where}: expected arrays {', '.join(choices[0])}, got {got or 'none'}{hint}")
            arrays = {}
            for name, member_name in zip(choices[0], wanted, strict=False):
                if member_name in members:
                    with archive.open(members[member_name]) as member:
                        arrays[name] = _array(f"{where}: {member_name}", member)
            return arrays
    except DataError:
        raise
    except Exception as error:  # a hostile archive makes zipfile and NumPy raise whatever they find first
        if isinstance(error, OSError) and error.filename:
            raise
        raise DataError(f"{where}: expected NumPy's archive, got: {one_line(error, 120)}") from error


def _array(where: str, file: IO[bytes]) -> npt.NDArray[Any]:
    """Read one array, its size checked before its memory is asked for; objects are never unpickled."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{where}: expected version 1 or 2 of NumPy's format, got {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.kind not in "iuU" or dtype.itemsize > 400 or dtype.hasobject:
        if len(shape) > 2 or (len(shape) == 2 and shape[1] == SIDE * SIDE):
            hint = "pixels from 0 to 1 as (255 * x).round().astype('uint8')"
        else:
            one_hot = len(shape) == 2 and shape[1] > 1
            hint = "one-hot labels y as y.argmax(1)" if one_hot else "labels as whole numbers or str"
        raise DataError(f"{where}: expected whole numbers or names, got {one_line(dtype, 60)}; store {hint}")
    size = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or size > LARGEST_SET:
        raise DataError(f"{where}: expected at most {LARGEST_SET} bytes, got a header that announces {size}")
    data = bytearray()
    while len(data) < size and (piece := file.read(min(1 << 20, size - len(data)))):
        data += piece
    if len(data) < size or file.read(1):
        raise DataError(f"{where}: expected {size} bytes of data, got {'fewer' if len(data) < size else 'more'}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
