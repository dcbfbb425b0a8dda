"""The reading processes: rows of digits, for which they ask a network that lives here."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.dataset import Mnist
from model.image import ImageSpec, network_input
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.novelty import odds
from recognition.picture import Limits
from recognition.row_reader import RowReader
from recognition.rows import joined, read_rows
from recognition.strip import Rows
from recognition.workers import Unread, Workers
from tests.conftest import MODEL, ROOT


def in_a_row(images: np.ndarray, apart: int) -> bytes:
    """MNIST's images [N, 28, 28] side by side, dark on light, as a PNG file."""
    sheet = np.hstack([np.pad(image, ((20, 20), (apart, apart))) for image in images])
    file = io.BytesIO()
    Image.fromarray(255 - sheet.astype(np.uint8)).resize((sheet.shape[1] * 3, sheet.shape[0] * 3)).save(file, "PNG")
    return file.getvalue()


def test_a_row_is_read_by_asking_the_network(mnist: Mnist) -> None:
    predictor = Predictor(load_model(MODEL))

    def probabilities(images: np.ndarray) -> np.ndarray:
        return predictor.probabilities(network_input(images, ImageSpec(size=28, low=-1.0, high=1.0, fit="none")))

    with Workers(Limits(max_seconds=30)) as workers:
        rows = workers.read_rows(
            in_a_row(mnist.test_images[:4], apart=0),
            lambda images: odds(np.zeros(len(images)), probabilities(images)),
        )
    assert isinstance(rows, Rows)
    assert rows.size == (4 * 28 * 3, 68 * 3)
    (digits,) = read_rows(rows, RowReader.load(MODEL))
    alone = probabilities(np.stack([digit.image for digit in digits]))
    assert joined([digit.vote for digit in digits], alone, np.zeros(4, bool)).argmax(1).tolist() == [7, 2, 1, 0]
    lefts = [digit.box[0] for digit in digits]
    assert lefts == sorted(lefts)


def test_a_network_that_fails_leaves_the_workers_whole(mnist: Mnist) -> None:
    touching = in_a_row(mnist.test_images[:2, :, 6:22], apart=0)

    def fails(images: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError

    with Workers(Limits(max_seconds=30)) as workers:
        for _ in range(4):  # more than there are workers
            with pytest.raises(ZeroDivisionError):
                workers.read_rows(touching, fails)
        (image,) = workers.read([in_a_row(mnist.test_images[:1], apart=4)])
    assert isinstance(image, np.ndarray)


def test_what_is_no_picture_is_told(mnist: Mnist) -> None:
    with Workers(Limits()) as workers:
        said = workers.read_rows(b"no picture", lambda images: np.ones(len(images)))
    assert said == Unread("expected a picture, got one that cannot be decoded: no known format")


def test_workers_start_although_their_server_is_killed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends between multiprocessing's look at it and the connection to it: "Connection refused"."""
    server: Any = forkserver._forkserver
    running, killed = server.ensure_running, list[int]()

    def then_killed() -> None:
        running()
        if len(killed) < 3:
            killed.append(server._forkserver_pid)
            os.kill(killed[-1], signal.SIGKILL)
            os.waitid(os.P_PID, killed[-1], os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(server, "ensure_running", then_killed)
    with Workers(Limits(), most=1) as workers:
        (said,) = workers.read([b"no picture"])
    assert said == Unread("expected a picture, got one that cannot be decoded: no known format")
    assert len(set(killed)) == 3


def test_a_process_whose_script_ends_while_it_begins_says_nothing() -> None:
    """The script ends between asking for a process and sending what it is to do."""
    program = """
import os
from multiprocessing import forkserver
from recognition.picture import Limits
from recognition.workers import Workers

with Workers(Limits(), most=1) as workers:
    list(workers.read([b""]))
    ended, orders = forkserver.connect_to_new_process([])
    os.close(orders)
    os.read(ended, 8)  # the process's number
    os.read(ended, 8)  # it has ended
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ctrl_c_is_for_the_script_alone() -> None:
    """A terminal sends it to all processes; the script, which may have to finish something first, reads on."""
    program = """
import os, signal
from recognition.picture import Limits
from recognition.workers import Workers

signal.signal(signal.SIGINT, lambda *_: None)
with Workers(Limits(), most=1) as workers:
    print(*workers.read([b""]))
    os.killpg(0, signal.SIGINT)
    print(*workers.read([b""]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "expected a picture, got an empty file\n" * 2


def test_a_decoders_own_messages_are_dropped(tmp_path: Path) -> None:
    """libtiff prints "Using code not yet in table." for this file."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    Image.fromarray(noise).save(file, "TIFF", compression="tiff_lzw")
    data = bytearray(file.getvalue())
    data[60:400] = b"\xff" * 340
    (tmp_path / "broken.tif").write_bytes(data)
    program = f"""
from recognition.picture import Limits
from recognition.workers import Workers

with Workers(Limits(), most=1) as workers:
    print(*workers.read([{str(tmp_path / "broken.tif")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("expected a picture, got one that cannot be decoded")
    assert (done.returncode, done.stderr) == (0, "")
