"""File names in CSV: no formula, one line, still the same file; in JSON exactly."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.cells import csv_cell
from model.saved_model import ModelError, read_model
from recognition.output import as_csv, as_json, rows_as_csv
from recognition.reader import Answer, Failure
from recognition.row_answers import PageAnswer, PlacedDigit, RowAnswer
from results.run_folder import RunFolder
from results.table import print_records
from tests.models import write_model
from tests.scripts.test_old_folders import SAMPLES

names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)
FORMULAS = ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "=HYPERLINK(“x”)", "＝1")


def decoded(cell: str) -> str:
    """As `common/cells.py` says."""
    return cell.encode("latin-1", "backslashreplace").decode("unicode_escape")


def is_formula(cell: str) -> bool:
    return cell.strip()[:1] in ("=", "+", "@", "＝", "＋", "－", "＠") or (cell.strip()[:1] == "-" and cell != "-")


def outputs(name: str) -> list[str]:
    """The first cell of all rows that infer.py prints for a picture of that name, in CSV."""
    answer = Answer(name, [("7", 0.9)], rejected=False)
    page = PageAnswer(name, [RowAnswer([PlacedDigit(answer, (0, 0, 9, 9), (0, 0, 9, 9))])], np.zeros((9, 9), np.uint8))
    texts = [as_csv(answer), as_csv(Failure(name, "why")), rows_as_csv(page), rows_as_csv(Failure(name, "why"))]
    assert all(text.isprintable() for text in texts)
    for each in (answer, page, Failure(name, "why")):
        assert json.loads(as_json(each))["path"] == name
    return [next(csv.reader(io.StringIO(text)))[0] for text in texts]


@given(names | st.sampled_from(FORMULAS))
@example("a\\n.png")
@example("a\n.png")
@example(" spaces ")
@example("-")
def test_a_cell_names_the_same_file(name: str) -> None:
    for cell in outputs(name):
        assert not is_formula(cell)
        assert os.path.normpath(decoded(cell)) == os.path.normpath(name)
        if name.isprintable() and "\\" not in name and not is_formula(name):
            assert cell == name


def test_a_cell_opens_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate((*FORMULAS, "a\\b", "line\nbreak", os.fsdecode(b"no\xffutf8"), "数字.png", "a,b")):
        Path(name).write_text(str(number))
        assert [Path(decoded(cell)).read_text() for cell in outputs(name)] == [str(number)] * 4


def test_compare_names_runs_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    record: dict[str, Any] = {"run": "=1+1", "run_dir": "@a\n\udcff", "network": None}
    record |= {"recipe": "-1", "difference": -0.5, "best": True}
    print_records([record], "csv")
    _, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert row == ["./=1+1", r"./@a\n\udcff", "", "./-1", "-0.5", "1"]
    print_records([record], "json")
    printed = capsys.readouterr().out
    assert printed.isascii() and json.loads(printed) == record


@pytest.mark.parametrize("name", ["=1+1", "@x", " -1"])
def test_a_runs_log_begins_with_no_formula(name: str, tmp_path: Path) -> None:
    """Its first column is the name of the run's folder."""
    assert RunFolder(tmp_path / name).name == f"./{name.strip()}"
    assert RunFolder(tmp_path / "run").name == "run" and RunFolder(tmp_path / "run", "=old").name == "=old"


def test_nothing_is_put_before_standard_input() -> None:
    assert csv_cell("-") == "-" and csv_cell("--") == "./--"


@pytest.mark.parametrize("label", FORMULAS)
def test_a_strangers_labels_are_no_formulas(label: str, tmp_path: Path) -> None:
    """infer.py puts them into the cells of the digit and of the likeliest ones."""
    model = read_model(SAMPLES / "run" / "inference_model")
    card = {**model.card, "labels": [label, *model.card["labels"][1:]]}
    write_model(tmp_path / "model", model.program, model.parameters, card)
    with pytest.raises(ModelError, match="expected labels"):
        read_model(tmp_path / "model")
