"""The page that the tests of demo.py and of its API share."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MODEL, ROOT

MAX_BYTES = 300_000
LARGEST_CALL = MAX_BYTES * 4 // 3 + (64 << 10)  # the picture in base64, and what goes with it
PATIENCE = 60  # seconds; a busy machine is no error


@dataclass(frozen=True)
class Server:
    address: str
    errors: Path


@pytest.fixture(scope="package")
def server(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """demo.py with the tests' model and two runs."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("first", "second"):
        shutil.copytree(small_run / "run", folder / "runs" / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "demo.py",
        "--port",
        str(port),
        "--runs-dir",
        str(folder / "runs"),
        "--model-dir",
        str(shutil.copytree(MODEL, folder / "inference_model")),
    ]
    errors = folder / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [*command, "--max-bytes", str(MAX_BYTES)], cwd=ROOT, stdout=subprocess.PIPE, stderr=file, text=True
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == f"open http://127.0.0.1:{port}/ (Ctrl-C ends it)\n", errors.read_text()
        yield Server(f"http://127.0.0.1:{port}", errors)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM  # though Paddle takes it for itself
        process.stdout.close()
