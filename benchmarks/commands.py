"""Whole commands from a cold start: train.py, and the same job as a PyTorch script."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suite import CompetitorError, environment, peak_bytes
from common.errors import one_line
from common.project import FOLDER
from data.dataset import Mnist

# No page of a step's buffers is given back to the system, to be faulted in again in the next step.
MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
POLL_SECONDS = 0.05
LEARNING_RATE = 2e-3  # at first; then half a cosine: with two passes every model is well above 98.5 %


@dataclass(frozen=True)
class Command:
    """One command, done.

    Attributes:
        label: whose it is.
        images: training images, of which some may be held out.
        passes: times through them.
        seed: of the initial weights and of the order.
        seconds: from its start until the saved model is there; imports, data and evaluation are in it.
        correct: right answers of the saved model among the test images.
        peak_bytes: the largest memory of the process (VmHWM, read every 50 ms).
        learning_rate: at first; it falls by half a cosine.
    """

    label: str
    images: int
    passes: int
    seed: int
    seconds: float
    correct: int
    peak_bytes: int
    learning_rate: float = LEARNING_RATE


def train_py(data: Path, images: int, passes: int, seed: int, validation: int) -> Command:
    """train.py on a folder of IDX files."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        command = [sys.executable, "train.py", "--data-dir", data, "--run-dir", Path(folder, "run")]
        command += ["--save-dir", model, "--passes", passes, "--seed", seed, "--validation-size", validation]
        command += ["--batch-size", 128, "--learning-rate", LEARNING_RATE, "--schedule", "cosine"]
        command += [] if validation else ["--select-on", "test"]
        seconds, peak, _ = _run("Paddle, train.py", command, {}, model)
        correct = json.loads((model / "card.json").read_text())["scores"]["test"]["correct"]
    return Command("Paddle, train.py", images, passes, seed, seconds, correct, peak)


def torch_script(python: Path, data: Path, images: int, passes: int, seed: int, validation: int) -> Command:
    """The PyTorch script on the same folder: channels_last, fused Adam, malloc tuned."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.pt")
        command = [python, "-m", "benchmarks.torch_script", data, model]
        command += ["--passes", passes, "--seed", seed, "--validation-size", validation]
        command += ["--learning-rate", LEARNING_RATE]
        seconds, peak, said = _run("PyTorch, script", command, MALLOC, model)
    return Command("PyTorch, script", images, passes, seed, seconds, int(said), peak)


def _run(label: str, command: Sequence[object], extra: dict[str, str], model: Path) -> tuple[float, int, str]:
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=FOLDER,
            env=environment(extra),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        peak, seconds = 0, 0.0
        while process.returncode is None:
            peak = max(peak, peak_bytes(process.pid))
            if not seconds and model.exists():
                seconds = time.perf_counter() - start
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        seconds = seconds or time.perf_counter() - start
        said.seek(0)
        text = said.read()
    if process.returncode:
        lines = text.strip().splitlines() or [f"status {process.returncode}"]
        raise CompetitorError(f"{label}: {one_line(lines[-1], 200)}")
    return seconds, peak, text


def write_data(data: Mnist, folder: Path, images: int) -> Path:
    """A folder of IDX files: MNIST's training images, cut or repeated to `images`, and its test images."""
    folder.mkdir(parents=True)
    parts = {"train": (data.train_images, data.train_labels), "t10k": (data.test_images, data.test_labels)}
    for part, (pictures, labels) in parts.items():
        for name, array in ((f"{part}-images-idx3-ubyte", pictures), (f"{part}-labels-idx1-ubyte", labels)):
            count = images if part == "train" else len(array)
            with (folder / name).open("wb") as file:
                file.write(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, count, *array.shape[1:]))
                for start in range(0, count, len(array)):
                    array[: count - start].tofile(file)
    return folder
