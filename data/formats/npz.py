"""NumPy's archives: Keras' mnist.npz with x_train, y_train, x_test and y_test, and KMNIST's of one array a file."""

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
from data.formats.labelled import Labelled, checked, read_names

KERAS = ("x_train", "y_train", "x_test", "y_test")
PARTS = ("train-imgs", "train-labels", "test-imgs", "test-labels")  # kmnist-train-imgs.npz …


def read_npz(path: Path) -> Labelled:
    """Read a file of x_train, y_train and perhaps x_test, y_test; or a folder of KMNIST's four files.

    Raises:
        DataError: missing or extra arrays, arrays of objects, or more than 1 GiB.
        OSError: a file cannot be read.
    """
    where = one_line(path)
    if path.is_dir():
        files = {part: sorted(path.glob(f"*{part}.npz")) for part in PARTS}
        if any(len(found) != 1 for found in files.values()):
            raise DataError(f"{where}: expected one file *{'.npz, one *'.join(PARTS)}.npz; name the one file otherwise")
        arrays = {name: _arrays(files[part][0], ("arr_0",))["arr_0"] for name, part in zip(KERAS, PARTS, strict=True)}
    else:
        arrays = _arrays(path, KERAS)
    missing = [name for name in KERAS[:2] if name not in arrays]
    if missing or ("x_test" in arrays) != ("y_test" in arrays):
        raise DataError(
            f"{where}: expected {', '.join(KERAS)} (the last two may be missing), got "
            f"{one_line(', '.join(arrays), 100) or 'none'}; without labels, infer.py reads pictures"
        )
    train = checked(f"{where}: x_train", arrays["x_train"], arrays["y_train"])
    test = checked(f"{where}: x_test", arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else None
    return Labelled(train, test, "NPZ", read_names(path if path.is_dir() else path.parent))


def _arrays(path: Path, wanted: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    where = one_line(path)
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            names = [name for name in wanted if f"{name}.npy" in archive.namelist()]
            if not names:
                got = one_line(", ".join(archive.namelist()), 100)
                raise DataError(f"{where}: expected arrays {', '.join(wanted)}, got {got or 'none'}")
            arrays = {}
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = _array(f"{where}: {name}", member)
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
        raise DataError(f"{where}: expected whole numbers or names, got {one_line(dtype, 60)}")
    size = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or size > LARGEST_SET:
        raise DataError(f"{where}: expected at most {LARGEST_SET} bytes, got a header that announces {size}")
    data = bytearray()
    while len(data) < size and (piece := file.read(min(1 << 20, size - len(data)))):
        data += piece
    if len(data) < size or file.read(1):
        raise DataError(f"{where}: expected {size} bytes of data, got {'fewer' if len(data) < size else 'more'}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
