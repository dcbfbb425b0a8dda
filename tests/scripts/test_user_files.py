"""A user's files: nothing is replaced, deleted or written through that this project did not make itself."""

from __future__ import annotations

import io
import multiprocessing
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infer
import train as train_script
from common.command_line import parse
from common.errors import UsageError, UserError
from common.files import expect_replaceable, new_folder, open_own, remove_folder, write_file
from common.signals import StopRequest
from data.dataset import Mnist
from data.fetch import Limits, download
from data.sources import Places, find
from recognition import annotate
from recognition.row_answers import PageAnswer
from results import event_files
from results.checkpoint import Checkpoint, save_checkpoint
from results.comparison_texts import CHINESE
from results.figures.style import check_path, new_figure, save
from results.html import check_html_path
from results.log import ResultsLog, StepsLog
from results.records import Step
from results.run_folder import OWN_FILES, OWN_FOLDERS, RunFolder, new_run_folder
from tests.models import write_model
from training.callbacks import trackers as tracking
from training.callbacks.callback import Callback, Started
from training.loop import train
from training.same_run import resumed
from training.settings import Settings, from_json, to_json

CARD = {
    "input": {"name": "image", "shape": [-1, 1, 28, 28], "low": 0, "high": 1, "fit": "none"},
    "labels": list("0123456789"),
}


class BeganError(Exception):
    """Training has begun."""


class StopAtFirstStep(Callback):
    """Ends a training that should not have begun."""

    def on_start(self, started: object) -> None:
        raise BeganError


@pytest.fixture(scope="module")
def tiny() -> Mnist:
    """A few of no digits at all: enough to begin."""
    noise = np.random.default_rng(0)
    images, labels = noise.integers(0, 256, (64, 28, 28), np.uint8), noise.integers(0, 10, 64).astype(np.uint8)
    return Mnist(images, labels, images[:10], labels[:10], {"all": "0"}, "noise")


def begin(tiny: Mnist, run: Path, save_dir: Path) -> None:
    """Start a small run by NumPy's engine; raises BeganError where training would begin."""
    settings = Settings(network="lenet5_numpy", engine="numpy", validation_size=32, save_dir=save_dir)
    train(settings, RunFolder(run), [StopAtFirstStep()], data=tiny)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --run-dir


@pytest.mark.parametrize(
    "name",
    ["letter.txt", "inference_model/mine.txt", "tensorboard/mine", "run.json", "lock", "checkpoints/0001-000000/x"],
)
def test_a_folder_with_other_things_is_no_place_for_a_run(tiny: Mnist, tmp_path: Path, name: str) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("a user's")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="lock: expected the number" if name == "lock" else "--run-dir .*it holds"):
        begin(tiny, tmp_path / "run", tmp_path / "model")
    assert contents(tmp_path) == before


def test_an_empty_folder_and_one_of_a_run_that_never_began_will_do(tiny: Mnist, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    (run.path / "checkpoints" / ".0000-000000.new.tmp-1-01234567").mkdir(parents=True)
    (run.path / "lock").write_text("12345")
    run.write_record({"settings": {}})
    with pytest.raises(BeganError):
        begin(tiny, run.path, tmp_path / "model")


@pytest.mark.parametrize("name", ["lock", *OWN_FILES, *OWN_FOLDERS])
def test_nothing_is_written_through_a_link_in_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    target = tmp_path / "target"
    target.write_text("a user's") if "." in name or name == "lock" else target.mkdir()
    (tmp_path / "run" / name).symlink_to(target)
    with pytest.raises(UserError, match=f"{name}: a symbolic link"), RunFolder(tmp_path / "run").locked():
        pass
    assert (tmp_path / "run" / name).is_symlink()
    assert target.is_dir() or target.read_text() == "a user's"
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


OPTIONS = ("--run-dir", "--save-dir", "--data-dir", "--resume", "--init-from")


@pytest.mark.parametrize("option", OPTIONS)
def test_an_empty_name_is_not_the_current_folder(option: str) -> None:
    for arguments in ([option, ""], [f"{option}="]):
        with pytest.raises(UsageError, match=f"^{option}: expected a value, got an empty name"):
            parse(Settings, arguments)


@pytest.mark.parametrize("option", ["--model-dir", "--annotate"])
def test_an_empty_name_is_refused_by_every_script(option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}: expected a value"):
        parse(infer.Settings, ["7.png", option, ""])


# The shared mechanism


def test_a_folder_that_holds_other_things_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "ours" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("ours")
    (tmp_path / "file").write_text("a user's")
    for name in ("ours", "link", "file"):
        with pytest.raises(OSError, match="move it away") as removing:
            remove_folder(tmp_path / name, ["a"])
        with pytest.raises(OSError, match="move it away") as replacing, new_folder(tmp_path / name, ["a"]) as new:
            (new / "a").write_text("new")
        assert removing.value.filename == replacing.value.filename == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "link", "ours", "sub"]


