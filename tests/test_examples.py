"""docs/onnx.md from top to bottom, as its reader does it: export, JavaScript, C++; with infer.py's answers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from mnist.dataset import Mnist
from tests.pages import copy_project, steps

PAGE = "docs/onnx.md"
TOOLS = {"npm": "npm", "g++": "g++", "libopencv-dnn-dev": "/usr/include/opencv4/opencv2/dnn.hpp"}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="paddle2onnx has no wheel for Python 3.13")
def test_other_runtimes_answer_as_infer_py(mnist: Mnist, tmp_path: Path) -> None:
    missing = [name for name, what in TOOLS.items() if not (shutil.which(what) or Path(what).is_file())]
    if missing and "CI" not in os.environ:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    project = copy_project(tmp_path, mnist, train=100, test=1000)
    digits: dict[str, list[dict[str, object]]] = {}
    for language, code in steps(PAGE):
        if code.startswith(("pip install", "python train.py")):
            continue  # what is tested runs in an environment that is set up; test_docs.py has the training
        result = project.run_example(code) if language == "python" else project.run(code)
        assert result.returncode == 0, result.stderr
        if code.startswith(("node", "./read_digit")):
            digits[code.split()[0]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert list(digits) == ["node", "./read_digit"]
    pictures = "docs/samples/seven_on_squared_paper.png docs/samples/two_from_mnist.png"
    expected = [
        json.loads(line)
        for line in project.run(f"python infer.py {pictures} --format json --top-k 1").stdout.splitlines()
    ]
    for answers in digits.values():
        assert [answer["digit"] for answer in answers] == [answer["digit"] for answer in expected] == ["7", "2"]
    told = [[answer["probability"] for answer in answers] for answers in (digits["node"], expected)]
    assert told[0] == pytest.approx(told[1], abs=1e-5)
