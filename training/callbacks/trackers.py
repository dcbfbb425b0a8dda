"""`--log-to`: the run for VisualDL and TensorBoard, as scalars, images and histograms, in folders named after them.

VisualDL's LogWriter and tensorboardX's SummaryWriter take the same calls. Scalars are the rows of steps.csv and
results.csv; a run that goes on writes them again from these, which its checkpoint has cut back; of images and
histograms, which are nowhere else, the files keep those of the passes that are done. So no point is there twice.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Literal

import numpy as np

from results.event_files import TensorBoard, VisualDL, cut_back
from results.figures.style import tiled
from results.log import read_results, read_steps
from results.predictions import predictions_path, read_predictions
from results.records import Row, Step
from results.run_folder import RunFolder
from training.callbacks.callback import Callback, Started

Kind = Literal["visualdl", "tensorboard"]

PER_BATCH = ("loss", "accuracy", "learning_rate")
PER_PASS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
MOST_PICTURES, COLUMNS, ENLARGED = 64, 16, 4  # pictures in an image, in a row of it; side of a pixel there


class Tracking(Callback):
    """Writes what happens to one of the two.

    Scalars are under `batch/`, by the number of the batch since the run began, and `pass/`, by the pass; histograms of
    all parameters under `parameters/`; images are the first filters and the test pictures that were read wrong.
    """

    def __init__(self, kind: Kind, folder: RunFolder, test_images: np.ndarray, log_every: int) -> None:
        """Import what it needs.

        Args:
            kind: for which of the two.
            folder: of the run.
            test_images: [M, 28, 28] uint8.
            log_every: batches from one that is written to the next.

        Raises:
            UsageError: its package is not installed.
        """
        self._path, self._folder = folder.path / kind, folder
        self._test_images, self._log_every = test_images, log_every
        self._files: VisualDL | TensorBoard = VisualDL() if kind == "visualdl" else TensorBoard()

    def on_start(self, started: Started) -> None:
        self._steps = started.steps
        done = started.first_pass - 1
        self._path.mkdir(exist_ok=True)
        cut_back(self._path, self._files, done)
        with contextlib.redirect_stdout(io.StringIO()):  # VisualDL talks
            self._writer = self._files.writer(self._path)
        for step in read_steps(self._folder.steps)[0]:
            self.on_step(step)
        for row in read_results(self._folder.results)[0]:
            self._scalars(row)

    def on_step(self, step: Step) -> None:
        if step.step % self._log_every == 0:
            number = (step.pass_number - 1) * self._steps + step.step
            for name in PER_BATCH:
                self._writer.add_scalar(f"batch/{name}", getattr(step, name), number)

    def on_parameters(self, pass_number: int, parameters: Mapping[str, np.ndarray]) -> None:
        for name, value in parameters.items():
            self._writer.add_histogram(f"parameters/{name}", value.ravel(), pass_number)
        kernels = next(value for value in parameters.values() if value.ndim > 2)
        kernels = kernels.reshape(-1, *kernels.shape[-2:])
        self._image("filters", (kernels - kernels.min()) / max(np.ptp(kernels), 1e-9), pass_number)

    def on_pass(self, row: Row) -> None:
        self._scalars(row)
        kept = read_predictions(predictions_path(self._folder.path, row.pass_number))
        if kept.answers.ndim == 1:  # else of rows, which are not among the images
            wrong = np.flatnonzero(~kept.right)
            self._image("wrong_answers", 1 - self._test_images[wrong[:MOST_PICTURES]] / 255, row.pass_number)
        self._writer.flush()

    def on_end(self) -> None:
        self._writer.close()

    def _scalars(self, row: Row) -> None:
        for name in PER_PASS:
            value = getattr(row, name)
            if value is not None:
                self._writer.add_scalar(f"pass/{name}", value, row.pass_number)

    def _image(self, name: str, pictures: np.ndarray, pass_number: int) -> None:
        """Pictures [N, H, W] of 0 black to 1 white as one image; nothing without pictures."""
        if len(pictures):
            sheet = tiled(pictures, COLUMNS, gap=1).filled(0.5).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
            image = np.repeat((255 * sheet).astype(np.uint8)[..., np.newaxis], 3, axis=2)
            self._writer.add_image(name, image, pass_number, dataformats="HWC")
