"""What the tests share: real MNIST by the users' loader, a small real data set, the scripts run as users run them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model  # noqa: F401  prepares the process for Paddle; before anything imports it
from common.files import sha256
from data.dataset import Mnist, load_mnist
from recognition import novelty
from tests.launcher import ROOT, SHARED

MODEL = ROOT / "inference_model" / "released"  # the model that tests read digits by

Script = Callable[..., subprocess.CompletedProcess[Any]]  # of str, unless called with text=False


@pytest.fixture(scope="session", autouse=True)
def _session() -> Iterator[None]:
    """Nothing that is there before the first test is garbage: the collections between modules pass it over."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    SHARED.close()


@pytest.fixture(scope="module", autouse=True)
def _no_garbage_is_left(_session: None) -> Iterator[None]:
    """Garbage of a module is collected at its end: what goes wrong then (an error in pytest) shows there.

    model/__init__.py lets the heap keep 2 GB that are free; between modules they go back to the system.
    """
    yield
    gc.collect()
    gc.freeze()  # what is left lasts, such as libraries: the next collection takes a hundredth of a second
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session", autouse=True)
def _a_detector_is_fitted_once() -> Iterator[None]:
    """Trainings of the same images in this process share one; fitting it takes half of such a small training."""
    fitted: dict[tuple[str, ...], novelty.NoveltyDetector] = {}
    fit = novelty.fit

    def fit_once(*images_and_labels: np.ndarray) -> novelty.NoveltyDetector:
        key = tuple(sha256(array.tobytes()) for array in images_and_labels)
        if key not in fitted:
            fitted[key] = fit(*images_and_labels)
        return fitted[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(novelty, "fit", fit_once)
        yield


@pytest.fixture(autouse=True)
def _static_graph() -> None:
    import paddle

    paddle.enable_static()


@pytest.fixture(scope="session")
def mnist() -> Mnist:
    """All of MNIST, from where users get it."""
    return load_mnist()


@pytest.fixture(scope="session")
def small_data(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in MNIST's format: the first 2,560 training and 500 test images."""
    folder = tmp_path_factory.mktemp("small")
    write_idx(folder / "train-images-idx3-ubyte", mnist.train_images[:2560])
    write_idx(folder / "train-labels-idx1-ubyte", mnist.train_labels[:2560])
    write_idx(folder / "t10k-images-idx3-ubyte", mnist.test_images[:500])
    write_idx(folder / "t10k-labels-idx1-ubyte", mnist.test_labels[:500])
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write uint8 values as an IDX file (yann.lecun.com's format: 0, 0, type 8, dimensions, sizes, bytes)."""
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture(scope="session")
def script() -> Script:
    """Run a script of the project, or `-m` and a module; returns what it printed and its exit status.

    The process is forked from one that has imported Paddle (tests/launcher.py), which saves seconds. `fresh=True`
    starts a new Python, for tests of the start itself; so does another environment in what libraries read when they
    are imported, or any option of subprocess.run but `input`, `text`, `cwd`, `env` and `timeout`.
    """

    def run(name: str, *arguments: object, fresh: bool = False, **options: Any) -> subprocess.CompletedProcess[Any]:
        command = [name if name == "-m" else str(ROOT / name), *map(str, arguments)]
        environment = options.get("env", os.environ)
        if fresh or not options.keys() <= {"input", "text", "cwd", "env", "timeout"} or not SHARED.can_run(environment):
            settings = {"capture_output": True, "text": True, "timeout": 300, "cwd": ROOT, **options}
            return subprocess.run([sys.executable, *command], **settings)
        given = options.get("input", b"")
        stdin = given.encode() if isinstance(given, str) else given
        done: subprocess.CompletedProcess[Any] = SHARED.run(
            command, options.get("cwd", ROOT), stdin, options.get("timeout", 300), environment=environment
        )
        if options.get("text", True):
            done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    return run


@pytest.fixture(scope="session")
def small_run(small_data: Path, script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of train.py on the small data: folders run and model, and what it printed in output.txt.

    All test processes of a session share it; nothing is changed there.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small_run"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "errors.txt").exists():
            return folder
        result = script(
            "train.py",
            *("--data-dir", small_data, "--validation-size", 560, "--passes", 3, "--log-every", 1),
            *("--run-dir", folder / "run", "--save-dir", folder / "model"),
            fresh=True,  # whose noise would be that of importing Paddle, too
        )
        assert result.returncode == 0, result.stderr
        (folder / "output.txt").write_text(result.stdout)
        (folder / "errors.txt").write_text(result.stderr)
    return folder
