"""The saved model as ONNX, for ONNX Runtime, browsers and whatever else reads it, and the proof that it answers alike.

paddle2onnx 1.3.1 is the converter: it reads the saved `.pdmodel` by itself, whichever Paddle is installed. Its
successor 2.1 reads that form only through Paddle 3, and refuses to be imported beside Paddle 2.6.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import static

from common.errors import UserError, one_line
from data.rows import batch
from model.decoding import greedy
from model.engine import free_with
from model.image import ImageSpec, network_input
from model.predictor import Predictor
from model.program import old_representation
from model.saved_model import PARAMETERS, PROGRAM, SavedModel
from model.scoring import ROWS_AT_A_TIME

PACKAGES = {"paddle2onnx": "paddle2onnx==1.3.1", "onnxruntime": "onnxruntime"}  # module: what pip is asked for
CHECKED_IMAGES, CHECKED_ROWS = 1000, 200
OPSET = 13  # the newest that 1.3.1 was tried with here; every ONNX Runtime since 1.8 (2021) reads it


class ExportError(UserError):
    """The model cannot be had as ONNX, or does not answer alike there."""


def expect_packages() -> None:
    """Make sure that what the export needs is installed and goes with this Paddle.

    Raises:
        ExportError: it is not; the message has the pip command.
    """
    for module in PACKAGES:
        try:
            import_module(module)
        except Exception as error:  # paddle2onnx 2.1 raises ValueError beside Paddle 2.6
            raise ExportError(
                f"export to ONNX: expected the packages {' and '.join(PACKAGES)}, got: {one_line(error, 120)}; "
                f"pip install {' '.join(PACKAGES.values())} (paddle2onnx is there for Python 3.10 to 3.12)"
            ) from error


def to_onnx(program: bytes, parameters: bytes) -> bytes:
    """An inference program and its parameters, as `Exporter.files` returns them, as an ONNX model.

    Raises:
        ExportError: the converter cannot do it, or ONNX's checker finds fault with what it made.
    """
    import paddle2onnx

    with tempfile.TemporaryDirectory() as folder:  # the converter takes files only
        files = {Path(folder, PROGRAM): program, Path(folder, PARAMETERS): parameters}
        for path, data in files.items():
            path.write_bytes(data)
        try:
            onnx: bytes = paddle2onnx.export(
                *map(str, files),
                opset_version=OPSET,
                auto_upgrade_opset=False,
                enable_onnx_checker=True,
                verbose=False,
            )
        except RuntimeError as error:
            raise ExportError(f"export to ONNX: the converter failed: {one_line(error, 200)}") from error
    if not onnx:
        raise ExportError("export to ONNX: the converter made nothing of this network")
    return onnx


class OnnxPredictor:
    """ONNX Runtime on an ONNX model, on the CPU."""

    def __init__(self, onnx: bytes) -> None:
        """Create it.

        Raises:
            ExportError: ONNX Runtime cannot read the model.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; its warnings are about nodes that it simplifies
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes, which have no common parent but this
            raise ExportError(f"ONNX Runtime cannot read the model: {one_line(error, 200)}") from error

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each class, [N, classes] float32, of images [N, 1, S, S] float32; of rows [N, T, 11]."""
        (answers,) = self._session.run(None, {self._session.get_inputs()[0].name: images})
        return np.asarray(answers)


class ExecutorPredictor:
    """Paddle's Executor on a saved inference program, on the CPU."""

    def __init__(self, program: bytes, parameters: bytes) -> None:
        self._scope = static.Scope()
        free_with(self, self._scope)
        self._executor = static.Executor(paddle.CPUPlace())
        with old_representation(), static.scope_guard(self._scope):
            self._program = static.deserialize_program(program)
            static.deserialize_persistables(self._program, parameters, self._executor)
        self._fetches = [op.input("X")[0] for op in self._program.global_block().ops if op.type == "fetch"]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each class, [N, classes] float32, of images [N, 1, S, S] float32; of rows [N, T, 11]."""
        with old_representation():
            (answers,) = self._executor.run(
                self._program, feed={"image": images}, fetch_list=self._fetches, scope=self._scope
            )
        return np.asarray(answers)


@dataclass(frozen=True)
class Agreement:
    """The answers of three runtimes to the same images or rows.

    Attributes:
        images: how many.
        equal_answers: to how many of them all three give the same digit, or the same digits of a row.
        largest_difference: between two runtimes' probabilities of a digit, over all images and digits.
    """

    images: int
    equal_answers: int
    largest_difference: float

    def __str__(self) -> str:
        return (
            f"{self.equal_answers:,} of {self.images:,} answers equal in Executor, Paddle Inference and ONNX Runtime, "
            f"probabilities within {self.largest_difference:.1g}"
        )


def agreement(model: SavedModel, onnx: bytes, batches: Iterable[np.ndarray]) -> Agreement:
    """Compare Executor, Paddle Inference and ONNX Runtime on batches of the network's input.

    Raises:
        ExportError: ONNX Runtime cannot read the model.
        ModelError: Paddle cannot.
    """
    runtimes = (ExecutorPredictor(model.program, model.parameters), Predictor(model), OnnxPredictor(onnx))
    equal, differences = [], []
    for images in batches:
        answers = np.stack([runtime.probabilities(images) for runtime in runtimes], axis=1)
        equal += [len({_digits(answer) for answer in three}) == 1 for three in answers]
        differences.append(np.ptp(answers, axis=1).max())
    return Agreement(len(equal), sum(equal), float(np.max(differences)))


def _digits(answer: np.ndarray) -> tuple[int, ...]:
    """The digit of an image's probabilities [classes], or the digits of a row's [T, 11]."""
    return (int(answer.argmax()),) if answer.ndim == 1 else tuple(span.digit for span in greedy(answer))


def _batches(images: Sequence[np.ndarray] | np.ndarray, image: ImageSpec) -> Iterator[np.ndarray]:
    """Batches of the network's input, of some of these images or rows; rows of like width together."""
    if not image.is_row:
        yield network_input(np.asarray(images[:CHECKED_IMAGES]), image)
        return
    rows = sorted(images[:CHECKED_ROWS], key=lambda row: row.shape[1])
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        some = rows[start : start + ROWS_AT_A_TIME]
        yield network_input(batch(some, [()] * len(some))[0], image)


def with_onnx(model: SavedModel, images: Sequence[np.ndarray] | np.ndarray) -> SavedModel:
    """The model with its ONNX form, and in its card how the runtimes agree on the first test images.

    Args:
        model: without it, or with an older one.
        images: uint8 [N, 28, 28], of which `CHECKED_IMAGES` are used; or rows, uint8 [32, W] each, `CHECKED_ROWS`.

    Raises:
        ExportError: it cannot be made, or does not give the same digit for every image.
    """
    onnx = to_onnx(model.program, model.parameters)
    found = agreement(model, onnx, _batches(images, model.image))
    if found.equal_answers != found.images or not np.isfinite(found.largest_difference):
        raise ExportError(f"export to ONNX: expected equal answers from every runtime, got {found}")
    entry = {
        "opset": OPSET,
        "agreement": asdict(found),
        "versions": {module: metadata.version(module) for module in PACKAGES},
    }
    return replace(model, card={**model.card, "onnx": entry}, onnx=onnx)


def agreement_in(card: Mapping[str, Any]) -> Agreement:
    """The agreement that `with_onnx` recorded in a card."""
    return Agreement(**card["onnx"]["agreement"])
