"""Runs, models and outputs of commit c93bf08 (tests/samples/c93bf08): they resume, load and keep their shapes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import compare
import infer
import train
from common.signals import catch_signals
from results.log import read_results, read_steps
from tests.conftest import Script

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests" / "samples" / "c93bf08"


def run_main(script: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run a script's main in this process, in the project's folder; the environment stays as it is."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [script.__file__, *map(str, arguments)])
    with catch_signals() as stop, mock.patch.dict(os.environ):  # train.py --resume sets the run's threads
        status: int = script.main(stop)
    return status


def keys(value: Any) -> Iterator[tuple[str, ...]]:
    """The paths of all keys in a JSON value; lists count by their first entry."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (name,)
            yield from ((name, *rest) for rest in keys(inner))
    elif isinstance(value, list) and value:
        yield from (("[]", *rest) for rest in keys(value[0]))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the old run, continued to the end of pass 5; its folder also holds `published`."""
    folder = tmp_path_factory.mktemp("old")
    shutil.copytree(SAMPLES / "run", folder / "run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = ("--data-dir", SAMPLES / "data", "--passes", 5, "--save-dir", folder / "published")
        assert run_main(train, monkeypatch, "--resume", folder / "run", *settings) == 0
    return folder


def test_an_old_run_resumes_where_it_stopped(resumed: Path) -> None:
    old, now = (folder / "results.csv" for folder in (SAMPLES / "run", resumed / "run"))
    assert now.read_bytes().startswith(old.read_bytes())
    rows, problems = read_results(now)
    assert [row.pass_number for row in rows] == [1, 2, 3, 4, 5]
    assert not problems
    assert rows[-1].train_loss < rows[2].train_loss
    assert (resumed / "run" / "steps.csv").read_bytes().startswith((SAMPLES / "run" / "steps.csv").read_bytes())
    steps = read_steps(resumed / "run" / "steps.csv")[0]
    assert [(step.pass_number, step.step) for step in steps[-8:]] == [(p, s) for p in (4, 5) for s in (2, 4, 6, 8)]


@pytest.mark.parametrize("name", ["run.json", "inference_model/card.json"])
def test_records_of_a_resumed_run_keep_every_key(resumed: Path, name: str) -> None:
    old, now = (json.loads((folder / name).read_text()) for folder in (SAMPLES / "run", resumed / "run"))
    changing = {("scores", "validation"), ("calibration",), ("rejection",)}
    missing = set(keys(old)) - set(keys(now))
    assert not {path for path in missing if path[:1] not in changing and path[:2] not in changing}


def test_the_model_of_a_resumed_run_is_published_whole(resumed: Path) -> None:
    old = {path.name for path in (SAMPLES / "run" / "inference_model").iterdir()}
    assert {path.name for path in (resumed / "published").iterdir()} >= old


@pytest.mark.parametrize(
    ("sample", "arguments"),
    [("infer", ["pictures/two_from_mnist.png"]), ("lines", ["--lines", "pictures/number.png"])],
)
def test_answers_of_an_old_model_keep_their_shape(
    sample: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SAMPLES / "run" / "inference_model"
    places = [a if a.startswith("--") else (SAMPLES / a).relative_to(ROOT) for a in arguments]
    printed = {}
    for kind in ("json", "csv"):
        assert run_main(infer, monkeypatch, "--model-dir", model, *places, "--format", kind) == 0
        printed[kind] = capsys.readouterr().out
    old = json.loads((SAMPLES / f"{sample}.jsonl").read_text())
    now = json.loads(printed["json"])
    assert list(keys(now)) == list(keys(old))
    columns, before = (text.splitlines()[0] for text in (printed["csv"], (SAMPLES / f"{sample}.csv").read_text()))
    assert columns.split(",")[: before.count(",") + 1] == before.split(",")  # new ones come behind
    if sample == "infer":
        assert now.pop("probability") == pytest.approx(old.pop("probability"), abs=1e-4)
        assert now["digit"] == old["digit"]
        assert now["path"] == old["path"]


def test_a_comparison_of_an_old_run_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = "tests/samples/c93bf08/run"
    assert run_main(compare, monkeypatch, run, "--format", "json") == 0
    assert capsys.readouterr().out == (SAMPLES / "compare.jsonl").read_text()
    assert run_main(compare, monkeypatch, run, "--format", "csv") == 0
    expected = list(csv.reader((SAMPLES / "compare.csv").read_text().splitlines()))
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == expected


def test_the_folder_of_a_run_names_its_model(script: Script) -> None:
    picture = sorted((SAMPLES / "pictures").iterdir())[0]
    answers = [
        script("infer.py", "--model-dir", folder, "--format", "json", picture)
        for folder in (SAMPLES / "run", SAMPLES / "run" / "inference_model")
    ]
    assert answers[0].returncode == 0 and answers[0].stdout == answers[1].stdout != ""
