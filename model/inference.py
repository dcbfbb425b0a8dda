"""The saved model: write it, verify it, load it, predict with it.

A model is a folder of three files or more. `inference.pdmodel` and `inference.pdiparams` are Paddle's own (program and
parameters, the form that Paddle 2.6 and 3 both read); `card.json` says what they are and carries their SHA-256, and
its own. `inference.onnx` is there if it was asked for (model/onnx.py), and `novelty.safetensors`, which tells pictures
that hold no digit (mnist/novelty.py), in all that train.py saves. What is loaded are the very bytes whose sums were
checked: they go to Paddle from memory, not by path. The sums detect damage, not tampering; `model.program_check` bounds
what a tampered program can do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import inference

from common.cells import is_formula
from common.errors import UserError, one_line
from common.files import holds_only, new_folder, read_file, real_path, sha256
from common.project import __version__
from common.sealed import parsed, sealed, unsealed
from model.confidence import tempered
from model.program_check import ProgramError, check_program
from model.trial import survive_trial

PROGRAM, PARAMETERS, CARD = "inference.pdmodel", "inference.pdiparams", "card.json"
ONNX, NOVELTY = "inference.onnx", "novelty.safetensors"  # a folder may be without them
MODEL_FILES = (PROGRAM, PARAMETERS, ONNX, NOVELTY, CARD)
CARD_FORMAT = 1  # raised when a reader of the old form could not read the new one

MAX_CARD_BYTES = 1 << 20
MAX_FILE_BYTES = 256 << 20  # the largest network here is 2 MB

# Images at a time: more cost memory, and speed as docs/benchmarks.md has measured it ("… so many images at a time").
PREDICTION_BATCH = 64
FASTER_AFTER = 64  # images; see Predictor


class ModelError(UserError):
    """A model folder cannot be used."""


@dataclass(frozen=True)
class SavedModel:
    """A model folder, read and verified.

    Attributes:
        folder: where it was read.
        card: card.json.
        program: the program's bytes.
        parameters: the parameters' bytes.
        onnx: the same network as ONNX; None if the folder has none.
        novelty: what tells pictures that hold no digit; None if the folder has none.
    """

    folder: Path
    card: Mapping[str, Any]
    program: bytes
    parameters: bytes
    onnx: bytes | None = None
    novelty: bytes | None = None

    @property
    def temperature(self) -> float:
        """What makes the probabilities worth what they say (`model.confidence.tempered`); 1 in cards without it."""
        return float(self.card.get("temperature", 1))

    @property
    def input(self) -> Mapping[str, Any]:
        """The picture that the network takes: name, shape, low, high, fit (see model.networks.ImageSpec)."""
        return self.card["input"]


def save_model(
    folder: Path,
    program: bytes,
    parameters: bytes,
    card: Mapping[str, Any],
    onnx: bytes | None = None,
    novelty: bytes | None = None,
) -> None:
    """Write a model folder in one step; whoever reads `folder` at any instant finds the old one or the new one, whole.

    Args:
        folder: created, or replaced if it holds a model and no more; a link to one is not followed.
        program: bytes of the inference program.
        parameters: bytes of its parameters.
        card: what card.json shall say; `format`, `files` and its own SHA-256 are added.
        onnx: the network as ONNX, if it shall be there too.
        novelty: what tells pictures that hold no digit, if it shall be there too.

    Raises:
        OSError: it cannot be written; an old folder is untouched.
    """
    contents = {PROGRAM: program, PARAMETERS: parameters}
    contents |= {name: data for name, data in ((ONNX, onnx), (NOVELTY, novelty)) if data is not None}
    files = {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in contents.items()}
    contents[CARD] = sealed({"format": CARD_FORMAT, **card, "files": files})
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder, MODEL_FILES) as new:
        for name, data in contents.items():
            (new / name).write_bytes(data)


def holds_only_a_model(folder: Path) -> bool:
    """Whether a folder may be replaced by a model: there is none, or it is empty, or it holds a model and no more."""
    folder = real_path(folder)
    return holds_only(folder, MODEL_FILES) and (
        not folder.exists() or not any(folder.iterdir()) or (folder / CARD).exists()
    )


def load_model(folder: Path, trust: bool = False) -> SavedModel:
    """Read a model folder, and make sure that its program is like those that this project exports.

    Args:
        folder: of the model.
        trust: take any program, if Paddle survives it in a process of its own (`model.trial`).

    Raises:
        ModelError: as `read_model`; or the program is none of ours, or failed on trial.
    """
    model = read_model(folder)
    if trust:
        survive_trial(folder)
        return model
    try:
        check_program(model.program, model.parameters, model.input.get("name", "image"), model.input["shape"])
    except ProgramError as error:
        raise ModelError(
            f"{folder}: expected a program as train.py exports it: {error}; if you trust its maker, take --trust"
        ) from error
    return model


def read_model(folder: Path) -> SavedModel:
    """Read a model folder and verify every byte of it; its program is not looked at.

    All files are opened relative to one descriptor of the folder, so that a folder replaced meanwhile cannot mix; if
    its files went with it, the new folder is read.

    Raises:
        ModelError: the folder or a file is missing, not a regular file, too large, altered, or of another form.
    """
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ModelError(
                f"{folder}: expected a model folder, got: {error.strerror}; train one with train.py, or name another "
                "with --model-dir"
            ) from error
        try:
            return _load(folder, descriptor)
        except ModelError:
            if not _was_replaced(folder, descriptor):
                raise
        finally:
            os.close(descriptor)


def _load(folder: Path, descriptor: int) -> SavedModel:
    card = _read_card(folder, _read(folder, descriptor, CARD, MAX_CARD_BYTES))
    contents = {}
    for name in _names(card["files"]):
        data = _read(folder, descriptor, name, MAX_FILE_BYTES)
        expected = card["files"][name]["sha256"]
        if sha256(data) != expected:
            raise ModelError(
                f"{folder / name}: altered or damaged: card.json expects SHA-256 {expected[:12]}…, "
                f"got {sha256(data)[:12]}… ({len(data)} bytes); restore the folder or train again"
            )
        contents[name] = data
    return SavedModel(folder, card, contents[PROGRAM], contents[PARAMETERS], contents.get(ONNX), contents.get(NOVELTY))


def _was_replaced(folder: Path, descriptor: int) -> bool:
    """Whether another folder has the name by now: then the files of the opened one may be gone already."""
    try:
        return not os.path.samestat(os.stat(folder), os.fstat(descriptor))  # noqa: PTH116
    except OSError:
        return False


def _read(folder: Path, descriptor: int, name: str, limit: int) -> bytes:
    """Bytes of a regular file in an opened folder; links are refused, so that nothing outside the folder is read."""
    try:
        return read_file(folder / name, limit, descriptor)
    except OSError as error:
        what = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise ModelError(f"{folder / name}: expected a file of the model, got: {what}") from error


def _read_card(folder: Path, data: bytes) -> Mapping[str, Any]:
    where = folder / CARD
    try:
        card = parsed(data)
        problem = _card_problem(card)
        if not problem:
            unsealed(data)
    except ValueError as error:
        raise ModelError(f"{where}: expected the card of a model, got: {one_line(error, 120)}") from error
    if problem:
        raise ModelError(f"{where}: {problem}")
    return card


def _card_problem(card: Mapping[str, Any]) -> str:
    """What makes a card unusable, in words; empty if nothing does."""
    if card.get("format") != CARD_FORMAT:
        got = one_line(card.get("format"), 40)
        release = one_line(card.get("version"), 20)
        return f"expected format {CARD_FORMAT}, got {got}: made by release {release}, this is {__version__}"
    files = card["files"] if isinstance(card.get("files"), dict) else {}
    for name in _names(files):
        entry = files.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            return f"expected files.{name}.sha256, got none"
    picture = card.get("input")
    if not isinstance(picture, dict):
        return "expected the object input, got none"
    size = picture.get("shape", [])[-1:] if isinstance(picture.get("shape"), list) else []
    if size not in ([28], [32]) or picture["shape"] != [-1, 1, *size, *size]:
        return f"expected input.shape [-1, 1, 28, 28] or [-1, 1, 32, 32], got {one_line(picture.get('shape'), 60)}"
    for bound in ("low", "high"):
        value = picture.get(bound)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e6:
            return f"expected a number as input.{bound}, got {one_line(value, 60)}"
    if picture.get("fit") not in ("none", "pad", "resize"):
        return f"expected input.fit none, pad or resize, got {one_line(picture.get('fit'), 60)}"
    if (picture["fit"] == "none") != (size == [28]):
        return f"input.fit {picture['fit']} does not go with input.shape {picture['shape']}"
    labels = card.get("labels")
    if not isinstance(labels, list) or len(labels) != 10 or not all(map(_is_name, labels)):
        return "expected labels, a list of 10 printable names that are no formulas to a spreadsheet"
    temperature = card.get("temperature", 1)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0.01 <= temperature <= 100:
        return f"expected a temperature of 0.01 to 100, got {one_line(temperature, 60)}"
    return ""


def _names(files: Mapping[str, Any]) -> list[str]:
    return [PROGRAM, PARAMETERS, *(name for name in (ONNX, NOVELTY) if name in files)]


def _is_name(label: Any) -> bool:
    return isinstance(label, str) and label.isprintable() and 0 < len(label) <= 100 and not is_formula(label)


class Predictor:
    """Paddle Inference on a saved model. One thread at a time: Paddle's predictors are not to be shared."""

    def __init__(self, model: SavedModel, device: str = "cpu", threads: int = 1, batch: int = PREDICTION_BATCH) -> None:
        """Create it.

        Args:
            model: from `load_model`.
            device: "cpu" or "gpu".
            threads: CPU threads of the mathematical library.
            batch: images that it takes at a time.

        Raises:
            ModelError: this Paddle cannot read the model.
        """
        self._folder = model.folder
        self._shape = [int(side) for side in model.input["shape"][1:]]
        self._temperature, self._batch = model.temperature, batch
        self._predictor: Any
        self._input: Any
        self._output: Any
        self._take_faster: Callable[[], None] | None = None
        self._images_before_faster = FASTER_AFTER
        try:
            try:
                self._create(model, device, threads, onednn=True)
            except Exception:  # Paddle 3.3 cannot convert every model for oneDNN; without it, it can
                self._create(model, device, threads, onednn=False)
        except ModelError:
            raise
        except Exception as error:  # Paddle throws its C++ errors as RuntimeError, ValueError and others
            import paddle

            raise ModelError(
                f"{model.folder}: Paddle {paddle.__version__} cannot read this model, written by Paddle "
                f"{one_line(model.card.get('paddle'), 20)}: {_last_line(error)}"
            ) from error
        # Left to whoever has many images: it would make the start of infer.py for a single one longer.
        if device == "cpu" and hasattr(inference.Config, "enable_new_ir"):
            self._take_faster = lambda: self._go_over(model, threads)

    def _go_over(self, model: SavedModel, threads: int) -> None:
        """Go over to Paddle's new representation of programs if it answers alike: it is by 3 to 10 % faster.

        (Batch 64, 2 cores, AMD EPYC, Paddle 3.3.1; equal to the bit for four of the networks.) It takes numbers that
        are almost 0 for 0, which leaves nothing of an untrained lenet5_1998's probabilities.
        """
        proven = self._predictor, self._input, self._output
        low, high = model.input["low"], model.input["high"]
        noise = np.random.default_rng(0).uniform(low, high, (8, *self._shape)).astype(np.float32)
        expected = self.probabilities(noise)
        try:
            self._create(model, "cpu", threads, onednn=True, new_representation=True)
            alike = np.allclose(self.probabilities(noise), expected, rtol=1e-3, atol=0)
        except Exception:  # what it cannot convert, the proven predictor can
            alike = False
        if not alike:
            self._predictor, self._input, self._output = proven

    def _create(
        self, model: SavedModel, device: str, threads: int, onednn: bool, new_representation: bool = False
    ) -> None:
        """Create the predictor and prove it on one blank picture: what cannot be converted shows in the first run."""
        config = inference.Config()
        config.set_model_buffer(model.program, len(model.program), model.parameters, len(model.parameters))
        config.disable_glog_info()
        if device == "gpu":
            config.enable_use_gpu(100, 0)  # megabytes of the first pool, number of the GPU
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads)
        if new_representation:
            config.enable_new_ir()
            config.enable_new_executor()  # without it, the new representation fails
        if not onednn:
            config.disable_mkldnn()
        self._predictor = inference.create_predictor(config)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        self.probabilities(np.zeros((1, *self._shape), np.float32))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each digit, [N, 10] float32, of images [N, 1, S, S] float32 in the card's pixel range.

        Raises:
            ModelError: an answer is not finite.
            ValueError: images of another shape or type, which Paddle would not report.
        """
        if images.dtype != np.float32 or list(images.shape[1:]) != self._shape:
            raise ValueError(f"expected float32 [N, {self._shape}], got {images.dtype} {list(images.shape)}")
        self._images_before_faster -= len(images)
        if self._take_faster and self._images_before_faster <= 0:
            take_faster, self._take_faster = self._take_faster, None  # once: it asks for probabilities itself
            take_faster()
        answers = np.empty((len(images), 10), np.float32)
        for start in range(0, len(images), self._batch):
            batch = np.ascontiguousarray(images[start : start + self._batch])
            self._input.reshape(list(batch.shape))
            self._input.copy_from_cpu(batch)
            self._predictor.run()
            answers[start : start + len(batch)] = self._output.copy_to_cpu()
        if not np.isfinite(answers).all():
            raise ModelError(
                f"{self._folder}: expected probabilities, got an answer that is not finite: the model is damaged, or "
                "its training diverged; train again, or name another with --model-dir"
            )
        return answers

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of `probabilities`; a probability that float32 rounds to 0 counts as the smallest one."""
        return np.log(np.maximum(self.probabilities(images), np.finfo(np.float32).tiny))

    def calibrated(self, images: np.ndarray) -> np.ndarray:
        """`probabilities` at the card's temperature, [N, 10]: what users are told."""
        if self._temperature == 1:
            return self.probabilities(images)
        return tempered(self.log_probabilities(images), self._temperature)


def _last_line(error: Exception) -> str:
    """The message beneath Paddle's C++ stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 160)
