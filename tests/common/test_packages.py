"""A Python without what the scripts need, and the model that answers: said in a line each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import packages
from common.command_line import run
from recognition.output import model_line
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["train.py", "infer.py", "compare.py", "demo.py"])
def test_a_python_without_the_packages_says_which_to_take(name: str) -> None:
    """`-S`: without the environment's packages."""
    done = subprocess.run([sys.executable, "-S", name], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    own = f".venv/bin/python {name} (make venv " if (ROOT / ".venv/bin/python").is_file() else ""
    assert done.stderr.startswith(f"error: {sys.executable} has no package tyro: run {own}")
    assert "pip install -r requirements-cpu.txt" in done.stderr


def test_an_installed_paddle_is_kept(tmp_path: Path) -> None:
    """As on AI Studio after a restart: either Paddle over the other would ruin both."""
    info = tmp_path / "paddlepaddle_gpu-2.6.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paddlepaddle-gpu\nVersion: 2.6.2\n")
    done = subprocess.run(
        [sys.executable, "-S", "train.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("pip install -r requirements-base.txt\n") and "requirements-cpu" not in done.stderr


def test_the_packages_that_ai_studio_kept_come_first_and_no_venv_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    monkeypatch.setattr(packages, "KEPT", tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for remedy in (f"run export PYTHONPATH={tmp_path} and this again, or pip", "run pip"):
        with pytest.raises(SystemExit):
            packages.leave_without("tyro")
        message = capsys.readouterr().err
        assert remedy in message and message.count("\n") == 1
        assert ".venv" not in message.replace(sys.executable, "")
        sys.path.append(str(tmp_path))


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 1, "final", 0))
    with pytest.raises(SystemExit) as leaving:
        packages.expect_packages()
    assert leaving.value.code == 1 and "is Python 3.8, expected 3.10 to 3.13" in capsys.readouterr().err


def test_a_package_that_is_missed_later_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A module of our own that is missing is a fault of the program, and stays one."""

    def lacks(module: str) -> None:
        def main(_: object) -> int:
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)

        run(main)

    with pytest.raises(SystemExit) as leaving:
        lacks("paddle.static")
    said = capsys.readouterr().err
    assert leaving.value.code == 1 and "has no package paddle.static: run" in said and said.count("\n") == 1
    with pytest.raises(ModuleNotFoundError):
        lacks("data.nothing")


def test_the_model_that_answers_is_named() -> None:
    card = json.loads((ROOT / "tests/samples/c93bf08/run/inference_model/card.json").read_bytes())
    said = model_line(Path("mine"), card)
    test = card["scores"]["test"]
    assert said == (
        f"model: mine, {card['network']}, pass {card['pass']} of run {card['run']}, "
        f"{test['correct']} of {test['total']} test images right"
    )
    assert model_line(Path("a\nb"), {"scores": 5}) == r"model: a\nb"


def test_infer_names_the_model_once(script, small_run: Path) -> None:
    """Above a table; of JSON and CSV, stderr holds errors alone."""
    picture = "docs/samples/seven_on_squared_paper.png"
    done = script("infer.py", picture, picture, "no.png", "--model-dir", small_run / "model")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"model: {small_run / 'model'}, conv_pool_bn, pass ") and second.startswith("error: no.png")
    assert "model:" not in done.stdout
    done = script("infer.py", picture, "--model-dir", small_run / "model", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_pages_say_how_to_use_the_environment_and_get_the_model_back(page: str) -> None:
    text = (ROOT / page).read_text()
    for said in (". .venv/bin/activate", "--model-dir inference_model/released"):
        assert f"`{said}" in text