def test_a_model_does_not_replace_what_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("a user's")
    (tmp_path / "link").symlink_to("mine")
    for name in ("mine", "link"):
        with pytest.raises(OSError, match="holds other things"):
            write_model(tmp_path / name, b"program", b"parameters", CARD)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "mine" / "letter.txt").read_text() == "a user's"


def test_a_checkpoint_with_a_users_file_in_it_is_left_alone(tmp_path: Path) -> None:
    for number, before in enumerate(["", "0000-000000", "0001-000000"]):
        checkpoint = Checkpoint(f"{number:04d}-000000", {}, {"passes": number, "steps": 0}, b"")
        save_checkpoint(tmp_path, checkpoint, before)
        if number == 0:
            (tmp_path / "0000-000000" / "note.txt").write_text("a user's")
    assert (tmp_path / "0000-000000" / "note.txt").read_text() == "a user's"


def test_modes_honour_the_umask_and_a_replaced_one_is_kept(tmp_path: Path) -> None:
    with umask(0o022):
        write_model(tmp_path / "model", b"program", b"parameters", CARD)
        write_file(tmp_path / "file", b"")
        assert (mode(tmp_path / "model"), mode(tmp_path / "file")) == (0o755, 0o644)
        for kept in (0o700, 0o775):
            (tmp_path / "model").chmod(kept)
            (tmp_path / "file").chmod(kept)
            write_model(tmp_path / "model", b"program", b"parameters", CARD)
            write_file(tmp_path / "file", b"")
            assert mode(tmp_path / "model") == mode(tmp_path / "file") == kept
    with umask(0o077):
        write_model(tmp_path / "private", b"program", b"parameters", CARD)
        assert mode(tmp_path / "private") == 0o700


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe"])
def test_what_is_appended_to_is_a_file_of_ours(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "target", tmp_path / "steps.csv"
    target.write_bytes(b"a user's")
    {
        "symbolic": lambda: path.symlink_to(target),
        "hard": lambda: path.hardlink_to(target),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    with pytest.raises(OSError, match="nothing is written") as caught:
        open_own(path)
    assert caught.value.filename == str(path)
    assert target.read_bytes() == b"a user's"


def test_a_log_is_not_appended_to_through_a_link(tmp_path: Path) -> None:
    log = StepsLog(tmp_path / "steps.csv")
    (tmp_path / "steps.csv").rename(tmp_path / "target")
    (tmp_path / "steps.csv").symlink_to("target")
    before = (tmp_path / "target").read_bytes()
    with pytest.raises(OSError, match="symbolic link"):
        log.append(Step(pass_number=1, step=1, loss=1.0, accuracy=0.5, learning_rate=0.1))
    assert (tmp_path / "target").read_bytes() == before


# The cache of the data


def test_the_lock_and_the_parts_of_the_cache_follow_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"a user's")
    for name in (".lock", "a.part"):
        (tmp_path / name).symlink_to(target)
    with pytest.raises(UserError, match="symbolic link"):
        find(places=Places((tmp_path,), (), ""))
    with pytest.raises(OSError, match="symbolic link"):
        download("https://x/", tmp_path / "a.part", _Opener(), Limits(), lambda *_: None)  # type: ignore[arg-type]
    assert target.read_bytes() == b"a user's"


class _Opener:
    def open(self, request: object, timeout: float) -> object:
        response = io.BytesIO(b"new")
        response.headers, response.length = {}, 3  # type: ignore[attr-defined]
        return response


# --log-to


@pytest.mark.parametrize("name", ["scan.png", "sketch.svg", "page.pdf", "report.html"])
def test_a_figure_or_report_replaces_its_like_alone(tmp_path: Path, name: str) -> None:
    path, check = tmp_path / name, check_html_path if name.endswith("html") else check_path
    check(path)
    if name.endswith("html"):
        path.write_text(f"<!doctype html><title>{CHINESE.title}</title>")
    else:
        save(new_figure(2), path)
    check(path)
    ours = path.read_bytes()
    path.unlink()
    for make in (
        lambda: path.write_bytes(b"a user's own"),
        lambda: path.symlink_to("other"),
        path.mkdir,
        lambda: os.mkfifo(path),
    ):
        (tmp_path / "other").write_bytes(ours)
        make()
        with pytest.raises(UsageError, match="name another file"):
            check(path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_event_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name, form in (("tensorboard", event_files.TensorBoard), ("visualdl", event_files.VisualDL)):
        assert not form.names.fullmatch("letter.txt"), name
        assert not form.names.fullmatch("events.out.tfevents.1700000000.host"), name
    assert event_files.TensorBoard.names.fullmatch("events.out.tfevents.1700000000.host.0")
    assert event_files.VisualDL.names.fullmatch("vdlrecords.run.log")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_log_to_deletes_no_file_that_it_did_not_write(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "letter.txt").write_text("a user's")
    callback = tracking.Tracking("tensorboard", run, np.zeros((1, 28, 28), np.uint8), 1)
    ResultsLog(run.results)
    callback.on_start(Started(tmp_path, 1, 1, 1, 1, 0))
    callback.on_end()
    assert (tmp_path / "tensorboard" / "letter.txt").read_text() == "a user's"
    target = tmp_path / "target"
    target.write_text("a user's")
    (tmp_path / "tensorboard" / "events.out.tfevents.1.host.0").symlink_to(target)
    with pytest.raises(UserError, match="move it away"):
        callback.on_start(Started(tmp_path, 1, 1, 1, 1, 0))
    assert target.read_text() == "a user's"


@pytest.mark.parametrize("log_to", [["../../victim"], ["/victim"], "tensorboard", [1], 7, [["tensorboard"]]])
def test_a_record_from_elsewhere_names_no_folder_to_write_in(tmp_path: Path, log_to: object) -> None:
    run = RunFolder(tmp_path)
    run.write_record({"settings": {**to_json(Settings()), "log_to": log_to}})
    with pytest.raises(UserError, match=r"run\.json: settings that this release does not have: "):
        resumed(tmp_path, lambda default: default)
    assert from_json({**to_json(Settings()), "log_to": ["tensorboard"]}).log_to == ("tensorboard",)


# --annotate


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """Write a page's drawing to a target; the drawing itself is one dot."""

    def write(target: Path, picture: str) -> Path:
        page = PageAnswer.__new__(PageAnswer)
        object.__setattr__(page, "path", picture)
        return annotate.Annotator(target).write(page)

    def one_dot(page: object) -> bytes:
        return annotate.as_png(Image.new("RGB", (1, 1)))

    monkeypatch.setattr(annotate, "annotated", one_dot)
    return write


def test_drawings_replace_drawings_and_nothing_else(tmp_path: Path, drawn: Callable[[Path, str], Path]) -> None:
    first = drawn(tmp_path, "scans/a.jpg")
    assert drawn(tmp_path, "scans/a.jpg") == first == tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture at all")
    (tmp_path / "d.png").symlink_to("nowhere")
    (tmp_path / "e.png").symlink_to("a.png")
    os.mkfifo(tmp_path / "f.png")
    before = contents(tmp_path)
    for name in "bcdef":
        for target in (tmp_path, tmp_path / f"{name}.png"):
            with pytest.raises(UserError, match=rf"--annotate .*{name}\.png: .*name another"):
                drawn(target, f"{name}.png")
    assert contents(tmp_path) == before
    assert (tmp_path / "d.png").is_symlink()
    assert (tmp_path / "e.png").is_symlink()


# --save-dir


def test_where_a_model_cannot_be_published_is_found_before_the_first_pass(
    tiny: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    ismount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(mount) or ismount(path))
    for save_dir, message in (
        (mount, "mount point"),
        (tmp_path / ("x" * 250), "File name too long"),
        (tmp_path / "run", "lie in each other"),
        (tmp_path / "run" / "published", "lie in each other"),
        (tmp_path / "run" / "inference_model", "lie in each other"),
        (Path("/proc/model"), "name another"),
        (Path("/proc"), "holds other things"),
    ):
        with pytest.raises(UserError, match=f"--save-dir .*{message}"):
            begin(tiny, tmp_path / "run", save_dir)
    with pytest.raises(UserError, match=r"--save-dir .*lie in each other"):
        begin(tiny, tmp_path / "outer" / "run", tmp_path / "outer")
    assert not (tmp_path / "run").exists()


def test_another_users_model_in_a_sticky_folder_is_found_before_the_first_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sticky" / "model").mkdir(parents=True)
    mine = tmp_path.stat().st_uid
    for sticky, user, refused in ((True, mine + 1, True), (False, mine + 1, False), (True, mine, False)):
        (tmp_path / "sticky").chmod(0o1777 if sticky else 0o777)
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with pytest.raises(OSError, match="another user's") if refused else nullcontext():
            expect_replaceable(tmp_path / "sticky" / "model")


def test_a_link_to_a_model_folder_is_a_place_to_publish(tiny: Mnist, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(BeganError):
        begin(tiny, tmp_path / "run", tmp_path / "link")


def test_nothing_is_left_of_the_trial(tmp_path: Path) -> None:
    expect_replaceable(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# Two runs in one second


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    fork = multiprocessing.get_context("fork")
    barrier, queue = fork.Barrier(8), fork.Queue()

    def start() -> None:
        barrier.wait()
        queue.put(str(new_run_folder(None, "lenet5", 1).path))

    processes = [fork.Process(target=start) for _ in range(8)]
    for process in processes:
        process.start()
    made = sorted(queue.get(timeout=300) for _ in processes)
    for process in processes:
        process.join()
    stem = "runs/lenet5-seed1-20260101-000000"
    assert made == [stem, *(f"{stem}-{n}" for n in range(2, 9))]


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", "--data-dir", "nowhere"])
    with pytest.raises(UserError, match="nowhere"):
        train_script.main(StopRequest())
    assert not Path("runs").exists()
    folder = new_run_folder(None, "lenet5", 1)
    with folder.locked():
        pass
    folder.remove_if_unused()
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--init-from nowhere", "nowhere"),
        ("--config nowhere.json", "nowhere.json"),
        ("--config file", "expected a run.json"),
        ("--save-dir file/model", "file: expected|--save-dir file/model"),
        ("--save-dir full", "holds other things"),
        ("--run-dir full", "holds other things"),
        ("--run-dir new/run --save-dir new/inner/model --init-from nowhere", "nowhere"),
        ("--run-dir new/run --save-dir other/model --network lenet5_1998 --engine numpy", "--engine numpy"),
        ("--run-dir new/run --log-to tensorboard --figures all --init-from nowhere", "nowhere"),
        ("--run-dir new/run --data nowhere", "nowhere"),
        ("--run-dir file/run", "File exists"),
    ],
)
def test_a_start_that_fails_leaves_nothing(
    arguments: str, problem: str, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run, no model, no folder above one; and what was there is as it was."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/file").touch()
    before = sorted(tmp_path.rglob("*"))
    given = ["--data", str(small_data), "--save-dir", "models/mine", *arguments.split()]
    monkeypatch.setattr("sys.argv", ["train.py", *given, "--validation-size", "560"])
    with pytest.raises((UserError, OSError), match=problem):
        train_script.main(StopRequest())
    assert sorted(tmp_path.rglob("*")) == before and Path("file").read_text() == "mine"


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path, "lenet5", 1)
    with folder.locked():
        pass
    folder.remove_if_unused()
    assert tmp_path.is_dir()
