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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from common.command_line import parse, run, to_stderr
from common.errors import UsageError, UserError, one_line
from common.project import model_folder
from common.ranges import Range, check_ranges
from common.signals import StopRequest

if TYPE_CHECKING:
    from rich.console import Console

    from data.formats.labelled import Part
    from data.load import LabelledSet, Reading
    from model.saved_model import SavedModel
    from results.evaluation import Evaluation, Evaluator

# Title of each group of options in --help, by the group's first option.
GROUPS = {
    "data": "data",
    "format": "output",
    "device": "computation and threshold",
}


@dataclass(frozen=True)
class Options:
    """Score saved models on a labelled data set."""

    models: Positional[Annotated[tuple[Path, ...], arg(metavar="[MODEL_DIR ...]", help_behavior_hint="")]] = ()
    """Folders of models or of runs; inference_model if none is named, and there the released one if it has no other."""
    data: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Labelled data set of any format that train.py takes; MNIST if none is named."""
    part: Annotated[Literal["test", "train", "all"] | None, arg(help_behavior_hint="")] = None
    """Images to score: the test part, the training part, or both. If none is named, the test part; of a set without
    one, all images, or the fifth that training set aside if a model was trained on this very set."""
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
    """Run the models' programs without a check of their operators; only for makers that you trust."""
    fail_under: Annotated[float | None, arg(metavar="PERCENT", help_behavior_hint="")] = None
    """Percent: exit status 1, and a line on stderr, for each model of a lower accuracy."""

    def __post_init__(self) -> None:
        check_ranges(self, {"fail_under": Range(0, 100)})
        if self.plot and self.plot == self.wrong:
            raise UsageError(f"--plot and --wrong {one_line(self.plot)}: expected a file for each")


def main(stop: StopRequest) -> int:
    """Score each model, print, draw."""
    options = parse(Options, groups=GROUPS)
    with stop.importing():
        from common.console import ScriptConsole
        from model import predictor  # noqa: F401  and with it Paddle
        from model.saved_model import load_model, model_in
        from recognition.sets import find_data
        from results.evaluation_table import print_evaluations
        from results.figures.predictions import confusion_figure, wrong_sheet
        from results.figures.style import check_path, save

    for path in filter(None, (options.plot, options.wrong)):
        check_path(path)
    console = ScriptConsole(stderr=True)
    folders = options.models or (model_in(model_folder()),)
    models = {folder: load_model(folder, options.trust) for folder in folders}
    scores = _evaluate(models, find_data(options.data, console), options, console)
    print_evaluations(scores, options.format)
    first = next(iter(scores.values()))
    if options.plot:
        save(confusion_figure(first.confusion, first.labels), options.plot)
    if options.wrong:
        save(wrong_sheet(first.wrong, first.labels, first.total - first.correct, first.total), options.wrong)
    return _complain(scores, options.fail_under or 0)


def _usual_part(data: LabelledSet, models: Mapping[Path, SavedModel]) -> Literal["test", "all"]:
    """The part to score if none is named; the reason is reported if the set has no test part."""
    test = len(data.test.labels)
    if not data.split and len(data.train.labels):
        return "test"
    total = f"{len(data.train.labels) + test:,}"
    where = f"{one_line(data.source)}: no test part"
    for folder, model in models.items():
        if data.was_trained_on(model.card):
            to_stderr(
                f"{where}, and {one_line(folder)} was trained on this set: scored are the {test:,} of {total} images "
                "that its training set aside; --part all scores all"
            )
            return "test"
    to_stderr(f"{where}, and no model was trained on this very set: scored are all {total} images")
    return "all"


def _evaluate(
    models: Mapping[Path, SavedModel], data: LabelledSet, options: Options, console: Console
) -> dict[Path, Evaluation]:
    """Score the models; pictures are decoded piece by piece, once for all models that prepare them alike."""
    from rich.progress import Progress

    from data.load import announce, prepared_way
    from model.device import choose_device
    from model.predictor import Predictor
    from recognition.preparation import asked_way
    from recognition.sets import reading
    from results.evaluation import Evaluator

    asked = {folder: asked_way(model.card) for folder, model in models.items()}
    read = {way: reading(console, way, options.strict, scored=True) for way in dict.fromkeys(asked.values())}
    ways = {folder: prepared_way(data, read[way]) for folder, way in asked.items()}
    readings = {ways[folder]: read[way] for folder, way in asked.items()}
    for each in readings.values():
        announce(data, each, len(data.train.labels), len(data.test.labels))
    part = options.part or _usual_part(data, models)
    parts = {"train": [data.train], "test": [data.test], "all": [data.train, data.test]}[part]
    device, threads = choose_device(options.device).name, len(os.sched_getaffinity(0))
    evaluators = {
        folder: Evaluator(
            model, Predictor(model, device, threads=threads), data.classes, [part.labels for part in parts]
        )
        for folder, model in models.items()
    }
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        for way, each in readings.items():
            task = bar.add_task("images", total=sum(len(part.labels) for part in parts))
            alike = [evaluator for folder, evaluator in evaluators.items() if ways[folder] == way]
            _score(alike, data, parts, each, partial(bar.advance, task))
    return {folder: evaluator.evaluation for folder, evaluator in evaluators.items()}


def _score(
    evaluators: Sequence[Evaluator],
    data: LabelledSet,
    parts: Sequence[Part],
    read: Reading,
    count: Callable[[int], None],
) -> None:
    """Score models that prepare pictures alike, and warn of those that were trained on images of another kind."""
    import numpy as np

    from data.load import prepared_way
    from recognition.kind import SAMPLE, PictureKind
    from recognition.sets import image_stream

    kinds = [PictureKind.of_card(each.model.card) for each in evaluators]
    cut, total = prepared_way(data, read) == "digit", sum(len(part.labels) for part in parts)
    sample = []
    for images, labels, numbers in image_stream(parts, read):
        for each, kind in zip(evaluators, kinds, strict=True):  # cut, they are MNIST's kind; the model may know another
            each.add(kind.apply(images) if cut else images, labels, numbers)
        sample.append(images[numbers % max(1, total // SAMPLE) == 0])
        count(len(images))
    for each in evaluators:
        each.evaluation.left_out = total - each.evaluation.total
        if not each.evaluation.total:
            raise UserError(f"expected images that can be used, got none of {total:,}")
    found = PictureKind() if cut else PictureKind.measure(np.concatenate(sample))
    for each, kind in zip(evaluators, kinds, strict=True):
        if not cut and (found is None or kind.differs(found)):
            has = f"trained on {kind.describe()}; the data has {found.describe() if found else 'nothing in the images'}"
            to_stderr(f"warning: {one_line(each.model.folder)}: {has}: the score may be wrong")


def _complain(scores: Mapping[Path, Evaluation], fail_under: float) -> int:
    """Report each model below `fail_under` percent on stderr; returns the exit status."""
    wanted = Fraction(str(fail_under)) / 100  # exact, so that 9951/10000 is not below 99.51 %
    low = {folder: score for folder, score in scores.items() if Fraction(score.correct, score.total) < wanted}
    for folder, score in low.items():
        percent = 100 * score.accuracy
        to_stderr(f"error: {one_line(folder)}: expected at least {fail_under:g} % right, got {percent:.2f} %")
    return 1 if low else 0


if __name__ == "__main__":
    run(main)
