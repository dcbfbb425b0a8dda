"""Pictures of a data set: prepared as infer.py prepares them, the same each time, cached by content."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from data import sources
from data.dataset import Mnist
from data.formats import pictures as formats
from data.formats.pictures import Pictures, Piece, Way
from data.load import Reading, load
from recognition import set_cache, workers
from recognition.digit import to_mnist
from recognition.picture import Limits, read_picture
from recognition.preparation import resized
from recognition.sets import Preparer, load_data
from recognition.workers import Unread, Workers


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(sources.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def drawn(mnist: Mnist, tmp_path: Path) -> Path:
    """Twelve digits, dark on light paper of 90×70 pixels, in a folder per class."""
    for number in range(12):
        paper = np.full((90, 70), 230, np.uint8)
        paper[20:76, 8:64] -= (mnist.test_images[number] * 0.8).astype(np.uint8).repeat(2, 0).repeat(2, 1)
        path = tmp_path / "drawn" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paper).save(path)
    return tmp_path / "drawn"


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"), key=lambda path: path.name)


def listed(files: Sequence[Path]) -> Pictures:
    return Pictures("set", np.arange(len(files)), lambda places: (str(files[place]) for place in places), str)


def images(folder: Path, way: Way | None = None) -> list[np.ndarray | str]:
    found: list[np.ndarray | str] = []
    for piece in Preparer(way)(listed(pictures(folder))):
        usable = iter(piece.images)
        found += [piece.left_out[place] if place in piece.left_out else next(usable) for place in range(len(piece))]
    return found


@pytest.mark.parametrize("way", [None, "digit", "resize"])
def test_each_picture_is_prepared_as_infer_py_does(way: Way | None, drawn: Path) -> None:
    expected = [resized(grey) if way == "resize" else to_mnist(grey) for grey in map(read_picture, pictures(drawn))]
    np.testing.assert_array_equal(np.stack(images(drawn, way)), np.stack(expected))
    data = load_data(drawn, way=way)
    assert (data.prepare, data.cut) == (way or "digit", way != "resize")
    assert {image.tobytes() for image in (*data.train_images, *data.test_images)} == {
        image.tobytes() for image in expected
    }


def test_pictures_of_28_pixels_are_taken_as_they_are(mnist: Mnist, tmp_path: Path) -> None:
    for name, number in (("coat", 0), ("coat", 1), ("shoe", 2), ("shoe", 3)):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(mnist.test_images[number] // 3).save(tmp_path / name / f"{number}.png")
    data = load_data(tmp_path)
    assert (data.prepare, data.cut) == ("none", False)
    assert {bytes(image) for image in (*data.train_images, *data.test_images)} == {
        bytes(mnist.test_images[number] // 3) for number in range(4)
    }
    assert load_data(tmp_path, way="digit").prepare == "digit"


@pytest.mark.parametrize("way", ["digit", "resize", "none"])
def test_what_cannot_be_used_is_named_and_left_out(way: Way, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if way == "none":
        for path in pictures(drawn):
            Image.open(path).resize((28, 28)).save(path)
    broken = drawn / "a" / "04.png"
    broken.write_bytes(broken.read_bytes()[:60])
    from common.console import ScriptConsole

    for _ in range(2):  # the second time from the cache
        data = load_data(drawn, ScriptConsole(), way)
        assert len(data.train_labels) + len(data.test_labels) == 11
        said = capsys.readouterr().out
        assert said.count(f"{broken}: expected a picture") == said.count("; left out") == 1
        assert f"(--prepare {way})" in said
    with pytest.raises(UserError, match=r"a/04\.png: expected a picture.*; mend or remove it, or leave --strict out"):
        load_data(drawn, way=way, strict=True)


def test_a_set_is_prepared_once(drawn: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "PIECE", 5)
    first = images(drawn, "resize")
    assert len(list(own_cache.iterdir())) == 3
    asked: list[int] = []
    prepare = Workers.prepare

    def counted(self: Workers, chosen: Sequence[str | bytes], way: Way) -> object:
        asked.append(len(chosen))
        return prepare(self, chosen, way)

    monkeypatch.setattr(Workers, "prepare", counted)
    np.testing.assert_array_equal(images(drawn, "resize"), first)
    assert asked == []
    changed = pictures(drawn)[7]
    Image.open(changed).rotate(90).save(changed)  # one piece has another content
    assert not np.array_equal(images(drawn, "resize")[7], first[7])
    assert asked == [5]
    for kept in own_cache.iterdir():
        kept.write_bytes(kept.read_bytes().replace(b"A", b"B", 1))  # damaged
    images(drawn, "resize")
    assert asked == [5, 5, 5, 2]
    images(drawn, "digit")
    assert asked == [5, 5, 5, 2, 5, 5, 2]


def test_what_another_release_prepared_is_not_taken(
    drawn: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(drawn, "resize")
    monkeypatch.setattr(set_cache, "_code", lambda: "another release")
    images(drawn, "resize")
    assert len(list(own_cache.iterdir())) == 2


def test_a_piece_in_memory_has_few_bytes() -> None:
    large, small = bytes(formats.LARGEST_PIECE // 2 + 1), b""
    assert [len(piece) for piece in formats.pieces([large] * 5)] == [2, 2, 1]
    assert [len(piece) for piece in formats.pieces([small] * (formats.PIECE + 1))] == [formats.PIECE, 1]


def test_a_piece_that_was_cut_off_or_lost_is_not_kept(
    drawn: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, ask = Workers.prepare, Workers._ask

    def stops(self: Workers, chosen: Sequence[str | bytes], way: Way) -> Iterator[np.ndarray | Unread]:
        yield next(prepare(self, chosen, way))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Workers, "prepare", stops)
        images(drawn, "resize")
    assert not own_cache.exists()

    def loses(self: Workers, task: str, chosen: Sequence[str]) -> list[object]:
        answers: list[object] = ask(self, task, chosen)  # type: ignore[arg-type]
        return [Unread("the decoder crashed", lost=True), *answers[1:]]

    monkeypatch.setattr(Workers, "_ask", loses)
    assert "the decoder crashed" in images(drawn, "resize")
    assert not own_cache.exists()


def test_a_piece_whose_file_changed_or_could_not_be_read_is_not_kept(
    drawn: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the image of one content would be taken for another, or a picture be left out for good."""
    first, other = pictures(drawn)[0], pictures(drawn)[1].read_bytes()
    prepare = Workers.prepare

    def replaced(self: Workers, chosen: Sequence[str | bytes], way: Way) -> Iterator[np.ndarray | Unread]:
        first.write_bytes(other)  # between the sum and the decoding
        return prepare(self, chosen, way)

    def unreadable(self: Workers, chosen: Sequence[str | bytes], way: Way) -> Iterator[np.ndarray | Unread]:
        first.rename(first.with_suffix(".away"))
        answers = list(prepare(self, chosen, way))
        first.with_suffix(".away").rename(first)
        return iter(answers)

    for changes in (replaced, unreadable):
        with monkeypatch.context() as patch:
            patch.setattr(Workers, "prepare", changes)
            images(drawn, "resize")
        assert not own_cache.exists()
    first.unlink()
    first.mkdir()  # a folder of a picture's name
    assert "a folder, pipe or device, not a regular file" in images(drawn, "resize")
    assert not own_cache.exists()
    first.rmdir()
    first.write_bytes(other)
    assert images(drawn, "resize") and own_cache.exists()


