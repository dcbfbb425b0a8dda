"""What happens during a run, told to whoever listens: progress bars, logs, figures, and a user's own handler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.results import Row


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
    """

    run_dir: Path
    passes: int
    steps: int
    batch_size: int
    first_pass: int = 1
    first_step: int = 0


@dataclass(frozen=True)
class Step:
    """A batch was trained on.

    Attributes:
        pass_number: from 1.
        step: batch within the pass, from 1.
        loss: mean over the batch before its update, nats per image.
        correct: right answers in the batch before its update.
        images: size of the batch.
        learning_rate: of this step's update.
    """

    pass_number: int
    step: int
    loss: float
    correct: int
    images: int
    learning_rate: float


class Handler:
    """Base of all listeners; override what you want to hear. An error raised in a handler ends the run.

    Steps are told in order, each once, but up to `training.loop.FETCH_EVERY` steps late, so that the device need not
    wait for the host at every step.
    """

    def on_start(self, started: Started) -> None:
        """Before the first step."""

    def on_step(self, step: Step) -> None:
        """After every batch."""

    def on_pass(self, row: Row) -> None:
        """After every pass, once it is evaluated."""

    def on_end(self) -> None:
        """After the last pass, or when the run is stopped; not after an error."""
