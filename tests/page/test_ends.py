"""The page's process: a signal before it is ready ends it silently; its memory and the models in it are bounded."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import demo
from common.signals import Stopped, catch_signals
from recognition.picture import Limits
from recognition.workers import Workers
from tests.scripts.test_old_folders import ROOT, SAMPLES

MODEL = SAMPLES / "run" / "inference_model"


@pytest.fixture
def unblocked() -> Iterator[None]:
    """The signals and the limit as they are, after the test too."""
    before, limit = signal.pthread_sigmask(signal.SIG_BLOCK, ()), resource.getrlimit(resource.RLIMIT_DATA)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    resource.setrlimit(resource.RLIMIT_DATA, limit)


@pytest.mark.parametrize("number", demo.STOPPING)
def test_a_signal_while_the_page_is_built_ends_it_silently(
    unblocked: None, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def built(*_: object) -> Iterator[str]:
        assert number in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        signal.raise_signal(number)
        yield "http://nowhere/"

    monkeypatch.setattr("page.app.serve", built)
    monkeypatch.setattr("page.reader.Reader", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    with catch_signals() as stop, pytest.raises(Stopped) as stopped:
        demo.main(stop)
    assert stopped.value.status == 128 + number
    assert capfd.readouterr() == ("", "")
    assert 2 << 30 < resource.getrlimit(resource.RLIMIT_DATA)[0] < 64 << 30


def test_memory_beyond_the_bound_is_an_error_and_no_more() -> None:
    program = """
from page import intake
intake.MORE_MEMORY = 64 << 20
intake.bound_memory(1 << 20)
try:
    bytearray(200 << 20)
except MemoryError:
    print(len(bytearray(20 << 20)) >> 20)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "20\n", "")


def test_the_page_keeps_the_latest_models_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from page import reader as page_reader
    from page.found import Found

    monkeypatch.setattr(page_reader, "KEPT_MODELS", 3)
    for name in "abcde":
        shutil.copytree(MODEL, tmp_path / name / "inference_model")
    image = np.zeros((28, 28), np.uint8)
    with Workers(Limits(), 1) as workers:
        reader = page_reader.Reader(MODEL, tmp_path, workers)
        first, *others = reader.models()
        for name in others:
            assert len(reader.answer(Found([image]), [first, name])[0].answers) == 2
        assert sorted(reader._loaded) == sorted([first, *others[-2:]])
