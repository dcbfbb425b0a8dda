"""The test answers of each pass, kept so that two passes can be compared image by image.

One safetensors file a pass in `runs/NAME/answers/`: `answers` and `labels`, [images] uint8 each (uint16 for more than
256 classes; of rows of digits [rows, N], 255 behind the last digit), and `sha256`, [32] uint8, of both one after the
other. 20 kB for MNIST's 10,000 test images; uncompressed, so that no small file can unpack to a large one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import UserError, one_line
from common.files import read_file, write_file

LARGEST_FILE = 64 * 2**20  # bytes; 30 million images


@dataclass(frozen=True)
class Predictions:
    """Test answers of a pass.

    Attributes:
        answers: the digit given for each test image, [images] uint8.
        labels: the right ones, [images] uint8.
    """

    answers: np.ndarray
    labels: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """True for each right answer, [images] bool."""
        right = self.answers == self.labels
        return right if right.ndim == 1 else right.all(axis=1)


def predictions_path(run_dir: Path, pass_number: int) -> Path:
    """Path of a pass's answers."""
    return run_dir / "answers" / f"pass-{pass_number:04d}.safetensors"


def write_predictions(path: Path, answers: np.ndarray, labels: np.ndarray) -> None:
    """Keep the test answers of a pass; the folder is made if there is none.

    Args:
        path: from `predictions_path`.
        answers: the digit given for each test image, [images], 0 to 65,535.
        labels: the right ones, [images].

    Raises:
        OSError: it cannot be written; an old file is untouched.
    """
    kind = np.uint8 if max(answers.max(initial=0), labels.max(initial=0)) < 256 else np.uint16
    arrays = {"answers": answers.astype(kind), "labels": labels.astype(kind)}
    path.parent.mkdir(exist_ok=True)
    write_file(path, save(arrays | {"sha256": _checksum(**arrays)}))


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        UserError: not such a file, or altered since.
        OSError: it cannot be read.
    """
    data = read_file(path, LARGEST_FILE)
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{one_line(path)}: expected answers as safetensors, got: {one_line(error, 100)}") from error
    shapes = {name: (array.dtype.name, array.ndim) for name, array in arrays.items()}
    sides = 2 if "answers" in arrays and arrays["answers"].ndim == 2 else 1
    one_kind = (arrays["answers"].dtype.name if "answers" in arrays else "", sides)
    expected = {"answers": one_kind, "labels": one_kind, "sha256": ("uint8", 1)}
    if shapes != expected or one_kind[0] not in ("uint8", "uint16"):
        raise UserError(
            f"{one_line(path)}: expected answers, labels and sha256 as rows of uint8, got {one_line(shapes)}"
        )
    answers, labels, checksum = arrays["answers"], arrays["labels"], arrays["sha256"]
    if answers.shape != labels.shape or not np.array_equal(checksum, _checksum(answers, labels)):
        raise UserError(f"{one_line(path)}: expected the SHA-256 that is kept with the answers, got another; altered")
    return Predictions(answers, labels)


def _checksum(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(answers.tobytes() + labels.tobytes()).digest(), np.uint8)


def digest(answers: np.ndarray) -> str:
    """SHA-256 of answers [N], a byte each; two if one is above 255."""
    byte = answers.max(initial=0) < 256
    return hashlib.sha256(answers.astype(np.uint8 if byte else "<u2").tobytes()).hexdigest()
