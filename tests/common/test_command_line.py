"""What all scripts share: closed and broken streams, names that are no text, wrong use."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import compare
import demo
import evaluate
import infer
import train
from common.checksummed import dump_checksummed, load_checksummed
from common.command_line import parse
from tests.conftest import ROOT, Script
from training.settings import Settings


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_empty_ones(closed: str, small_run: Path, tmp_path: Path) -> None:
    """What is then opened first must not get the closed stream's number either."""
    command = f"{sys.executable} compare.py {small_run / 'run'} --plot {tmp_path / 'curves.png'} {closed}"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_closed_standard_input_is_no_picture() -> None:
    command = f"{sys.executable} infer.py - <&-"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1 and result.stderr == "error: -: expected a picture, got an empty file\n"


def test_a_reader_that_leaves_stops_a_table_quietly(small_run: Path) -> None:
    assert read_lines(0, "compare.py", small_run / "run") == (0, "")


@pytest.mark.parametrize("lines", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_outlives_its_reader(lines: int, small_data: Path, tmp_path: Path) -> None:
    """What was asked for is the run; its output is only watched."""
    arguments: tuple[object, ...] = ("--data-dir", small_data, "--validation-size", 560, "--passes", 1)
    arguments += ("--figures", "none", "--save-dir", tmp_path / "model")
    arguments += ("--kernel", "stock")  # else a line may tell why it is stock
    status, errors = read_lines(lines, "train.py", *arguments, "--run-dir", tmp_path / "run")
    note = f"note: nobody reads the output any more; training goes on, see {tmp_path / 'run' / 'results.csv'}\n"
    assert (status, errors) == (0, note)
    assert "outcome" in json.loads((tmp_path / "run" / "run.json").read_bytes())
    assert (tmp_path / "model" / "card.json").is_file()


def read_lines(count: int, name: str, *arguments: object) -> tuple[int, str]:
    """Read so many lines of what a script prints and then leave; returns its status and what stderr holds."""
    command = [sys.executable, name, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        for _ in range(count):
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        return process.wait(), errors


def test_folders_whose_names_are_no_utf8(small_data: Path, script: Script, tmp_path: Path) -> None:
    run, model = (tmp_path / os.fsdecode(name) for name in (b"run\xff", b"model\xfe"))
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--passes", 1, "--figures", "none")
    result = script("train.py", *arguments, "--run-dir", run, "--save-dir", model)
    assert (result.returncode, result.stderr) == (0, "")
    record = json.loads((run / "run.json").read_bytes())
    assert record["settings"]["save_dir"] == str(model) and (model / "card.json").is_file()
    assert script("train.py", "--resume", run).stdout.startswith(f"{tmp_path}/run\\udcff: this run is finished")


@pytest.mark.parametrize("name", ["train.py", "infer.py", "compare.py", "demo.py"])
def test_help_is_for_people(name: str, script: Script) -> None:
    result = script(name, "--help", env={**os.environ, "COLUMNS": "100"})
    assert (result.returncode, result.stderr) == (0, "")
    assert not re.search(r"None|STR|default: \)", result.stdout)


def test_help_of_training_has_groups_and_the_numbers_of_the_recipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        parse(Settings, ["--recipe", "best", "--help"], groups=train.GROUPS, shown=Settings.with_recipe)
    shown = capsys.readouterr().out
    assert not left.value.code and max(map(len, shown.splitlines())) <= 80
    assert re.findall(r"^├─ (.+?) ─+┤$", shown, re.MULTILINE) == list(train.GROUPS.values())
    text = re.sub(r"[\s│]+", " ", shown)
    assert "--recipe" in text and "known. (default: published)" in text and "the recipe's" not in text
    for option, value in {"--passes N, --epochs N": 100, "--ema X": 0.9995, "--rotation X": 12.0}.items():
        assert re.search(rf"{option} [^(]*\(default: {value}\)", text), option


@pytest.mark.parametrize("module", [compare, demo, evaluate, infer])
def test_help_of_many_options_has_groups(module: ModuleType, script: Script) -> None:
    shown = script(f"{module.__name__}.py", "--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert re.findall(r"^├─ (.+?) ─+┤$", shown, re.MULTILINE) == list(module.GROUPS.values())


def test_epochs_and_lr_are_other_names() -> None:
    settings = parse(Settings, ["--epochs", "3", "--lr", "0.5"])
    assert (settings.passes, settings.learning_rate) == (3, 0.5)


def test_none_is_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--optimizer", "None"], ["--passes", "None"], ["--select-by", "erorr"]):
        with pytest.raises(SystemExit):
            parse(Settings, arguments)
        error = capsys.readouterr().err
        for typed in (f"got {arguments[1]}", f"choice {arguments[1]!r}", f"from [{arguments[1]!r}]"):
            error = error.replace(typed, "")
        assert arguments[0] in error and "None" not in error


@pytest.mark.parametrize("colour", [{}, {"FORCE_COLOR": "1", "TERM": "xterm"}])
def test_a_mistyped_option_is_named_with_the_one_that_was_meant(colour: dict[str, str]) -> None:
    """On a terminal tyro colours its messages, whose text is taken from its frame."""
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "train.py", "--lerning-rate", "0.1"],
            cwd=ROOT,
            stdin=follower,
            stdout=follower,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TERM": "dumb", **colour},
        )
    finally:
        os.close(follower)
        os.close(leader)
    assert done.returncode == 2
    said = "Unrecognized options: --lerning-rate; did you mean --learning-rate? (see --help)"
    assert done.stderr == f"error: {said}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epoch", "3"], "--epoch; did you mean --epochs?"),
        (["--pases=3"], "--pases; did you mean --passes?"),
        (["--data-dr", "/x", "--quik"], "--data-dr, --quik; did you mean --data-dir?"),
    ],
)
def test_unknown_options_are_named_without_their_values(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(Settings, arguments)
    assert capsys.readouterr().err == f"error: Unrecognized options: {said} (see --help)\n"


@pytest.mark.parametrize("columns", ["80", "300"])
def test_an_option_leads_with_the_name_that_the_pages_use(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        parse(Settings, ["--help"])
    shown = capsys.readouterr().out
    for names in ("--learning-rate X, --lr X", "--passes N, --epochs N", "--data PATH, --data-dir PATH"):
        assert re.search(rf"^│ {names}  ", shown, re.MULTILINE)
    assert len({len(line) for line in shown.splitlines() if line.startswith("│")}) == 1


def test_sealed_json_keeps_any_name() -> None:
    for name in ("数据", "a\udcffb", "\x1b\n"):
        assert load_checksummed(dump_checksummed({"name": name}))["name"] == name


def test_no_home_folder_makes_no_noise(small_run: Path, script: Script, tmp_path: Path) -> None:
    """As in a container whose user has none."""
    nowhere = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    plot = ("--plot", tmp_path / "curves.png")
    result = script("compare.py", small_run / "run", *plot, env={**nowhere, "HOME": "/proc/nowhere"})
    assert (result.returncode, result.stderr) == (0, "")
