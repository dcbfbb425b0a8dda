"""Odd values, names and surroundings end in one line, not in a traceback, and never in a wrong answer."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import compare
import demo
import infer
from common.command_line import parse
from common.errors import UsageError, UserError
from common.files import make_folder, new_folder
from data import sources
from model.kernels import build
from recognition.names import find_pictures
from results import event_files
from results.run_folder import new_run_folder
from results.runs import load_runs
from tests.conftest import ROOT
from training.same_run import resumed
from training.settings import Settings

SCRIPTS = {"train": Settings, "infer": infer.Settings, "compare": compare.Options, "demo": demo.Settings}
FILTERS = {("compare", "seed"), ("compare", "passes")}  # a number that no run has is a good question


def numbers(kind: type) -> list[tuple[str, str]]:
    """Script and option of each number of this kind that the scripts take."""
    found = []
    for script, settings in SCRIPTS.items():
        hints = typing.get_type_hints(settings)
        for field in dataclasses.fields(settings):
            hint = hints[field.name]
            if (hint is kind or kind in typing.get_args(hint)) and (script, field.name) not in FILTERS:
                found.append((script, "--" + field.name.replace("_", "-")))
    return found


def refused(script: str, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a script refuses a value as wrong use, in one line that names the option."""
    picture = ["x.png"] if script == "infer" else []
    try:
        parse(SCRIPTS[script], [*picture, f"{option}={value}"])
    except UsageError as error:
        return option.lstrip("-").replace("-", "_") in str(error).replace("-", "_") and "\n" not in str(error)
    except SystemExit as leaving:
        said = capsys.readouterr().err
        return leaving.code == 2 and said.count("\n") == 1 and option in said
    return False


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300", "-1"])
def test_no_option_takes_a_number_out_of_its_range(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = numbers(float)
    assert len(options) >= 17
    assert [each for each in options if not refused(*each, value, capsys)] == []


@pytest.mark.parametrize("value", ["-1", "1e30", str(10**30)])
def test_no_option_takes_a_whole_number_out_of_its_range(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = numbers(int)
    assert len(options) >= 14
    assert [each for each in options if not refused(*each, value, capsys)] == []


@pytest.mark.parametrize("maps", [(1000000, 1000000), (2000, 1), (0, 5)])
def test_a_network_beyond_any_memory_is_refused(maps: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"--maps \d+ \d+: expected 2 numbers of at least 1, at most 1024"):
        Settings(maps=maps)


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    """A link that leads to itself."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    return tmp_path / "circle"


def test_links_in_a_circle_hold_no_run(circle: Path) -> None:
    runs, problems = load_runs([circle, circle / "run"])
    assert (runs, len(problems)) == ([], 2)
    with pytest.raises(UsageError, match="circle: expected a folder, found a link to no folder"):
        new_run_folder(circle, "conv_pool_bn", 1)
    with pytest.raises((UserError, OSError), match="circle"):
        resumed(circle, lambda settings: settings)
    with pytest.raises(OSError, match="circle"), new_folder(circle / "model", ()):
        pass


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """A folder that goes in one piece: pytest's own way of removing fails below a thousand folders."""
    folder = tmp_path / "top"
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def test_folders_nested_deep_are_made_and_searched(top: Path) -> None:
    """Deeper than Python's stack."""
    deep = top.joinpath(*"d" * 1100)
    make_folder(deep)
    (deep / "7.png").touch()
    assert list(find_pictures([str(top)])) == [str(deep / "7.png")]
    assert len(load_runs([deep])[1]) == 1


def test_a_folder_below_the_longest_path_is_told(top: Path) -> None:
    here = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (found,) = find_pictures([str(top)])
    assert len(found) > 4000
    assert len(load_runs([Path(found)])[1]) == 1


def test_linked_folders_are_searched_once(top: Path, tmp_path: Path) -> None:
    """Also one that leads back up, and one outside; a link to nowhere is told when it is read."""
    (tmp_path / "outside").mkdir()
    for name in ("top/b.png", "outside/c.png", "outside/.hidden.png"):
        (tmp_path / name).touch()
    (top / "a").symlink_to(tmp_path / "outside")
    (top / "back").symlink_to(top)
    (top / "z").symlink_to(tmp_path / "outside")
    (top / "dangling.png").symlink_to(tmp_path / "nowhere")
    assert list(find_pictures([str(top)])) == [f"{top}/b.png", f"{top}/dangling.png", f"{top}/a/c.png"]


def test_a_tilde_is_the_home_folder_in_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in --option=~/x, which no shell expands; a name that only begins with one stays."""
    monkeypatch.setenv("HOME", "/home/anna")
    train = parse(Settings, ["--data-dir=~/data", "--run-dir", "~/runs/a", "--save-dir", "~"])
    assert (train.data_dir, train.run_dir) == (Path("/home/anna/data"), Path("/home/anna/runs/a"))
    assert train.save_dir == Path("/home/anna")
    read = parse(infer.Settings, ["~/7.png", "-", "~$lock.png", "a~", "--model-dir=~/m", "--lines", "--annotate=~/x"])
    assert read.pictures == ("/home/anna/7.png", "-", "~$lock.png", "a~")
    assert (read.model_dir, read.annotate) == (Path("/home/anna/m"), Path("/home/anna/x"))
    compared = parse(compare.Options, ["~/runs/a", "--plot=~/x.png", "--html=~/x.html"])
    assert (*compared.run_dirs, compared.plot, compared.html) == tuple(
        Path("/home/anna", name) for name in ("runs/a", "x.png", "x.html")
    )
    page = parse(demo.Settings, ["--runs-dir=~/runs", "--model-dir", "~/m"])
    assert (page.runs_dir, page.model_dir) == (Path("/home/anna/runs"), Path("/home/anna/m"))


def test_a_tilde_is_the_home_folder_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(sources.CACHE_VARIABLE, "~/kept")
    monkeypatch.setenv(sources.FOLDER_VARIABLE, "~/mine")
    assert sources.usual_places().folders == (tmp_path / ".cache/paddle/dataset/mnist", tmp_path / "kept")
    with pytest.raises(UserError, match=f"{tmp_path}/mine: expected a folder"):
        sources.find()
    monkeypatch.setenv(build.CACHE_VARIABLE, "~/compiled")
    assert build._cache_folder() == tmp_path / "compiled"


def test_a_long_temporary_folder_leaves_room_for_sockets(tmp_path: Path) -> None:
    long = tmp_path / ("t" * 100)
    long.mkdir()
    program = (
        "from recognition.picture import Limits; from recognition.workers import Workers\n"
        "if __name__ == '__main__':\n"
        "    with Workers(Limits(), 1) as workers: print(*workers.read([b'no picture']))"
    )
    (tmp_path / "read.py").write_text(program)
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "read.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout == "expected a picture, got one that cannot be decoded: no known format\n"
    assert (done.returncode, done.stderr, list(long.iterdir())) == (0, "", [])


@pytest.mark.parametrize("kind", ["tensorboard", "visualdl"])
def test_a_flipped_byte_in_an_event_file_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "write_file", lambda path, data: None)  # a thousand times, each synced
    form = event_files.TensorBoard() if kind == "tensorboard" else event_files.VisualDL()
    with contextlib.redirect_stdout(io.StringIO()):
        writer = form.writer(tmp_path)
        writer.add_histogram("parameters/x", np.arange(50.0), 1)
        writer.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 1 + len(whole) // 400):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            event_files._cut_back(path, form, passes=1)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path}: expected what --log-to wrote") and str(error).isprintable()
    assert refused
    os.truncate(path, 1 << 33)
    with pytest.raises(OSError, match="more than the expected"):
        event_files._cut_back(path, form, passes=1)


@pytest.mark.parametrize(("kind", "flipped"), [("tensorboard", range(8)), ("visualdl", range(3, 8))])
def test_a_damaged_length_in_an_event_file_does_not_drop_the_records_behind_it(
    kind: str, flipped: range, tmp_path: Path
) -> None:
    form = event_files.TensorBoard() if kind == "tensorboard" else event_files.VisualDL()
    with contextlib.redirect_stdout(io.StringIO()):
        writer = form.writer(tmp_path)
        for number in range(1, 4):
            writer.add_histogram("parameters/x", np.arange(50.0), number)
        writer.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    places = [whole.index(record) for record, content in event_files._records(whole, form) if form.keeps(content, 3)]
    assert len(places) >= 3
    for place in places:
        for byte in flipped:
            path.write_bytes(whole[: place + byte] + bytes([whole[place + byte] ^ 0x55]) + whole[place + byte + 1 :])
            with pytest.raises(UserError, match="expected what --log-to wrote, got a damaged record"):
                event_files._cut_back(path, form, passes=3)
    path.write_bytes(whole[:-3])
    event_files._cut_back(path, form, passes=3)  # one that a crash cut short is no damage
    assert len(list(event_files._records(path.read_bytes(), form))) == len(places) - 1
    path.write_bytes(whole + bytes(50))  # nor are zeros, as a power cut leaves them
    event_files._cut_back(path, form, passes=3)
    assert sum(bool(content) for _, content in event_files._records(path.read_bytes(), form)) == len(places)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "x"], "--seed: expected whole numbers, got x"),
        (["--passes", "1.5"], "--passes: expected whole numbers, got 1.5"),
        (["--maps", "1", "x"], "--maps: expected whole numbers, got 1 x"),
        (["--learning-rate", "x"], "--learning-rate: expected numbers, got x"),
        (["--checkpoint-seconds", "x"], "--checkpoint-seconds: expected numbers, got x"),
    ],
)
def test_what_is_no_number_is_named_in_the_projects_words(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(Settings, arguments)
    assert (left.value.code, capsys.readouterr().err) == (2, f"error: {said} (see --help)\n")
