"""A model that answers with NaN is an error of the model, reported once."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import infer
from common.command_line import run
from model.predictor import Predictor
from model.saved_model import ModelError, load_model
from recognition.picture import Limits
from recognition.workers import Workers
from tests.models import write_model
from tests.scripts.test_old_folders import ROOT, SAMPLES, run_main


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A model whose last numbers, the biases of the answers, are NaN."""
    model = load_model(SAMPLES / "run" / "inference_model")
    parameters = np.frombuffer(model.parameters, np.uint8).copy()
    for start in range(len(parameters) - 8, len(parameters), 4):
        parameters[start : start + 4] = np.frombuffer(struct.pack("<f", np.nan), np.uint8)
    write_model(tmp_path / "model", model.program, parameters.tobytes(), model.card, novelty=model.novelty)
    return tmp_path / "model"


def test_an_answer_that_is_not_finite_is_an_error_of_the_model(broken: Path) -> None:
    with pytest.raises(ModelError, match="not finite"):
        Predictor(load_model(broken)).probabilities(np.zeros((1, 1, 28, 28), np.float32))


def test_an_answer_that_is_no_probability_is_an_error_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends without a softmax would be sure by 1,234 %."""
    predictor = Predictor(load_model(SAMPLES / "run" / "inference_model"))
    for answer in (-0.5, 12.34):
        monkeypatch.setattr(predictor, "_output", Output(answer))
        with pytest.raises(ModelError, match=r"expected probabilities of 0 to 1, got .* without a softmax"):
            predictor.probabilities(np.zeros((1, 1, 28, 28), np.float32))


class Output:
    """Stands for Paddle's handle of the answers."""

    def __init__(self, answer: float) -> None:
        self._answer = answer

    def copy_to_cpu(self) -> np.ndarray:
        return np.full((1, 10), self._answer, np.float32)


@pytest.mark.parametrize("kind", ["table", "json", "csv"])
def test_infer_says_it_once(
    broken: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = SAMPLES / "pictures" / "two_from_mnist.png"
    with pytest.raises(ModelError, match="not finite"):
        run_main(infer, monkeypatch, "--model-dir", broken, picture, picture, "--format", kind)
    printed = capsys.readouterr().out
    assert "nan" not in printed.lower()
    assert json.dumps(printed).count("two_from_mnist") == 0


def test_infer_ends_with_one_line_and_status_1(
    broken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    picture = str(SAMPLES / "pictures" / "two_from_mnist.png")
    monkeypatch.setattr(sys, "argv", ["infer.py", "--model-dir", str(broken), picture])
    with pytest.raises(SystemExit) as left:
        run(infer.main)
    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == 1
    assert line.startswith(f"error: {broken}: expected probabilities, got an answer that is not finite")


def test_the_page_says_it_of_a_run_and_reads_on_with_other_models(broken: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from page.found import Found
    from page.reader import Reader

    shutil.copytree(broken, tmp_path / "runs" / "broken" / "inference_model")
    image = np.zeros((28, 28), np.uint8)
    with Workers(Limits(), 1) as workers:
        with pytest.raises(ModelError, match="not finite"):
            Reader(broken, tmp_path / "runs", workers)
        reader = Reader(SAMPLES / "run" / "inference_model", tmp_path / "runs", workers)
        sound, of_the_run = reader.models()
        with pytest.raises(ModelError, match="not finite"):
            reader.answer(Found([image]), [sound, of_the_run])
        assert np.isfinite(reader.answer(Found([image]), [sound])[0].answers[0].probabilities).all()
