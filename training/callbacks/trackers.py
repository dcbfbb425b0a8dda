"""`--log-to`: the run for VisualDL and TensorBoard, as scalars, images and histograms, in folders named after them.

VisualDL's LogWriter and tensorboardX's SummaryWriter take the same calls. Scalars are the rows of steps.csv and
results.csv, so that a run that goes on writes them again from these, which its checkpoint has cut back; of images and
histograms, which are nowhere else, the files keep those of the passes that are done. So no point is there twice.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UserError, one_line
from common.extras import extra
from common.files import read_file, write_file
from results.figures.style import tiled
from results.log import read_results, read_steps
from results.predictions import predictions_path, read_predictions
from results.records import Row, Step
from results.run_folder import RunFolder
from training.callbacks.callback import Callback, Started

Kind = Literal["visualdl", "tensorboard"]

PER_BATCH = ("loss", "accuracy", "learning_rate")
PER_PASS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
LARGEST_FILE = 1 << 32  # bytes, that is 1,000 of the pictures of the wrong answers
LONGEST_RECORD = 1 << 24  # bytes; a picture of the wrong answers has less than a million
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
        self._format: _VisualDL | _TensorBoard = _VisualDL() if kind == "visualdl" else _TensorBoard()

    def on_start(self, started: Started) -> None:
        """See Callback."""
        self._steps = started.steps
        done = started.first_pass - 1
        self._path.mkdir(exist_ok=True)
        for file in sorted(self._path.iterdir()):
            if self._format.names.fullmatch(file.name):
                _cut_back(file, self._format, done)
        with contextlib.redirect_stdout(io.StringIO()):  # VisualDL talks
            self._writer = self._format.writer(self._path)
        for step in read_steps(self._folder.steps)[0]:
            self.on_step(step)
        for row in read_results(self._folder.results)[0]:
            self._scalars(row)

    def on_step(self, step: Step) -> None:
        """See Callback."""
        if step.step % self._log_every == 0:
            number = (step.pass_number - 1) * self._steps + step.step
            for name in PER_BATCH:
                self._writer.add_scalar(f"batch/{name}", getattr(step, name), number)

    def on_parameters(self, pass_number: int, parameters: Mapping[str, np.ndarray]) -> None:
        """See Callback."""
        for name, value in parameters.items():
            self._writer.add_histogram(f"parameters/{name}", value.ravel(), pass_number)
        kernels = next(value for value in parameters.values() if value.ndim > 2)
        kernels = kernels.reshape(-1, *kernels.shape[-2:])
        self._image("filters", (kernels - kernels.min()) / max(np.ptp(kernels), 1e-9), pass_number)

    def on_pass(self, row: Row) -> None:
        """See Callback."""
        self._scalars(row)
        wrong = np.flatnonzero(~read_predictions(predictions_path(self._folder.path, row.pass_number)).right)
        self._image("wrong_answers", 1 - self._test_images[wrong[:MOST_PICTURES]] / 255, row.pass_number)
        self._writer.flush()

    def on_end(self) -> None:
        """See Callback."""
        self._writer.close()

    def _scalars(self, row: Row) -> None:
        for name in PER_PASS:
            value = getattr(row, name)
            if value is not None:
                self._writer.add_scalar(f"pass/{name}", value, row.pass_number)

    def _image(self, name: str, pictures: np.ndarray, pass_number: int) -> None:
        """Pictures [N, H, W] of 0 black to 1 white as one image; none where there is none."""
        if len(pictures):
            sheet = tiled(pictures, COLUMNS, gap=1).filled(0.5).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
            image = np.repeat((255 * sheet).astype(np.uint8)[..., np.newaxis], 3, axis=2)
            self._writer.add_image(name, image, pass_number, dataformats="HWC")


class _VisualDL:
    names = re.compile(r"vdlrecords\.run\.log")  # of the files that it writes here
    around = (8, 0)  # bytes of a record before its content (length, uint64) and after it

    def __init__(self) -> None:
        self._module = extra("visualdl", "visualdl==2.5.3", "--log-to visualdl")
        self._record = extra("visualdl.proto.record_pb2", "visualdl==2.5.3", "--log-to visualdl").Record

    def writer(self, path: Path) -> Any:
        # Of several files in a folder VisualDL shows one; one that is there it appends to.
        return self._module.LogWriter(logdir=str(path), file_name="vdlrecords.run.log")

    def is_length(self, head: bytes) -> bool:
        return int.from_bytes(head, "little") <= LONGEST_RECORD  # no sum protects it

    def keeps(self, content: bytes, passes: int) -> bool:
        values = self._record.FromString(content).values
        return all((value.HasField("image") or value.HasField("histogram")) and value.id <= passes for value in values)


class _TensorBoard:
    names = re.compile(r"events\.out\.tfevents\.\d+\..*\.\d+")
    around = (12, 4)  # length, uint64, and its CRC; CRC of the content

    def __init__(self) -> None:
        self._module = extra("tensorboardX", "tensorboardX==2.6.5", "--log-to tensorboard")
        self._event = extra("tensorboardX.proto.event_pb2", "tensorboardX==2.6.5", "--log-to tensorboard").Event
        self._sum = extra("tensorboardX.record_writer", "tensorboardX==2.6.5", "--log-to tensorboard").masked_crc32c

    def writer(self, path: Path) -> Any:
        # TensorBoard shows all files of a folder together. A number keeps two of one second apart.
        return self._module.SummaryWriter(str(path), filename_suffix=f".{len(list(path.iterdir()))}")

    def is_length(self, head: bytes) -> bool:
        return bool(head[8:] == struct.pack("<I", self._sum(head[:8])))

    def keeps(self, content: bytes, passes: int) -> bool:
        event = self._event.FromString(content)
        values = event.summary.value  # empty in the first event, which names the format
        return all((value.HasField("image") or value.HasField("histo")) and event.step <= passes for value in values)


def _cut_back(path: Path, form: _VisualDL | _TensorBoard, passes: int) -> None:
    """Leave in a file the images and histograms of the first `passes` passes; without any it is removed.

    Raises:
        UserError: it is a link or something else that we did not write, or a record is damaged.
    """
    if path.is_symlink() or not path.is_file():
        raise UserError(f"{path}: expected a file of --log-to, got a link or something else; move it away")
    found = _records(read_file(path, LARGEST_FILE), form)
    try:
        records = [record for record, content in found if form.keeps(content, passes)]
    except Exception as error:  # protobuf's, of which there are several makes
        raise UserError(
            f"{one_line(path)}: expected what --log-to wrote, got a damaged record: {one_line(error, 100)}; move the "
            "file away and resume: scalars are written anew, images and histograms of the passes before are lost"
        ) from error
    if passes and records:
        write_file(path, b"".join(records))
    else:
        path.unlink()


def _records(data: bytes, form: _VisualDL | _TensorBoard) -> Iterator[tuple[bytes, bytes]]:
    """Each record of a file and what is in it; the last one may have been cut short by a crash.

    Raises:
        ValueError: a record's length is damaged: the ones behind it would be taken for cut off.
    """
    start, (before, after) = 0, form.around
    while start + before <= len(data):
        if not form.is_length(data[start : start + before]):
            if not any(data[start:]):  # what a power cut can leave of a record
                return
            raise ValueError(f"at byte {start}, its length is none")
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + before + length + after
        if end > len(data):
            return
        yield data[start:end], data[start + before : end - after]
        start = end
