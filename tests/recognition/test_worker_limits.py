"""What bounds a reading process: memory, and the life of the script that started it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from recognition.picture import Limits
from recognition.slowness import SLOWEST, slowness
from recognition.workers import Unread, Workers, _Worker
from tests.conftest import ROOT


def test_a_reading_process_has_a_limit_of_memory() -> None:
    picture = io.BytesIO()
    Image.new("L", (6000, 6000), 255).save(picture, "PNG")
    with Workers(Limits(max_seconds=60, max_memory=16 << 20), most=1) as workers:
        (said,) = workers.read([picture.getvalue()])
    assert said == Unread("expected a picture that is read in 16777216 bytes of memory, got one that needs more")


def test_a_slow_machine_has_more_time() -> None:
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200), np.uint8)
    Image.fromarray(noise).save(picture, "PNG")
    with Workers(Limits(max_seconds=0.001), most=1) as workers:
        (said,) = workers.read([picture.getvalue()])
        assert isinstance(said, Unread) and "--max-seconds" in said.why
        worker = workers._idle.get()
        assert isinstance(worker, _Worker)
        worker._slowness = 1e5 * worker._receive(60)
        workers._idle.put(worker)
        (said,) = workers.read([picture.getvalue()])
        assert isinstance(said, np.ndarray) or "nothing to read" in said.why
    assert 1 <= slowness() <= SLOWEST


def test_a_killed_script_leaves_no_reading_process() -> None:
    """Not even one that is busy for ever, as one that is stopped seems to be."""
    program = """
import os, signal
from recognition.picture import Limits
from recognition.workers import Workers
workers = Workers(Limits(), most=1)
list(workers.read([b"no picture"]))
worker = workers._idle.get()._process.pid
os.kill(worker, signal.SIGSTOP)
print(worker, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    script = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert script.stdout
    worker, deadline = int(script.stdout.readline()), time.monotonic() + 30
    script.stdout.close()
    assert script.wait() == -signal.SIGKILL
    try:
        while _runs(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _runs(worker)
    finally:
        if _runs(worker):
            os.kill(worker, signal.SIGKILL)


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
