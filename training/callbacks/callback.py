"""Events of a run, and the base class of its callbacks: progress bars, logs, figures, a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from results.records import Row, Step

if TYPE_CHECKING:
    from training.publish import Outcome


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `--resume`.

    Attributes:
        run_dir: the run's folder.
        passes: how many passes the run will have.
        steps: batches in a pass.
        batch_size: images in a batch; the last batch of a pass may be smaller.
        first_pass: the pass that is trained first; above 1 when resumed.
        first_step: steps of that pass that were done before.
        rows: rows of digits are trained on, and an image is a row.
    """

    run_dir: Path
    passes: int
    steps: int
    batch_size: int
    first_pass: int = 1
    first_step: int = 0
    rows: bool = False


class Callback:
    """Base of all callbacks; override the events that you need. An error raised in a callback ends the run.

    Steps come in order, each once, but some steps late, so that the device need not wait for the host every time.
    """

    def on_start(self, started: Started) -> None:
        """Before the first step."""

    def on_step(self, step: Step) -> None:
        """After every batch."""

    def on_parameters(self, pass_number: int, parameters: Mapping[str, np.ndarray]) -> None:
        """The parameters after a pass, by their names in the network ("conv1.weight"); before `on_pass`."""

    def on_pass(self, row: Row) -> None:
        """After every pass, once it is evaluated."""

    def reason_to_stop(self, rows: Sequence[Row]) -> str:
        """Reason to end the run early, after a pass; empty to go on. The best model so far is then published.

        Args:
            rows: of all passes that are done. Judge by them alone, not by what you have seen: a run that was
                interrupted asks again when it goes on.
        """
        return ""

    def on_published(self, outcome: Outcome) -> None:
        """When the best model is published; the run counts as finished once all callbacks have returned."""

    def on_message(self, line: str) -> None:
        """Something that the user should know; one line."""

    def on_end(self) -> None:
        """When no more steps will come: after the last pass, a signal, or an error."""