def test_a_crash_costs_one_picture(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has several pictures is stopped by one of them; the others are read all the same."""
    files = [str(path) for path in pictures(drawn)]
    ask = workers._Worker.ask

    def crashes(self: workers._Worker, task: workers.Task, chosen: Sequence[str], *rest: Any) -> list[Any]:
        if files[3] in chosen:
            raise EOFError
        return ask(self, task, chosen, *rest)

    monkeypatch.setattr(workers._Worker, "ask", crashes)
    with Workers(Limits(), most=1) as one:
        found = list(one.prepare(files, "resize"))
    assert [number for number, each in enumerate(found) if isinstance(each, Unread)] == [3]


def small_set(mnist: Mnist, folder: Path, count: int, other: dict[int, bytes]) -> Path:
    """Pictures of 28×28 pixels in two classes, some of them replaced by other bytes."""
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mnist.test_images[number] // 3).save(path)
        if number in other:
            path.write_bytes(other[number])
    return folder


@pytest.mark.parametrize("broken", [[0], list(range(12))])
def test_broken_files_do_not_choose_how_the_others_are_prepared(
    broken: list[int], mnist: Mnist, tmp_path: Path
) -> None:
    said: list[str] = []
    folder = small_set(mnist, tmp_path / "set", 20, dict.fromkeys(broken, b"\x89PNG"))
    data = load(folder, Reading(Preparer(), report=said.append))
    assert (data.prepared, data.prepare) == ("none", "digit")  # a model of digits reads other pictures by cutting them
    assert {bytes(image) for image in (*data.train_images, *data.test_images)} == {
        bytes(mnist.test_images[number] // 3) for number in range(20) if number not in broken
    }
    assert said[-1].startswith(f"{folder}: folder per class, pictures as they are (--prepare none), ")


def test_most_pictures_choose_wherever_the_others_lie(mnist: Mnist, drawn: Path, tmp_path: Path) -> None:
    large = next(drawn.rglob("*.png")).read_bytes()
    for first in (0, 10):
        said: list[str] = []
        folder = small_set(mnist, tmp_path / str(first), 20, {first + number: large for number in range(8)})
        prepare = Preparer(report=said.append)
        assert prepare.decide(listed(pictures(folder))) == "none"
        assert sum(len(piece.images) for piece in prepare(listed(pictures(folder)))) == 12
        assert said == ["set: 12 of 20 pictures looked at have 28×28 pixels: --prepare none for all"]


def piece(number: int) -> Piece:
    return Piece(np.full((3, 28, 28), number, np.uint8), {1: "expected a picture"})


def kept_piece(folder: Path, number: int) -> Path:
    """Keep a piece that was used at a time of this number."""
    path = folder / f"{number:064x}.json"
    set_cache.keep_piece(path, piece(number))
    if path.exists():
        os.utime(path, (number, number))
    return path


def test_the_pieces_used_the_longest_ago_make_room(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [kept_piece(own_cache, number) for number in range(1, 4)]
    foreign = [own_cache / "notes.txt", own_cache / f"{0:064x}.json"]
    for path in foreign:
        path.write_text("a user's own")
        os.utime(path, (0, 0))
    link = own_cache / f"{9:064x}.json"
    link.symlink_to(foreign[0])
    kept_elsewhere, link_to_ours = own_cache.parent / "piece.json", own_cache / f"{8:064x}.json"
    kept_piece(own_cache, 7).rename(kept_elsewhere)
    os.utime(kept_elsewhere, (0, 0))
    link_to_ours.symlink_to(kept_elsewhere)
    leftover = own_cache / f".{paths[0].name}.new.tmp-4194305-0123abcd"  # of a process that no longer runs
    leftover.touch()
    assert set_cache.read_piece(paths[0], 5) is None, "of another number of pictures"
    read = set_cache.read_piece(paths[0], 4)  # used again: now the newest
    assert read and read.left_out == piece(1).left_out and np.array_equal(read.images, piece(1).images)
    monkeypatch.setattr(set_cache, "LARGEST_CACHE", 3 * paths[0].stat().st_size + 100)
    last = kept_piece(own_cache, 5)
    assert [path.exists() for path in (*paths, last)] == [True, False, True, True]
    assert all(path.read_text() == "a user's own" for path in (*foreign, link)) and not leftover.exists()
    assert link_to_ours.is_symlink() and kept_elsewhere.exists()


def test_another_process_that_makes_room_is_not_disturbed(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_cache, "LARGEST_CACHE", 1)
    own_cache.mkdir(parents=True)
    with (own_cache.parent / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert kept_piece(own_cache, 1).exists() and kept_piece(own_cache, 2).exists()
    assert not kept_piece(own_cache, 3).exists() and not list(own_cache.iterdir())
