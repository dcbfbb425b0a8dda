"""The page's HTTP API in the form of `paddlex --serve`, as docs/serving.md has it; and the ONNX model behind others."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from recognition import DigitReader
from tests.conftest import MODEL, ROOT
from tests.docs.pages import steps
from tests.page.conftest import LARGEST_CALL, MAX_BYTES, PATIENCE, Server

PAGE = "docs/serving.md"
SEVEN = ROOT / "docs" / "samples" / "seven_on_squared_paper.png"
NUMBER = ROOT / "docs" / "pictures" / "number.png"


def ask(server: Server, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = HTTPConnection(urlsplit(server.address).netloc, timeout=PATIENCE)
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = json.load(answer)
    connection.close()
    return answer.status, content


def in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def reader(top_k: int = 3) -> DigitReader:
    return DigitReader.load(MODEL, top_k)


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> Path:
    """The project's folder as the page's reader has it, with the tests' model."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "inference_model").symlink_to(MODEL.parent)
    return tmp_path


def run(command: list[str] | str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    shell = isinstance(command, str)
    done = subprocess.run(
        command, shell=shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pages_examples_answer_as_infer_py(server: Server, folder: Path) -> None:
    """curl and Python ask the page; ONNX Runtime answers by itself, from the plain cut of the picture alone."""
    if shutil.which("curl") is None and "CI" not in os.environ:
        pytest.skip("no curl")
    printed = []
    for language, code in steps(PAGE):
        if code.startswith(("pip install", "python demo.py", "python -m training.export")):
            continue  # the page is running, and the model of the tests has ONNX
        own = code.replace("http://127.0.0.1:7860", server.address)
        printed.append(run([sys.executable, "-c", own] if language == "python" else own, folder))
    digit, rows, by_python, by_onnx = printed
    expected = [
        {"id": int(label), "name": label, "score": pytest.approx(p, abs=2e-6)}
        for label, p in reader().answer(SEVEN).digits
    ]
    assert json.loads(digit)["result"]["categories"] == expected
    assert json.loads(rows)["result"]["ocrResults"][0]["prunedResult"]["rec_texts"] == ["20719"]
    assert by_python.split()[0] == by_onnx.split()[0] == "7"
    assert float(by_onnx.split()[1]) > 0.99


def test_an_answer_has_paddlexs_form(server: Server) -> None:
    call = json.dumps({"image": in_base64(SEVEN), "topk": 1, "visualize": False}).encode()
    status, answer = ask(server, "POST", "/image-classification", call)
    assert status == 200 and list(answer) == ["logId", "errorCode", "errorMsg", "result"]
    assert (answer["errorCode"], answer["errorMsg"]) == (0, "Success")
    assert re.fullmatch(r"[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", answer["logId"])
    assert [each["name"] for each in answer["result"]["categories"]] == ["7"]
    assert (answer["result"]["noDigit"], answer["result"]["several"]) == (False, False)
    status, answer = ask(server, "POST", "/ocr", json.dumps({"file": in_base64(NUMBER), "fileType": 1}).encode())
    read = answer["result"]["ocrResults"][0]["prunedResult"]
    assert status == 200 and answer["result"]["dataInfo"] == {"width": 470, "height": 170, "type": "image"}
    assert read["rec_texts"] == ["20719"] and 0.5 < read["rec_scores"][0] <= 1 and read["no_digit"] == [False]
    left, top, right, bottom = read["rec_boxes"][0]
    assert 0 <= left < right <= 470 and 0 <= top < bottom <= 170 and right - left > 300
    with Image.open(NUMBER) as picture:
        rows, columns = np.nonzero(np.asarray(picture.convert("L")) < 100)  # the ink
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert read["rec_boxes"][0] == pytest.approx(box, abs=6)
    status, answer = ask(server, "GET", "/health")
    assert (status, answer["errorCode"], answer["errorMsg"]) == (200, 0, "Healthy")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/image-classification", b"{}", 422, "body.image: Field required"),
        ("/image-classification", b"[1]", 422, "body: Input should be a valid dictionary"),
        ("/image-classification", b"{", 422, "body.1: JSON decode error"),
        ("/image-classification", b"[" * 1_900, 4, ""),
        ("/image-classification", b'{"image": "AAAA", "topk": 0}', 422, "body.topk: Input should be greater than 0"),
        ("/image-classification", b'{"image": "http://127.0.0.1:9/x.png"}', 422, "expected a picture in base64"),
        ("/image-classification", b'{"image": "AA:AA"}', 422, "expected a picture in base64"),
        ("/ocr", '{"file": "数字"}'.encode(), 422, "expected a picture in base64"),
        ("/image-classification", b'{"image": "AAAA"}', 422, "expected a picture, got one that cannot be decoded"),
        ("/ocr", b'{"file": "AAAA", "fileType": 0}', 422, "body.fileType: Input should be 1"),
        ("/ocr", b'{"file": "AAAA"}', 422, "expected a picture, got one that cannot be decoded"),
        ("/image-classification", b"x" * (LARGEST_CALL + 1), 413, f"expected at most {LARGEST_CALL} bytes"),
        ("/ocr", b"[" * 3_000, 400, "expected JSON of at most 2000 brackets, commas and colons"),
        ("/health", b"{}", 404, "expected a path of this page"),
        (
            "/image-classification",
            json.dumps({"image": base64.b64encode(bytes(MAX_BYTES + 1)).decode()}).encode(),
            422,
            f"expected at most {MAX_BYTES} bytes",
        ),
    ],
)
def test_a_refused_call_has_the_same_form_and_one_line(
    server: Server, path: str, body: bytes, status: int, message: str
) -> None:
    given, answer = ask(server, "POST", path, body)
    assert str(given).startswith(str(status)) and list(answer) == ["logId", "errorCode", "errorMsg"]
    assert answer["errorCode"] == given and answer["errorMsg"].startswith(message) and "\n" not in answer["errorMsg"]
    assert server.errors.read_text() == ""


def test_tritons_configuration_is_that_of_the_model() -> None:
    """Names and shapes on the page are those of the file; Triton itself is not run."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(MODEL / "inference.onnx")
    config = re.findall(r"```proto\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)
    names = re.findall(r'name: "(\w[\w.]*)"\s+data_type: TYPE_FP32\s+dims: \[ ([\d, ]+) \]', config[0])
    told = [
        (each.name, [str(size) for size in each.shape[1:]]) for each in (*session.get_inputs(), *session.get_outputs())
    ]
    assert [(name, dims.split(", ")) for name, dims in names] == told
    assert {each.type for each in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}
