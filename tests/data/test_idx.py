"""The data files: every byte of a header counts, and nothing but a DataError comes out of a bad file."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.formats import idx
from data.formats.idx import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
LABELS = np.array([7, 0, 9], np.uint8)


def write(folder: Path, data: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("idx")


def test_raw_and_gzip_are_told_apart_by_content(tmp_path: Path) -> None:
    raw = idx.encode(IMAGES)
    assert raw == struct.pack(">4I", 0x803, 3, 4, 5) + IMAGES.tobytes()
    for name, data in (
        ("raw", raw),
        ("raw.gz", raw),
        ("zipped", gzip.compress(raw)),
        ("zipped.gz", gzip.compress(raw)),
    ):
        np.testing.assert_array_equal(idx.read_images(write(tmp_path, data, name)), IMAGES)
    np.testing.assert_array_equal(idx.read_labels(write(tmp_path, idx.encode(LABELS))), LABELS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (struct.pack(">4I", 0x801, 3, 4, 5) + bytes(60), "magic number: expected 0x00000803, got 0x00000801"),
        (struct.pack("<4I", 0x803, 3, 4, 5) + bytes(60), "magic number: expected 0x00000803, got 0x03080000"),
        (struct.pack(">4I", 0x803, 4, 4, 5) + bytes(60), "data of 4×4×5 bytes: expected 80 bytes, got 60"),
        (
            struct.pack(">4I", 0x803, 3, 4, 4) + bytes(60),
            "expected the end of the file after 48 bytes of data, got more",
        ),
        (
            struct.pack(">4I", 0x803, 1 << 20, 28, 28),
            "at most 536870912 bytes of data, got a header that announces 822083584",
        ),
        (struct.pack(">4I", 0x803, *(2**32 - 1,) * 3), "got a header that announces 79228162458924105385300197375"),
        (b"<html>403 Forbidden</html>", "magic number: expected 0x00000803, got 0x3c68746d"),
        (b"", "truncated in its magic number: expected 4 bytes, got 0"),
    ],
)
def test_a_wrong_header_is_refused_with_expected_and_got(tmp_path: Path, data: bytes, said: str) -> None:
    for content in (data, gzip.compress(data)):
        path = write(tmp_path, content)
        with pytest.raises(DataError) as error:
            idx.read_images(path)
        assert str(error.value).startswith(f"{path}: ")
        assert said in str(error.value)


def test_a_label_that_is_no_digit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="label 1: expected a digit 0 to 9, got 10"):
        idx.read_labels(write(tmp_path, idx.encode(np.array([3, 10, 9], np.uint8))))


def test_truncation_at_any_byte_is_an_error(tmp_path: Path) -> None:
    raw = idx.encode(IMAGES)
    for whole in (raw, gzip.compress(raw)):
        for length in range(len(whole)):
            with pytest.raises(DataError):
                idx.read_images(write(tmp_path, whole[:length]))


def test_trailing_bytes_are_an_error(tmp_path: Path) -> None:
    raw = idx.encode(LABELS)
    for data in (raw + b"\0", gzip.compress(raw + b"\0"), gzip.compress(raw) + b"x", gzip.compress(raw) * 2):
        with pytest.raises(DataError):
            idx.read_labels(write(tmp_path, data))


def test_a_damaged_byte_in_a_gzip_file_is_an_error(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(idx.encode(IMAGES)))
    whole[-6] ^= 1  # in the check sum
    with pytest.raises(DataError, match="expected a whole gzip file, got: CRC check failed"):
        idx.read_images(write(tmp_path, bytes(whole)))


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bombs = [
        idx.encode(LABELS) + bytes(1 << 27),  # more than its header says
        struct.pack(">2I", 0x801, 1 << 30) + bytes(1 << 27),  # a header that says too much
    ]
    for bomb in bombs:
        path = write(tmp_path, gzip.compress(bomb, 1))
        tracemalloc.start()
        try:
            with pytest.raises(DataError):
                idx.read_labels(path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


def test_the_limit_is_a_parameter(tmp_path: Path) -> None:
    path = write(tmp_path, idx.encode(IMAGES))
    assert idx.read_images(path, max_bytes=60).size == 60
    with pytest.raises(DataError, match="expected at most 59 bytes"):
        idx.read_images(path, max_bytes=59)


def test_a_pipe_or_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataError, match="expected a file, got a folder, pipe or device"):
            idx.read_images(path)
    with pytest.raises(FileNotFoundError):
        idx.read_images(tmp_path / "none")


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """`whole` with some bytes exchanged, cut off or put in."""
    place = st.integers(0, len(whole) - 1)
    edit = st.tuples(place, st.integers(0, 2), st.binary(max_size=5))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = whole
        for start, kind, new in edits:
            end = (start, start + len(new), len(data))[kind]
            data = data[:start] + new + data[end:]
        return data

    return st.lists(edit, min_size=1, max_size=4).map(apply)


@given(damaged(idx.encode(IMAGES)) | damaged(gzip.compress(idx.encode(IMAGES), mtime=0)) | st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
def test_what_is_read_from_damaged_files_is_what_their_header_says(folder: Path, data: bytes) -> None:
    try:
        images = idx.read_images(write(folder, data))
    except DataError:
        return
    raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    assert idx.encode(images) == raw


# A pickle as Python 2 with NumPy 1 wrote it, put together by hand: Python 3 would write other operations.


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def string(value: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(value)) + value


def pickled_array(array: np.ndarray, module: bytes = b"numpy.core.multiarray") -> bytes:
    code = array.dtype.str[1:].encode()
    dtype = b"cnumpy\ndtype\n" + string(code) + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + string(b"<") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    empty = b"c" + module + b"\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + string(b"b") + b"\x87R"
    shape = b"(" + b"".join(map(number, array.shape)) + b"t"
    return empty + b"(" + number(1) + shape + dtype + b"\x89" + string(array.tobytes()) + b"tb"


def pickled(*pairs: tuple[np.ndarray, np.ndarray], module: bytes = b"numpy.core.multiarray") -> bytes:
    inner = (pickled_array(images, module) + pickled_array(labels, module) + b"\x86" for images, labels in pairs)
    return b"\x80\x02(" + b"".join(inner) + b"t."


DIGITS = np.random.default_rng(1).integers(0, 256, (6, 28, 28), dtype=np.uint8)
PAIRS = [
    (DIGITS[i : i + 2].reshape(2, 784).astype(np.float32) / 256, np.array([i, 9 - i], np.int64)) for i in (0, 2, 4)
]
WHOLE = pickled(*PAIRS)


def read_pickle(folder: Path, content: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read a pickle whose sum is believed."""
    path = write(folder, gzip.compress(content, 1), "mnist.pkl.gz")
    return idx.read_pickle(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_a_pickle_gives_its_bytes_back(tmp_path: Path, module: bytes) -> None:
    pairs = read_pickle(tmp_path, pickled(*PAIRS, module=module))
    np.testing.assert_array_equal(np.concatenate([images for images, _ in pairs]), DIGITS)
    assert [labels.tolist() for _, labels in pairs] == [[0, 9], [2, 7], [4, 5]]
    assert {array.dtype for pair in pairs for array in pair} == {np.dtype(np.uint8)}


def test_no_pickle_is_opened_before_its_sum_matched(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(WHOLE), "mnist.pkl.gz")
    with pytest.raises(DataError, match=f"SHA-256: expected {idx.PICKLE_SHA256}, got [0-9a-f]{{64}}"):
        idx.read_pickle(path)


@pytest.mark.parametrize(
    "content",
    [
        b"cposix\nsystem\n" + string(b"touch called") + b"\x85R.",
        b"cbuiltins\neval\n" + string(b"open('called', 'w')") + b"\x85R.",
        b"cnumpy\nload\n" + string(b"called") + b"\x85R.",
        b"\x80\x02]r\xff\xff\xff\x7f.",  # asks the unpickler written in C for a table of 32 GB
        b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b".",  # and for an array of 1 TB
        b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b".",
        b"\x80\x02T" + struct.pack("<i", -1) + b".",
        b"\x80\x02N.",
        b"",
        WHOLE[:-1],
        pickled(*PAIRS[:2]),
        pickled(*PAIRS[:2], (PAIRS[2][0] + np.float32(0.001), PAIRS[2][1])),
        pickled(*PAIRS[:2], (PAIRS[2][0] * np.float32(np.nan), PAIRS[2][1])),
        pickled(*PAIRS[:2], (PAIRS[2][0], np.array([0, 10]))),
        pickled(*PAIRS[:2], (PAIRS[2][0], np.array([0, 256]))),
        pickled(*PAIRS[:2], (PAIRS[2][0][:, 1:], PAIRS[2][1])),
        pickled(*PAIRS[:2], (PAIRS[2][0], np.array([0, 1, 2]))),
        WHOLE.replace(b"T\x01\x00\x00\x00<", b"T\x01\x00\x00\x00>", 1),
    ],
)
def test_a_pickle_can_do_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected three pairs of arrays, got: "):
        read_pickle(tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["mnist.pkl.gz"]


def test_no_more_of_a_pickle_is_unpacked_than_the_one_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "PICKLE_CONTENT", len(WHOLE))
    assert len(read_pickle(tmp_path, WHOLE)) == 3
    monkeypatch.setattr(idx, "PICKLE_CONTENT", len(WHOLE) - 1)
    with pytest.raises(DataError, match="a piece of 1 bytes where at most 0 can follow"):
        read_pickle(tmp_path, WHOLE)


EMPTY = pickled(*((images[:0], labels[:0]) for images, labels in PAIRS))  # no pixels, so that damage hits operations


@given(damaged(EMPTY) | st.binary(max_size=40))
@example(b"\x80\x02" + b"(" * 10_000 + b"t" * 10_000 + b".")
@settings(max_examples=500, deadline=None)
def test_nothing_but_a_data_error_comes_out_of_a_damaged_pickle(folder: Path, content: bytes) -> None:
    try:
        pairs = read_pickle(folder, content)
    except DataError:
        return
    assert all(images.shape == (len(labels), 28, 28) for images, labels in pairs)
