"""Figures of runs, finished or not, drawn again.

python -m training.figures runs/NAME                  # all of them, into runs/NAME/figures/
python -m training.figures runs/NAME --which curves   # those of the logs alone, which takes a second
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.command_line import run_module

    run_module("training.figures")

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import paddle
from tyro.conf import Positional, arg

from common.command_line import parse
from common.console import ScriptConsole, print_line
from common.errors import UserError, one_line
from common.project import __version__
from common.signals import StopRequest
from data.dataset import Mnist, split
from model.calibration import Confidences, tempered
from model.feature_maps import FeatureMaps
from model.image import network_input
from model.networks import NETWORKS
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.sets import load_data
from results.figures.logs import curves, save_curves
from results.figures.network import feature_maps, filters, seen
from results.figures.predictions import calibration, confusion_matrix, wrong_answers
from results.figures.rejection import rejection
from results.figures.style import save_both
from results.log import read_results
from results.records import best_row
from results.run_folder import RunFolder
from training.batches import pass_batches
from training.settings import Settings, from_json

Which = Literal["all", "curves", "none"]


def draw_run(folder: RunFolder, which: Which = "all", data: Mnist | None = None, data_dir: Path | None = None) -> None:
    """Draw, or draw again, the figures of a run, each as .png and .svg.

    Args:
        folder: of the run, which may still go on.
        which: "curves" are those of the logs alone, and all that a network that reads rows has; "all" needs the best
            model and the data too.
        data: the run's data, if they are loaded already.
        data_dir: folder of the data otherwise; None for the one that the run took.

    Raises:
        UserError: no run is there, no pass of it has ended, or the data are others.
        OSError: a figure cannot be written.
    """
    if which == "none":
        return
    save_curves(folder, curves(folder))
    if which == "all":
        if best_row(read_results(folder.results)[0]) is None:
            raise UserError(f"{one_line(folder.path)}: expected a run with a best pass, found none; curves are drawn")
        record = folder.read_record()
        try:
            settings = from_json(record["settings"])
        except (TypeError, ValueError, AttributeError) as error:
            made_by = one_line(record.get("version", "unknown"), 20)
            raise UserError(
                f"{one_line(folder.record)}: settings of release {made_by}, this is {__version__}: "
                f"{one_line(error, 160)}"
            ) from error

        if NETWORKS[settings.network].image.is_row:
            return  # the others are of images and their classes
        draw_model(folder, settings, data or _same_data(folder, record.get("data"), settings, data_dir))


def _same_data(folder: RunFolder, known: object, settings: Settings, data_dir: Path | None) -> Mnist:
    data = load_data(data_dir or settings.data_dir, way=settings.prepare, strict=settings.strict)
    if not isinstance(known, dict) or known.get("sha256") != data.sums:
        raise UserError(
            f"{one_line(data.source)}: expected the data of the run in {one_line(folder.path)} (run.json has their "
            "SHA-256), got other data; name their folder with --data-dir"
        )
    return data


def draw_model(folder: RunFolder, settings: Settings, data: Mnist) -> None:
    """Draw them into the run's folder.

    Raises:
        ModelError: the model cannot be used.
        OSError: a figure cannot be written.
    """
    paddle.enable_static()
    recipe = settings.recipe_for(len(data.train_labels), data.validation)
    model, image = load_model(folder.model), NETWORKS[settings.network].image
    training, validation = split(data, recipe.validation_size)
    inputs, unseen = (network_input(images, image) for images in (data.test_images, validation.images))
    predictor = Predictor(model)
    log_probabilities = predictor.log_probabilities(inputs)
    answers = {}
    if len(validation):
        found = predictor.log_probabilities(unseen)
        answers["validation"] = Confidences.of(found, validation.labels, model.temperature)
    answers["test"] = Confidences.of(log_probabilities, data.test_labels, model.temperature)
    layers = FeatureMaps.of_model(model)
    outputs = {name: values[0] for name, values in layers.of(inputs[:1]).items()}
    outputs["probability"] = np.exp(log_probabilities[0])
    images, labels = next(pass_batches(training, image, recipe, settings.seed, pass_number=1))
    caption = f"the first pictures of pass 1 as the network saw them,\n{recipe.distortions or 'not distorted'}"
    temperature = model.card.get("temperature")
    for name, figure in {
        "confusion": confusion_matrix(data.test_labels, log_probabilities.argmax(axis=1), data.classes),
        "wrong_answers": wrong_answers(
            data.test_images, data.test_labels, tempered(log_probabilities, temperature or 1.0), data.classes
        ),
        "calibration": calibration(log_probabilities, data.test_labels, temperature),
        "rejection": rejection(answers),
        "filters": filters(layers.parameters()),
        "feature_maps": feature_maps(inputs[0, 0], outputs, data.classes),
        "batch": seen(images, labels, caption, data.classes),
    }.items():
        save_both(figure, folder.figures / name)


@dataclass(frozen=True)
class Options:
    """Draw the figures of runs into their folders, as PNG and SVG."""

    run_dirs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN_DIR [RUN_DIR ...]", help_behavior_hint="")]]
    """Folders of runs."""
    which: Literal["all", "curves"] = "all"
    """Curves: what the logs alone hold; all: also what needs the best model and the data."""
    data_dir: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder with the data of the runs; otherwise the one that each run took."""


def main(stop: StopRequest) -> int:
    """Draw."""
    options = parse(Options)
    for run_dir in options.run_dirs:
        folder = RunFolder(run_dir)
        draw_run(folder, options.which, data_dir=options.data_dir)
        print_line(f"drawn: {one_line(folder.figures)}/", ScriptConsole())
    return 0
