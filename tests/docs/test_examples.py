"""docs/onnx.md from top to bottom, as its reader does it in a clone: export, JavaScript, C++; infer.py's answers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from data.dataset import Mnist
from model.image import ImageSpec, network_input
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.digit import to_mnist
from recognition.picture import read_picture
from tests.conftest import MODEL, ROOT
from tests.docs.pages import copy_project, steps
from tests.models import write_model

PAGE = "docs/onnx.md"
TOOLS = {"npm": "npm", "g++": "g++", "libopencv-dnn-dev": "/usr/include/opencv4/opencv2/dnn.hpp"}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="paddle2onnx has no wheel for Python 3.13")
def test_other_runtimes_answer_as_infer_py(mnist: Mnist, tmp_path: Path) -> None:
    missing = [name for name, what in TOOLS.items() if not (shutil.which(what) or Path(what).is_file())]
    if missing and "CI" not in os.environ:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    project = copy_project(tmp_path, mnist, train=100, test=1000)
    model = load_model(MODEL)
    write_model(project.folder / "runs" / "NAME", model.program, model.parameters, model.card)
    answers: dict[str, list[dict[str, object]]] = {}
    for language, code in steps(PAGE):
        if code.startswith(("pip install", "python train.py")) or "FOLDER" in code:
            continue  # what is tested runs in an environment that is set up; test_docs.py has the training
        result = project.run_example(code) if language == "python" else project.run(code)
        assert result.returncode == 0, result.stderr
        if code.startswith(("node", "./read_digit")):
            answers[code.split()[0]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert list(answers) == ["node", "./read_digit"]
    pictures = [f"docs/samples/{name}.png" for name in ("seven_on_squared_paper", "two_from_mnist")]
    read = project.run(f"python infer.py {' '.join(pictures)} --format json").stdout.splitlines()
    for own in answers.values():
        assert [answer["digit"] for answer in own] == [json.loads(line)["digit"] for line in read] == ["7", "2"]
    images = np.stack([to_mnist(read_picture(ROOT / path)) for path in pictures])
    told = (
        Predictor(model)
        .calibrated(network_input(images, ImageSpec(size=28, low=-1.0, high=1.0, fit="none")))
        .max(axis=1)
    )
    assert [answer["probability"] for answer in answers["node"]] == pytest.approx(told.tolist(), abs=1e-5)
