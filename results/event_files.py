"""Files of VisualDL and TensorBoard, cut back to the passes that a checkpoint knows."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError, one_line
from common.extras import extra
from common.files import read_file, write_file

LARGEST_FILE = 1 << 32  # bytes, that is 1,000 of the pictures of the wrong answers
LONGEST_RECORD = 1 << 24  # bytes; a picture of the wrong answers has less than a million


class VisualDL:
    """VisualDL's file of a run."""

    names = re.compile(r"vdlrecords\.run\.log")  # of the files that it writes here
    around = (8, 0)  # bytes of a record before its content (length, uint64) and after it

    def __init__(self) -> None:
        self._module = extra("visualdl", "visualdl==2.5.3", "--log-to visualdl")
        self._record = extra("visualdl.proto.record_pb2", "visualdl==2.5.3", "--log-to visualdl").Record

    def writer(self, path: Path) -> Any:
        """Open a writer that adds to what the folder holds."""
        # Of several files in a folder VisualDL shows one; one that is there it appends to.
        return self._module.LogWriter(logdir=str(path), file_name="vdlrecords.run.log")

    def is_length(self, head: bytes) -> bool:
        """True if the head of a record holds a length."""
        return int.from_bytes(head, "little") <= LONGEST_RECORD  # no sum protects it

    def keeps(self, content: bytes, passes: int) -> bool:
        """True for an image or a histogram of the first `passes` passes."""
        values = self._record.FromString(content).values
        return all((value.HasField("image") or value.HasField("histogram")) and value.id <= passes for value in values)


class TensorBoard:
    """TensorBoard's files of a run."""

    names = re.compile(r"events\.out\.tfevents\.\d+\..*\.\d+")
    around = (12, 4)  # length, uint64, and its CRC; CRC of the content

    def __init__(self) -> None:
        self._module = extra("tensorboardX", "tensorboardX==2.6.5", "--log-to tensorboard")
        self._event = extra("tensorboardX.proto.event_pb2", "tensorboardX==2.6.5", "--log-to tensorboard").Event
        self._sum = extra("tensorboardX.record_writer", "tensorboardX==2.6.5", "--log-to tensorboard").masked_crc32c

    def writer(self, path: Path) -> Any:
        """Open a writer that adds to what the folder holds."""
        # TensorBoard shows all files of a folder together. A number keeps two of one second apart.
        return self._module.SummaryWriter(str(path), filename_suffix=f".{len(list(path.iterdir()))}")

    def is_length(self, head: bytes) -> bool:
        """True if the head of a record holds a length."""
        return bool(head[8:] == struct.pack("<I", self._sum(head[:8])))

    def keeps(self, content: bytes, passes: int) -> bool:
        """True for an image or a histogram of the first `passes` passes."""
        event = self._event.FromString(content)
        values = event.summary.value  # empty in the first event, which names the format
        return all((value.HasField("image") or value.HasField("histo")) and event.step <= passes for value in values)


def cut_back(folder: Path, form: VisualDL | TensorBoard, passes: int) -> None:
    """Leave in the files of a folder the images and histograms of the first `passes` passes; remove empty files.

    Raises:
        UserError: one is a link or something else that we did not write, or a record is damaged.
    """
    for file in sorted(folder.iterdir()):
        if form.names.fullmatch(file.name):
            _cut_back(file, form, passes)


def _cut_back(path: Path, form: VisualDL | TensorBoard, passes: int) -> None:
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


def _records(data: bytes, form: VisualDL | TensorBoard) -> Iterator[tuple[bytes, bytes]]:
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
