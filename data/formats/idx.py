"""The two formats in which MNIST is passed on: IDX files (raw or gzip) and the mnist.pkl.gz of the Theano tutorial.

An IDX file begins with a magic number: two zero bytes, the element type, the number of dimensions. Then follow one
32-bit size per dimension, big-endian, and the bytes. Nothing in a file is believed before it is checked, and no more is
read or decompressed than its header and a fixed limit allow.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import pickle
import struct
import zlib
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from common.errors import UserError, one_line
from common.files import open_file
from common.kinds import HEAD, kind_of

Bytes = npt.NDArray[np.uint8]

MAX_BYTES = 1 << 29  # 512 MiB uncompressed: ten times MNIST, as InfiMNIST and the cost of 600,000 images are measured
LARGEST_SET = 1 << 30  # bytes of a set that the user names: 1.3 million images; EMNIST by class trains on 697,932

PICKLE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
PICKLE_SIZE = 17_051_982  # bytes of that file
PICKLE_CONTENT = 220_080_342  # bytes of it uncompressed

PIECE = 1 << 20  # bytes that are read at a time

_IMAGES_MAGIC = 0x00000803  # unsigned bytes, three dimensions
_LABELS_MAGIC = 0x00000801  # unsigned bytes, one dimension
_NUMBERS_MAGIC = 0x00000C02  # 32-bit numbers, two dimensions
_GZIP_MAGIC = b"\x1f\x8b"


class DataError(UserError):
    """A data file or data source that cannot be used: which one, what was expected, what was found."""


def read_images(path: Path, max_bytes: int = MAX_BYTES) -> Bytes:
    """Read an IDX file of images, raw or gzip by its content: uint8 [N, H, W].

    Raises:
        DataError: something in the file differs from the format or from the file's own header, or the header announces
            more than `max_bytes` bytes.
        OSError: the file cannot be opened or read.
    """
    return _read(path, _IMAGES_MAGIC, max_bytes)


def read_labels(path: Path, max_bytes: int = MAX_BYTES, most: int = 9) -> Bytes:
    """Read an IDX file of labels, raw or gzip by its content: uint8 [N], each 0 to `most`.

    Raises:
        DataError, OSError: as `read_images`, and for a label above `most`.
    """
    labels = _read(path, _LABELS_MAGIC, max_bytes)
    wrong = np.flatnonzero(labels > most)
    if wrong.size:
        raise DataError(f"{one_line(path)}: label {wrong[0]}: expected a digit 0 to {most}, got {labels[wrong[0]]}")
    return labels


def read_qmnist_labels(path: Path, max_bytes: int = MAX_BYTES) -> npt.NDArray[np.int64]:
    """Read QMNIST's IDX file of 32-bit numbers, raw or gzip: its first column, the labels, int64 [N].

    Raises:
        DataError, OSError: as `read_images`.
    """
    table = _read(path, _NUMBERS_MAGIC, max_bytes)
    if not table.shape[1]:
        raise DataError(f"{one_line(path)}: expected a column of labels, got none")
    return table[:, 0].astype(np.int64)


def encode(array: Bytes) -> bytes:
    """The uncompressed IDX file of uint8 [N] or [N, H, W]; there is but one, so its SHA-256 names the data."""
    return _header(array) + array.tobytes()


def checksum(array: Bytes) -> str:
    """SHA-256 of `encode`, without a second copy of the array."""
    digest = hashlib.sha256(_header(array))
    for start in range(0, len(array), 4096):
        digest.update(array[start : start + 4096].tobytes())
    return digest.hexdigest()


def _header(array: Bytes) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)


def _read(path: Path, magic: int, max_bytes: int) -> Any:
    with _open(path) as file:
        if file.read(2) != _GZIP_MAGIC:
            file.seek(0)
            return _decode(file, path, magic, max_bytes)
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                return _decode(unzipped, path, magic, max_bytes)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{one_line(path)}: expected a whole gzip file, got: {one_line(error)}") from error


def _open(path: Path) -> IO[bytes]:
    """Open a regular file; reading a pipe or a device might never end."""
    if path.exists() and not path.is_file():
        raise DataError(f"{one_line(path)}: expected a file, got a folder, pipe or device")
    return open_file(path)


def _decode(file: IO[bytes] | gzip.GzipFile, path: Path, magic: int, max_bytes: int) -> Any:
    name = one_line(path)
    first = bytes(_read_exactly(file, 4, name, "magic number"))
    found = int.from_bytes(first, "big")
    if found != magic:
        kind = kind_of(first + file.read(HEAD))
        raise DataError(
            f"{name}: magic number: expected 0x{magic:08x}, got 0x{found:08x}{f', as of {kind}' if kind else ''}"
        )
    dimensions = magic & 0xFF
    sizes = bytes(_read_exactly(file, 4 * dimensions, name, "sizes"))
    shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", sizes)
    element = np.dtype(">i4" if magic == _NUMBERS_MAGIC else np.uint8)
    count = math.prod(shape) * element.itemsize
    if count > max_bytes:
        raise DataError(f"{name}: expected at most {max_bytes} bytes of data, got a header that announces {count}")
    data = _read_exactly(file, count, name, f"data of {'×'.join(map(str, shape))} bytes")
    if file.read(1):
        raise DataError(f"{name}: expected the end of the file after {count} bytes of data, got more")
    return data.view(element).reshape(shape)


def _read_exactly(file: IO[bytes] | gzip.GzipFile, count: int, name: str, what: str) -> Bytes:
    """The next bytes, uint8 [count], read into their place piece by piece: memory holds them once."""
    data, done = np.empty(count, np.uint8), 0
    while done < count and (piece := file.read(min(count - done, PIECE))):
        data[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    if done < count:
        raise DataError(f"{name}: truncated in its {what}: expected {count} bytes, got {done}")
    return data


def read_pickle(path: Path, sha256: str = PICKLE_SHA256) -> list[tuple[Bytes, Bytes]]:
    """Read mnist.pkl.gz: three (images uint8 [N, 28, 28], labels uint8 [N]) of 50,000, 10,000 and 10,000.

    The file is the Python 2 pickle of three (images float32 [N, 784] = byte / 256, labels int64 [N]). The unpickler
    knows the operations and the names of this one file and nothing else. It reads only after the SHA-256 matched, so at
    most one file in the world gets that far.

    Args:
        path: the file.
        sha256: of the file; another than the default is for tests.

    Raises:
        DataError: wrong sum, or (with another sum) anything but three pairs of such arrays.
        OSError: the file cannot be opened or read.
    """
    name = one_line(path)
    with _open(path) as file:
        found = hashlib.sha256(file.read(PICKLE_SIZE + 1)).hexdigest()
        if found != sha256:
            raise DataError(f"{name}: SHA-256: expected {sha256}, got {found} (of its first {PICKLE_SIZE + 1} bytes)")
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                train, validation, test = _Unpickler(_Bounded(unzipped, PICKLE_CONTENT), encoding="bytes").load()
            return [_as_bytes(images.values, labels.values) for images, labels in (train, validation, test)]
        except Exception as error:  # a hostile pickle can make the unpickler raise anything
            raise DataError(f"{name}: expected three pairs of arrays, got: {one_line(repr(error))}") from error


class _Bounded:
    """The part of a file's interface that an unpickler uses, up to a number of bytes in all."""

    def __init__(self, file: gzip.GzipFile, limit: int):
        self._file, self._left = file, limit

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._left:
            raise ValueError(f"a piece of {count} bytes where at most {self._left} can follow")
        self._left -= count
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(100)
        self._left -= len(line)
        return line


