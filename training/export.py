"""A finished model for other runtimes: `python -m training.export RUN_DIR|MODEL_DIR`.

    python -m training.export runs/NAME          # the best model of a run
    python -m training.export inference_model    # a model folder

inference.onnx is written beside Paddle's files, after Executor, Paddle Inference and ONNX Runtime gave the same answers
to 1,000 test images, or 200 rows; card.json records how far their probabilities differ, and has the file's SHA-256.
The folder is replaced in one step.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.command_line import run_module

    run_module("training.export")

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from common import command_line
from common.console import ScriptConsole, print_line
from common.errors import UsageError, one_line
from common.signals import StopRequest
from data.dataset import Subset
from data.row_sets import RowSet
from model.onnx import agreement_in, expect_packages, with_onnx
from model.saved_model import ONNX, RELEASED, holds_only_a_model, load_model, model_in, read_model, save_model
from recognition.preparation import asked_way
from recognition.sets import load_data
from results.run_folder import RunFolder


@dataclass(frozen=True)
class Options:
    """Save a finished model as ONNX too, proven to answer like Paddle's."""

    model: Positional[Annotated[Path, arg(metavar="RUN_DIR|MODEL_DIR")]]
    """Folder of a run, whose best model it is, or of a model."""
    data_dir: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder with the data set whose test images are used; otherwise MNIST is looked for, and fetched."""
    trust: bool = False
    """Run the model's program without a check of its operators, like any script; only for makers that you trust."""


def export(path: Path, data_dir: Path | None, trust: bool = False) -> str:
    """Add the ONNX form to a model folder, or to that of a run, which must not be training; returns what was found.

    Raises:
        UserError: it cannot be done; the folder is as it was.
    """
    runs = (RunFolder(path), RunFolder(path.parent))
    run = next((run for run in runs if run.record.exists() and path in (run.path, run.model)), None)
    folder = run.model if run else model_in(path)
    if folder == path / RELEASED:
        raise UsageError(
            f"{path}: expected a model of its own, found the released one alone; it has {folder / ONNX} already"
        )
    if not holds_only_a_model(folder):
        raise UsageError(f"{folder}: it holds other things than a model, and would be replaced")
    with run.locked() if run else nullcontext():
        rows = read_model(folder).image.is_row
        saved = load_model(folder, trust, rows)
        data = load_data(data_dir, way=asked_way(saved.card))
        test = Subset(data.test_images, data.test_labels)
        save_model(folder, with_onnx(saved, RowSet.of(test).images if rows else test.images))
    return f"{one_line(folder / ONNX)}: {agreement_in(read_model(folder).card)}"


def main(stop: StopRequest) -> int:
    """Parse, export, print what was found."""
    options = command_line.parse(Options)
    expect_packages()

    import paddle

    paddle.enable_static()
    print_line(export(options.model, options.data_dir, options.trust), ScriptConsole())
    return 0
