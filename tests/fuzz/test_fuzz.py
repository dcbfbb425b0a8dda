"""A short fuzz of every reader of foreign bytes; `make fuzz` is the long one, guided by coverage."""

from __future__ import annotations

from pathlib import Path

import pytest

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
