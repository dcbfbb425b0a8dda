"""The best model of a run: written into its folder, read back, scored anew, published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paddle

from common.errors import UsageError, UserError
from common.files import expect_replaceable, make_folder, real_path, remove_leftovers
from common.folders import missing_parents, remove_empty
from common.project import __version__, model_folder
from model.networks import NETWORKS, with_classes
from model.onnx import ExportError, agreement_in, with_onnx
from model.predictor import Predictor
from model.saved_model import README, ROWS, SavedModel, describe_model, holds_only_a_model, load_model, save_model
from model.scoring import Scores, evaluate
from recognition.kind import PictureKind
from results.log import read_results
from results.predictions import digest
from results.records import Row
from training.settings import Settings
from training.setup import Setup
from training.state import State


@dataclass(frozen=True)
class Outcome:
    """The result of a run; the scores are those of the model on disk, read back.

    Attributes:
        run_dir: the run's folder.
        save_dir: where the model was published.
        best_pass: the chosen pass.
        selected_on: the images that it was chosen on: validation, test, or last.
        test: its scores on the test images.
        replaced: what was published there before, in words; empty if nothing was.
        onnx: how its ONNX form agrees with it, in words; empty if it has none.
    """

    run_dir: Path
    save_dir: Path
    best_pass: int
    selected_on: str
    test: Scores
    replaced: str
    onnx: str = ""


def publish_folder(settings: Settings) -> Path:
    """The folder to publish in: in the default one, a model that reads rows does not replace one that reads digits."""
    reads_rows = NETWORKS[settings.network].image.is_row and settings.save_dir == model_folder()
    return settings.save_dir / ROWS if reads_rows else settings.save_dir


def expect_publishable(save_dir: Path, run: Path) -> None:
    """Find out before the first pass, not after the last, that the model could not be published there.

    Raises:
        UsageError: the folder holds other things, or lies in the run's folder, or that in it.
        UserError: the folder cannot be made or replaced.
    """
    if not holds_only_a_model(save_dir):
        raise UsageError(f"--save-dir {save_dir}: it holds other things than a model, and would be replaced")
    target, run = real_path(save_dir), real_path(run)
    if target.is_relative_to(run) or run.is_relative_to(target):
        raise UsageError(f"--save-dir {save_dir}: it and the run's folder {run} lie in each other; name another")
    missing = missing_parents(target)
    try:
        make_folder(target.parent)
        expect_replaceable(target)
    except OSError as error:
        raise UserError(f"--save-dir {save_dir}: {error.filename}: {error.strerror}; name another folder") from error
    finally:
        remove_empty(missing)  # a run that fails to start leaves nothing; publishing makes them again


def save_best_model(setup: Setup, state: State, row: Row) -> None:
    """Write the best model into the run's folder; if its ONNX form fails, without that: training goes on."""
    if setup.world.rank:
        return
    files = setup.exporter.files(state.best_parameters)
    detector = setup.novelty.to_bytes() if setup.novelty else None
    model = SavedModel(setup.folder.model, _card(setup, state, row), *files, novelty=detector)
    if setup.settings.export:
        try:
            model = with_onnx(model, setup.test.images)
        except ExportError as error:
            setup.report(f"pass {row.pass_number}: {error}; saved without it")
    _report_page(setup, model.folder, save_model(model.folder, model))


def publish(setup: Setup, state: State, check: Callable[[], None]) -> Outcome:
    """Read the best model back, score it anew, and only then publish it.

    Args:
        setup: of the run.
        state: at its end.
        check: called between batches and before the publishing; may raise to leave.

    Raises:
        UserError: it does not reproduce the best pass.
    """
    progress, save_dir, folder = state.progress, publish_folder(setup.settings), setup.folder
    saved = load_model(folder.model, rows=setup.image.is_row)
    test = evaluate(Predictor(saved, setup.device.name), setup.image, setup.test, check)
    if digest(test.answers) != progress.best_answers:
        expected = read_results(folder.results)[0][progress.best_pass - 1]
        raise UserError(
            f"{folder.model}: the saved model does not reproduce pass {progress.best_pass}: expected "
            f"{expected.test_correct}/{expected.test_total}, got {test.correct}/{test.total}; nothing was published"
        )
    if setup.settings.export and saved.onnx is None:
        raise UserError(
            f"{folder.model}: expected the model of pass {progress.best_pass} as ONNX too, which failed (see "
            "above); nothing was published"
        )
    if not holds_only_a_model(save_dir):
        raise UserError(f"--save-dir {save_dir}: by now it holds other things than a model; nothing was published")
    if progress.best_confidence.get("calibration", {}).get("set_aside"):
        setup.report(
            "temperature: set aside, for the validation images do not determine one; probabilities are printed as the "
            "network gives them, and may be too sure"
        )
    check()
    target = real_path(save_dir)  # a link that the user put there is followed, to a folder that holds a model alone
    remove_leftovers(target.parent)
    replaced = describe_model(save_dir)
    _report_page(setup, save_dir, save_model(target, saved))
    onnx = str(agreement_in(saved.card)) if saved.onnx is not None else ""
    return Outcome(folder.path, save_dir, progress.best_pass, setup.settings.select_on, test, replaced, onnx)


def _report_page(setup: Setup, folder: Path, kept: bool) -> None:
    if kept:
        setup.report(f"{folder / README}: kept as you edited it, though the model is new")


def outcome_record(setup: Setup, state: State, outcome: Outcome) -> dict[str, Any]:
    """The outcome as it stands in run.json of a finished run."""
    return {
        "passes": state.progress.passes,
        "of": setup.recipe.passes,  # more than were done if early stopping ended the run
        "best_pass": state.progress.best_pass,
        "test_correct": outcome.test.correct,
        "test_total": outcome.test.total,
        "published": str(outcome.save_dir),
    }


def _card(setup: Setup, state: State, row: Row) -> Mapping[str, Any]:
    image, settings = setup.image, setup.settings
    scores = {"test": {"loss": row.test_loss, "correct": row.test_correct, "total": row.test_total}}
    if row.validation_total:
        scores["validation"] = {
            "loss": row.validation_loss,
            "correct": row.validation_correct,
            "total": row.validation_total,
        }
    if image.is_row:
        for name, score in scores.items():
            score["digit_error"] = getattr(row, f"{name}_digit_error")
    return {
        "network": settings.network,
        "options": with_classes(settings.network_options(), len(setup.data.classes)),
        "input": {
            "name": "image",
            "shape": image.shape,
            "low": image.low,
            "high": image.high,
            "fit": image.fit,
        },
        "prepare": setup.data.prepare,
        "data_prepared": setup.data.prepared,
        "data_split": dict(setup.data.split),
        "pictures": (setup.kind or PictureKind()).to_json(),
        "labels": list(setup.data.classes),
        "run": setup.folder.name,
        "pass": row.pass_number,
        "selected_on": settings.select_on,
        "scores": scores,
        **state.progress.best_confidence,
        "test_answers_sha256": state.progress.best_answers,
        "recipe": asdict(setup.recipe),
        "seed": settings.seed,
        "data_sha256": setup.data.sums,
        "paddle": paddle.__version__,
        "version": __version__,
    }
