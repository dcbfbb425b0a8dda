"""Scores of saved models on a labelled data set.

    python evaluate.py                                  # the model in inference_model/ on the MNIST test images
    python evaluate.py runs/A runs/B                    # two models and whether they really differ
    python evaluate.py --data fashion --part all        # another data set, all of its images
    python evaluate.py --plot confusion.png --wrong wrong.png
    python evaluate.py --format json --fail-under 99    # for automation: exit status 1 below 99 %

You see counts and accuracy with its 95 % Wilson interval, loss, calibration error, and per class precision, recall and
F1, and the confusion matrix. Two or more models are compared with the first by McNemar's test.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from common.command_line import parse, run
from common.errors import UsageError, UserError, one_line
from common.project import model_folder
from common.ranges import Range, check_ranges
from common.signals import StopRequest

if TYPE_CHECKING:
    from rich.console import Console

    from data.dataset import Mnist
    from model.saved_model import SavedModel
    from results.evaluation import Evaluation


@dataclass(frozen=True)
class Options:
    """Score saved models on a labelled data set."""

    models: Positional[Annotated[tuple[Path, ...], arg(metavar="[MODEL_DIR ...]", help_behavior_hint="")]] = ()
    """Folders of models or of runs; inference_model if none is named, and there the released one if it has no other."""
    data: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Labelled data set of any format that train.py takes; MNIST, wherever it is found, if none is named."""
    part: Annotated[Literal["test", "train", "all"] | None, arg(help_behavior_hint="")] = None
    """Images to score: the test part, the training part, or both. If none is named, the test part; of a set without
    one, all images, or the fifth that training held out if a model was trained on this very set."""
    strict: bool = False
    """Stop at a picture that cannot be used, instead of leaving it out."""
    format: Literal["table", "json", "csv"] = "table"
    """json: JSON Lines, one object a model; csv: one row a model, without classes and confusion matrix. Accuracies,
    precision, recall and F1 are fractions between 0 and 1, losses nats per image."""
    plot: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Also draw the confusion matrix of the first model into this file, .png, .svg or .pdf."""
    wrong: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Also draw the first model's surest wrong answers into this file, .png, .svg or .pdf."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU if one works, else the CPU."""
    trust: bool = False
    """Run the models' programs whatever they do; only for makers that you trust."""
    fail_under: Annotated[float | None, arg(metavar="PERCENT", help_behavior_hint="")] = None
    """Percent: exit status 1, and a line on stderr, for each model of a lower accuracy."""

    def __post_init__(self) -> None:
        check_ranges(self, {"fail_under": Range(0, 100)})
        if self.plot and self.plot == self.wrong:
            raise UsageError(f"--plot and --wrong {one_line(self.plot)}: expected a file for each")


def main(stop: StopRequest) -> int:
    """Score each model, print, draw."""
    options = parse(Options)
    with stop.importing():
        from common.console import ScriptConsole
        from model import predictor  # noqa: F401  and with it Paddle
        from model.saved_model import load_model, model_in
        from recognition.preparation import asked_way
        from recognition.sets import load_data
        from results.evaluation_table import print_evaluations
        from results.figures.predictions import confusion_figure, wrong_sheet
        from results.figures.style import check_path, save

    for path in filter(None, (options.plot, options.wrong)):
        check_path(path)
    console = ScriptConsole(stderr=True)
    folders = options.models or (model_in(model_folder()),)
    models = {folder: load_model(folder, options.trust) for folder in folders}
    ways = {folder: asked_way(model.card) for folder, model in models.items()}
    sets = {way: load_data(options.data, console, way, options.strict, True) for way in dict.fromkeys(ways.values())}
    if len({data.sums["train-labels-idx1-ubyte"] + data.sums["t10k-labels-idx1-ubyte"] for data in sets.values()}) > 1:
        raise UserError("models that prepare pictures differently leave out different ones; score them one by one")
    part = options.part or _usual_part({folder: sets[ways[folder]] for folder in models}, models)
    scores = {
        folder: _score(model, sets[ways[folder]], replace(options, part=part), console)
        for folder, model in models.items()
    }
    print_evaluations(scores, options.format)
    first = next(iter(scores.values()))
    if options.plot:
        save(confusion_figure(first.confusion, first.labels), options.plot)
    if options.wrong:
        save(wrong_sheet(first.wrong, first.labels, first.total - first.correct, first.total), options.wrong)
    return _complain(scores, options.fail_under or 0)


def _usual_part(sets: Mapping[Path, Mnist], models: Mapping[Path, SavedModel]) -> Literal["test", "all"]:
    """The part to score if none is named, reported if the set has no test part; the sets are one, prepared by model."""
    data = next(iter(sets.values()))
    if not data.split and len(data.train_labels):
        return "test"
    trained = [folder for folder, model in models.items() if model.card.get("data_sha256") == sets[folder].sums]
    total = f"{len(data.train_labels) + len(data.test_labels):,}"
    where = f"{one_line(data.source)}: no test part"
    if trained:
        print(
            f"{where}, and {one_line(trained[0])} was trained on this set: scored are the {len(data.test_labels):,} of "
            f"{total} images that its training set aside; --part all scores all",
            file=sys.stderr,
        )
        return "test"
    print(f"{where}, and no model was trained on this very set: scored are all {total} images", file=sys.stderr)
    return "all"


def _score(model: SavedModel, data: Mnist, options: Options, console: Console) -> Evaluation:
    from rich.progress import Progress

    from data.dataset import part
    from model.device import choose_device
    from model.predictor import Predictor
    from recognition.kind import PictureKind
    from results.evaluation import evaluate_model

    images = part(data, options.part or "test")
    found, trained = PictureKind.measure(images.images), PictureKind.of_card(model.card)
    if data.cut:  # of MNIST's kind; the model may have learned another
        images = replace(images, images=trained.apply(images.images))
    elif found is None or trained.differs(found):
        has = f"trained on {trained.describe()}; the data has {found.describe() if found else 'nothing in the images'}"
        print(f"warning: {one_line(model.folder)}: {has}: the score may be wrong", file=sys.stderr)
    network = Predictor(model, choose_device(options.device).name, threads=len(os.sched_getaffinity(0)))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(str(model.folder), total=len(images))
        counted = partial(bar.advance, task)
        return evaluate_model(model, network, images.images, images.labels, data.classes, counted)


def _complain(scores: Mapping[Path, Evaluation], fail_under: float) -> int:
    """Report each model below `fail_under` percent on stderr; returns the exit status."""
    low = {folder: 100 * score.accuracy for folder, score in scores.items() if 100 * score.accuracy < fail_under}
    for folder, percent in low.items():
        print(
            f"error: {one_line(folder)}: expected at least {fail_under:g} % right, got {percent:.2f} %", file=sys.stderr
        )
    return 1 if low else 0


if __name__ == "__main__":
    run(main)
