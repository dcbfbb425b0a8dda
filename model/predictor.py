"""Paddle Inference on a saved model: images in, probabilities out.

python -m model.predictor FOLDER   # a trial: load the program, answer for one blank picture
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.processes import end_with_parent

    end_with_parent()  # before Paddle is imported

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paddle import inference

from common.errors import UserError, one_line
from model.calibration import tempered
from model.saved_model import ModelError, SavedModel, read_model

# Images at a time; docs/benchmarks.md compares speed and memory of other numbers ("… so many images at a time").
PREDICTION_BATCH = 64
LARGEST_PROBABILITY = 1.001  # which rounding may make of 1
FASTER_AFTER = 64  # images; see Predictor
EXAMPLE_WIDTH = 64  # pixels of a row on which a predictor proves itself


class Predictor:
    """Paddle Inference on a saved model. One thread at a time: Paddle's predictors are not to be shared.

    Attributes:
        device: "cpu" or "gpu".
    """

    def __init__(
        self,
        model: SavedModel,
        device: str = "cpu",
        threads: int = 1,
        batch: int = PREDICTION_BATCH,
        faster: bool = False,
    ) -> None:
        """Create it.

        Args:
            model: from `load_model`.
            device: "cpu" or "gpu".
            threads: CPU threads of the mathematical library.
            batch: images that it takes at a time.
            faster: switch to Paddle's new representation at the first image, not after `FASTER_AFTER`.

        Raises:
            ModelError: this Paddle cannot read the model.
        """
        self._folder, self.device = model.folder, device
        self._answer = [-1, len(model.card["labels"]) + 1] if model.image.is_row else [len(model.card["labels"])]
        self._shape = [int(side) for side in model.input["shape"][1:]]
        self._example = [side if side > 0 else EXAMPLE_WIDTH for side in self._shape]
        self._range = model.input["low"], model.input["high"]
        self._temperature, self._batch = model.temperature, batch
        self._predictor: Any
        self._input: Any
        self._output: Any
        self._take_faster: Callable[[], None] | None = None
        self._images_before_faster = 0 if faster else FASTER_AFTER
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
        # Only for many images: the switch would lengthen infer.py's start for a single one.
        if device == "cpu" and hasattr(inference.Config, "enable_new_ir"):
            self._take_faster = lambda: self._go_over(model, threads)

    def _go_over(self, model: SavedModel, threads: int) -> None:
        """Switch to Paddle's new representation of programs if it answers alike: it is 3 to 10 % faster.

        (Batch 64, 2 cores, AMD EPYC, Paddle 3.3.1; equal to the bit for four of the networks.) It rounds numbers near 0
        to 0, which leaves nothing of an untrained lenet5_1998's probabilities.
        """
        proven = self._predictor, self._input, self._output
        expected = self.trial()
        try:
            self._create(model, "cpu", threads, onednn=True, new_representation=True)
            alike = np.allclose(self.trial(), expected, rtol=1e-3, atol=0)
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
        self.probabilities(np.zeros((1, *self._example), np.float32))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each class, [N, classes] float32, of images [N, 1, S, S] float32 in the card's pixel range.

        Of rows [N, 1, 32, W]: of each digit and of none in each column, [N, T, classes + 1].

        Raises:
            ModelError: an answer is not finite, or no probability.
            ValueError: images of another shape or type, which Paddle would not report.
        """
        if images.dtype != np.float32 or not _fits(images.shape[1:], self._shape):
            raise ValueError(f"expected float32 [N, {self._shape}], got {images.dtype} {list(images.shape)}")
        self._images_before_faster -= len(images)
        if self._take_faster and self._images_before_faster <= 0:
            take_faster, self._take_faster = self._take_faster, None  # once: it asks for probabilities itself
            take_faster()
        parts = [np.empty((0, *map(abs, self._answer)), np.float32)] if not len(images) else []
        for start in range(0, len(images), self._batch):
            batch = np.ascontiguousarray(images[start : start + self._batch])
            self._input.reshape(list(batch.shape))
            self._input.copy_from_cpu(batch)
            self._predictor.run()
            found = self._output.copy_to_cpu()
            if not _fits(found.shape, [len(batch), *self._answer]):
                raise ModelError(
                    f"{self._folder}: expected {self._answer[-1]} probabilities for an image, as many as card.json has "
                    f"labels, got {list(found.shape)} for {len(batch)} images; train again"
                )
            parts.append(found)
        answers = np.concatenate(parts)
        if answers.size and not (answers.min() >= 0 and answers.max() <= LARGEST_PROBABILITY):  # nor if one is NaN
            if not np.isfinite(answers).all():
                raise ModelError(
                    f"{self._folder}: expected probabilities, got an answer that is not finite: the model is damaged, "
                    "or its training diverged; train again, or name another with --model-dir"
                )
            raise ModelError(
                f"{self._folder}: expected probabilities of 0 to 1, got {answers.min():g} to {answers.max():g}: its "
                "program ends without a softmax; train again, or name another with --model-dir"
            )
        return answers

    def trial(self) -> np.ndarray:
        """`probabilities` of 8 images of noise: other bits show another device, library, or kind of processor."""
        noise = np.random.default_rng(0).uniform(*self._range, (8, *self._example))
        return self.probabilities(noise.astype(np.float32))

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of `probabilities`; a probability that float32 rounds to 0 counts as the smallest one."""
        return np.log(np.maximum(self.probabilities(images), np.finfo(np.float32).tiny))

    def calibrated(self, images: np.ndarray) -> np.ndarray:
        """`probabilities` at the card's temperature, [N, classes]; users see these."""
        if self._temperature == 1:
            return self.probabilities(images)
        return tempered(self.log_probabilities(images), self._temperature)


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    """True for a shape as expected; -1 stands for any side."""
    return len(shape) == len(expected) and all(e in (s, -1) for s, e in zip(shape, expected, strict=True))


def _last_line(error: Exception) -> str:
    """The message beneath Paddle's C++ stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 160)


if __name__ == "__main__":
    try:
        Predictor(read_model(Path(sys.argv[1])))
    except UserError as error:
        sys.exit(f"error: {one_line(error, 1000)}")
