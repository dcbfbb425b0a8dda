"""A short fuzz of every reader of foreign bytes; `make fuzz` is the long one, guided by coverage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzz.mutate import mutations
from tests.fuzz.targets import TARGETS, run_once, scratch, seeds

RUNS = 500


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_refuses_what_it_cannot_read_in_one_line(name: str) -> None:
    """Good inputs, the found cases of tests/fuzz/corpus, and changes of both; anything but a UserError fails."""
    with scratch() as folder:
        for data in mutations(seeds(name), RUNS, seed=len(name)):
            run_once(TARGETS[name], data, Path(folder))


@pytest.mark.parametrize("name", TARGETS)
def test_the_good_inputs_of_the_fuzz_are_good(name: str) -> None:
    """Else it would only ever see how a reader refuses."""
    with scratch() as folder:
        for data in TARGETS[name].seeds(Path(folder) / "."):
            TARGETS[name].read(data, Path(folder))


@pytest.mark.slow  # Paddle starts anew, and runs each program that is accepted
def test_an_accepted_program_neither_crashes_nor_hangs_paddle() -> None:
    command = [sys.executable, str(ROOT / "tests" / "fuzz" / "programs.py"), "--runs", "400"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert "'refused'" in done.stdout and "'an answer'" in done.stdout
