"""`--config`: a new run with the settings of an earlier one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import train
from common.command_line import parse
from common.errors import UserError
from model.recipes import PUBLISHED
from tests.scripts.test_old_folders import SAMPLES, run_main
from training.config import NOT_REPEATED, repeated
from training.settings import Settings, to_json

ODD = Settings(
    network="lenet5_relu", recipe="best", maps=(5, 12), kernel_size=(5, 3), passes=7, learning_rate=0.00025, seed=4,
    shuffle_buffer="all", select_on="test", log_to=("tensorboard",), data_dir=Path("a b"), rotation=0.0, patience=3,
    run_dir=Path("x"), save_dir=Path("y"), figures="none",
)  # fmt: skip


def record(folder: Path, settings: dict[str, Any], **more: object) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps({"settings": settings, "version": "9.9", **more}))
    return path


def test_every_setting_comes_back_but_the_folders(tmp_path: Path) -> None:
    path = record(tmp_path, to_json(ODD))
    expected = replace(ODD, run_dir=None, save_dir=Settings().save_dir)
    assert parse(Settings, repeated(path)) == parse(Settings, repeated(tmp_path)) == expected
    assert parse(Settings, repeated(record(tmp_path, to_json(Settings())))) == Settings()
    assert set(NOT_REPEATED) <= to_json(ODD).keys()


def test_options_override_it(tmp_path: Path) -> None:
    path = record(tmp_path, to_json(ODD))
    for config in ([f"--config={path}"], ["--config", str(tmp_path)]):
        given = [
            *config,
            "--maps",
            "4",
            "9",
            "--lr",
            "0.5",
            "--patience",
            "1",
            "--network",
            "two_branch",
            "--passes",
            "1",
        ]
        parsed = parse(Settings, [*given, "--kernel-size", "5"], config=repeated)
        assert (parsed.maps, parsed.learning_rate, parsed.patience, parsed.network) == ((4, 9), 0.5, 1, "two_branch")
        assert (parsed.seed, parsed.select_on, parsed.kernel_size) == (4, "test", 5)


def test_an_old_run_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    old = json.loads((SAMPLES / "run" / "run.json").read_text())
    parsed = parse(Settings, repeated(SAMPLES / "run"))
    assert parsed.seed == old["settings"]["seed"] and parsed.resolved_recipe().passes == old["recipe"]["passes"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"beauty": 1}, "made by release 9.9: its setting beauty is none of this"),
        ({"passes": 0}, "--passes 0: expected at least 1"),
        ({"network": "resnet"}, "resnet"),
        ({"passes": "ten"}, "--passes: expected whole numbers, got ten"),
        ({"maps": [20, "50", "--save-dir", "/home/user"]}, "--maps: expected values, got --save-dir"),
        ({"log_to": ["tensorboard", "--save-dir=x"]}, "--log-to: expected values, got --save-dir=x"),
        ([], "has an object settings, got none"),
    ],
)
def test_what_it_cannot_have_is_one_line_that_names_the_file(
    settings: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(tmp_path, settings)
    with pytest.raises((UserError, SystemExit)) as leaving:
        repeated(path)
    line = capsys.readouterr().err or str(leaving.value)
    assert said in line and str(path) in line and line.strip().count("\n") == 0
    with pytest.raises((UserError, OSError), match=r"run\.json|No such"):
        repeated(tmp_path / "none")


def test_another_recipe_of_the_same_name_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resolved = json.loads(json.dumps(PUBLISHED["conv_pool_bn"].__dict__))
    repeated(record(tmp_path, to_json(Settings()), recipe=resolved))
    assert capsys.readouterr().err == ""
    repeated(record(tmp_path, to_json(Settings()), recipe={**resolved, "batch_size": 77}))
    assert capsys.readouterr().err.endswith("made by release 9.9, whose recipe had batch_size 77\n")


def test_train_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, to_json(Settings(network="lenet5_1998")))
    assert run_main(train, monkeypatch, "--config", tmp_path, "--summary") == 0
    assert "lenet5_1998" in capsys.readouterr().out