class _Dtype:
    """Rebuild a NumPy element type as a pickle asks; only those of mnist.pkl.gz are accepted."""

    def __init__(self, code: bytes, _align: int, _copy: int):
        self.type = {b"f4": "<f4", b"i8": "<i8"}[code]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != b"<":
            raise ValueError(f"byte order {state[1]!r}")


class _Array:
    """Rebuild a NumPy array as a pickle asks."""

    values: npt.NDArray[Any]

    def __init__(self, *_: object):
        pass

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _version, shape, dtype, _fortran_order, data = state
        self.values = np.frombuffer(data, dtype.type).reshape(shape)


class _Unpickler(pickle._Unpickler):
    """Reads pickles of NumPy arrays without a call into NumPy: the names in them stand for the two records above.

    Python's own unpickler written in Python, because there the operations can be restricted too, to those that
    mnist.pkl.gz uses. The one written in C obeys every operation, one of which asks for gigabytes of memory.
    """

    _OPERATIONS = (
        "PROTO GLOBAL BINPUT BINGET MARK TUPLE TUPLE1 TUPLE2 TUPLE3 REDUCE BUILD "
        "BININT BININT1 BININT2 NONE NEWFALSE SHORT_BINSTRING BINSTRING STOP"
    )
    dispatch: ClassVar = {
        code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _OPERATIONS.split())
    }
    _NAMES: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,  # called with what "ndarray" stands for
        ("numpy._core.multiarray", "_reconstruct"): _Array,  # the same in a pickle of NumPy 2
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        return self._NAMES[module, name]


def _as_bytes(images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Bytes, Bytes]:
    """Images float32 [N, 784] = byte / 256 and labels int64 [N], back to bytes [N, 28, 28] and [N]."""
    with np.errstate(all="ignore"):  # what overflows here is unequal below
        values = images * np.float32(256)
        pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise ValueError("a pixel that is no multiple of 1/256 in [0, 1)")
    if labels.shape != images.shape[:1] or not np.isin(labels, range(10)).all():
        raise ValueError("labels that are not one digit for each image")
    return pixels.reshape(-1, 28, 28), labels.astype(np.uint8)
