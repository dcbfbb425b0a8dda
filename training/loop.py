"""A run: passes over the training images, evaluation after each, the best pass kept, and its model published."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from common.errors import UsageError, UserError, one_line
from common.files import (
    expect_replaceable,
    make_folder,
    read_file,
    real_path,
    remove_folder,
    remove_leftovers,
    sync,
    write_file,
)
from common.project import __version__
from common.signals import Stopped, StopRequest
from data.dataset import Mnist, Subset, load_mnist, split
from model.calibration import card_entries
from model.device import choose_device
from model.engine import Exporter
from model.networks import NETWORKS
from model.onnx import ExportError, agreement_in, expect_packages, to_onnx
from model.ops.backend import resolve_kernel
from model.predictor import Predictor
from model.program import REMEMBERED_STEPS, NetworkConfig
from model.recipes import learning_rate
from model.saved_model import (
    MODEL_FILES,
    ModelError,
    SavedModel,
    holds_only_a_model,
    load_model,
    read_model,
    save_model,
)
from recognition import novelty
from recognition.kind import PictureKind
from results.log import (
    LARGEST_RESULTS,
    ResultsLog,
    StepsLog,
    cut_back_steps,
    expect_readable,
    parse_results,
    read_results,
)
from results.predictions import predictions_path, write_predictions
from results.records import Row, Step
from results.run_folder import RunFolder, environment
from training.batches import pass_batches, prefetch
from training.callbacks.callback import Callback, Started
from training.checkpoint import LOG, Checkpoint, checkpoint_name, load_checkpoint, save_checkpoint
from training.early_stopping import Patience
from training.engine import BEST, make_engine, start_from, under
from training.evaluation import Scores, evaluate
from training.export import exported
from training.plausibility import doubts, kind_note
from training.resume import continued, differences, expect_same_run, run_id
from training.settings import Settings, to_json
from training.state import Progress, expect_progress

# Steps between two looks at the losses. Each look waits for the device; a GPU is kept busy in between.
FETCH_EVERY = 16
assert FETCH_EVERY <= REMEMBERED_STEPS


class TrainingError(UserError):
    """The numbers ran away: a loss or a weight is not finite."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to; the scores are those of the model on disk, read back.

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


def train(
    settings: Settings,
    folder: RunFolder,
    callbacks: Sequence[Callback] = (),
    stop: StopRequest | None = None,
    data: Mnist | None = None,
) -> Outcome:
    """Run, or go on with, a run.

    Args:
        settings: as the user gave them.
        folder: the run's folder; with `settings.resume`, the run in it goes on from its newest checkpoint.
        callbacks: hear of every step and pass, in this order.
        stop: where signals are noted; the run then saves a checkpoint and raises `Stopped`.
        data: the images, if they are loaded already.

    Raises:
        UserError: what was asked for cannot be done: data, device, folder, or numbers that run away.
        Stopped: a signal asked to stop; everything is saved.
    """
    _expect_publishable(settings.save_dir, folder.path)
    if settings.resume is None:
        folder.expect_no_run()  # before the lock is put there
    if settings.export:
        expect_packages()
    paddle.enable_static()
    with folder.locked():
        if settings.resume is None:
            folder.expect_no_run()
        recorded = folder.read_record(whole=True) if settings.resume else {}
        data = data or load_mnist(settings.data_dir)
        try:
            return _Run(settings, folder, callbacks, stop or StopRequest(), data, recorded).run()
        except OSError as error:
            rest = "nothing was trained"
            if folder.record.exists():
                rest = f"what was saved before is whole: continue with --resume {folder.path}"
            raise UserError(f"{error.filename or folder.path}: {error.strerror or one_line(error)}; {rest}") from error


def _expect_publishable(save_dir: Path, run: Path) -> None:
    """Find out before the first pass, not after the last, that the model could not be published there."""
    if not holds_only_a_model(save_dir):
        raise UsageError(f"--save-dir {save_dir}: it holds other things than a model, and would be replaced")
    target, run = real_path(save_dir), real_path(run)
    if target.is_relative_to(run) or run.is_relative_to(target):
        raise UsageError(f"--save-dir {save_dir}: it and the run's folder {run} lie in each other; name another")
    try:
        make_folder(target.parent)
        expect_replaceable(target)
    except OSError as error:
        raise UserError(f"--save-dir {save_dir}: {error.filename}: {error.strerror}; name another folder") from error


@dataclass
class _Run:
    settings: Settings
    folder: RunFolder
    callbacks: Sequence[Callback]
    stop: StopRequest
    data: Mnist
    recorded: Mapping[str, Any]  # run.json as it was when a run that goes on began; empty for a new run
    progress: Progress = field(default_factory=Progress)
    best_parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    log: bytes = b""  # the results log as the last checkpoint knows it
    saved: str = ""  # name of that checkpoint

    def __post_init__(self) -> None:
        self.recipe = self.settings.resolved_recipe()
        self.image = NETWORKS[self.settings.network].image
        self.training, self.validation = split(self.data, self.recipe.validation_size)
        self.test = Subset(self.data.test_images, self.data.test_labels)
        self.doubts = [f"warning: {line}" for line in doubts(self.data, self.training, self.validation)]
        for line in (*self.doubts, *filter(None, [kind_note(self.training)])):
            self._report(line)
        self.steps = math.ceil(len(self.training.labels) / self.recipe.batch_size)
        self.device = choose_device(self.settings.device)
        without_fused = self.recorded.get("kernel") == "stock" or self.settings.engine == "numpy"
        kernel = "stock" if without_fused else self.settings.kernel
        self.kernel, why_stock = resolve_kernel(kernel, self.device.name, self._report)
        for reason in (self.device.reason and f"computing on the CPU: {self.device.reason}", why_stock):
            if reason:
                self._report(reason)
        config = NetworkConfig(self.settings.network, self.settings.network_options(), self.kernel)
        self.engine = make_engine(self.settings.engine, config, self.recipe, self.device, self.settings.seed)
        self.exporter = Exporter(config)
        if self.settings.init_from and not self.recorded:
            for line in start_from(self.engine, self.settings.init_from):
                self._report(line)
        if self.settings.export:
            to_onnx(*self.exporter.files(self.engine.parameters()))  # what cannot be converted is told now
        self.last_checkpoint = time.monotonic()

    def _report(self, line: str) -> None:
        for callback in self.callbacks:
            callback.on_message(line)

    def run(self) -> Outcome:
        self.record = self._record()
        if self.recorded:
            expect_same_run(self.folder, self.recorded, self.record)
            differing = list(differences(self.recorded, self.record))
            for line in differing:
                self._report(line)
            self.record = continued(self.recorded, self.record, differing)
        expect_readable(self.folder.name, self.recipe.passes, self.steps, self.settings.log_every)
        self._load_checkpoint()
        self.folder.write_record(self.record)
        self._restore_folder()
        self.results, self.steps_log = ResultsLog(self.folder.results), StepsLog(self.folder.steps)
        done = self.progress
        started = Started(
            self.folder.path, self.recipe.passes, self.steps, self.recipe.batch_size, done.passes + 1, done.steps
        )
        for callback in self.callbacks:
            callback.on_start(started)
        try:
            with self.stop.deferred():
                while done.passes < self.recipe.passes and not self._out_of_patience():
                    self._train_pass()
                    validation = self._evaluate(self.validation) if len(self.validation.labels) else None
                    self._finish_pass(validation, self._evaluate(self.test))
                outcome = self._publish()
            self.stop.check()  # no longer deferred: the callbacks may take seconds, and --resume calls them again
            for callback in self.callbacks:
                callback.on_published(outcome)
            for line in self.doubts:  # again, beneath the scores that they are about
                self._report(line)
            self.folder.write_record({**self.record, "outcome": self._finished(outcome)})
            return outcome
        except Stopped as stopped:
            self._save_checkpoint()
            self._report(f"stopped by {stopped}, everything is saved; continue with --resume {self.folder.path}")
            raise
        finally:
            for callback in self.callbacks:
                callback.on_end()

    def _load_checkpoint(self) -> None:
        """Go back to the newest checkpoint in memory; without one, this is the beginning."""
        checkpoint, refused = load_checkpoint(self.folder.checkpoints, self._expect_own)
        for line in refused:
            self._report(line)
        if checkpoint is None:
            return
        self.progress = Progress(**checkpoint.progress)
        if self.progress.passes > self.recipe.passes:
            raise UsageError(f"--passes {self.recipe.passes}: {self.folder.path} has done {self.progress.passes}")
        self.engine.load_state(under("state/", checkpoint.arrays))
        self.best_parameters = under(BEST, checkpoint.arrays)
        self.log = checkpoint.log
        self.saved = checkpoint.name

    def _expect_own(self, checkpoint: Checkpoint) -> None:
        """Make sure that a checkpoint is one of this run, which it can go on from.

        Raises:
            ValueError: it is not.
        """
        expect_progress(checkpoint.progress, len(self.training.labels), self.recipe.batch_size)
        passes, log = checkpoint.progress["passes"], self.folder.checkpoints / checkpoint.name / LOG
        rows = parse_results(checkpoint.log, log)[0] if checkpoint.log else []
        if len(rows) != passes:
            raise ValueError(f"{LOG}: expected {passes} passes, got {len(rows)}")
        # Checkpoints of older releases, and those of their runs, know no more of their run than its name.
        if checkpoint.run != self.record.get("id", "") or any(row.run != self.folder.name for row in rows):
            raise ValueError("it is that of another run")

    def _restore_folder(self) -> None:
        """Bring the logs and the best model to where the checkpoint is; without one, save the first."""
        if not self.saved:
            if self.folder.results.exists():
                raise UserError(
                    f"{self.folder.checkpoints}: expected a checkpoint, since results.csv was recorded, found none; "
                    "restore one from a copy, or start a new run"
                )
            self._save_checkpoint()
        found = read_file(self.folder.results, LARGEST_RESULTS) if self.folder.results.exists() else b""
        if not found.startswith(self.log):
            self._report(f"{self.folder.results}: altered or lost; restored as checkpoint {self.saved} knows it")
        write_file(self.folder.results, self.log)
        cut_back_steps(self.folder.steps, self.progress.passes, self.progress.steps)
        self._restore_best_model()

    def _restore_best_model(self) -> None:
        """Write the best model as the checkpoint knows it; the one on disk may be of a later pass, or lost."""
        if not self.progress.best_pass:
            remove_folder(self.folder.model, MODEL_FILES)
            return
        rows, _ = read_results(self.folder.results)
        self._save_best_model(rows[self.progress.best_pass - 1])

    def _train_pass(self) -> None:
        progress, pass_number = self.progress, self.progress.passes + 1
        wanted = pass_batches(self.training, self.image, self.recipe, self.settings.seed, pass_number, progress.steps)
        with prefetch(wanted) as ready:
            unread: list[int] = []  # sizes of the batches whose losses have not been looked at
            mark = time.perf_counter()
            for images, labels in ready:
                self.engine.train_step(images, labels, self._learning_rate(len(unread)))
                unread.append(len(labels))
                late = time.monotonic() - self.last_checkpoint > self.settings.checkpoint_seconds
                if len(unread) == FETCH_EVERY or late or self.stop.requested:
                    mark = self._read_losses(unread, mark)
                    self.stop.check()
                    if late:
                        self._save_checkpoint()
                        mark = time.perf_counter()
            self._read_losses(unread, mark)

    def _learning_rate(self, ahead: int = 0) -> float:
        """Learning rate of the step that follows the next `ahead` ones."""
        step = self.progress.passes * self.steps + self.progress.steps + ahead
        return learning_rate(self.recipe, step, self.recipe.passes * self.steps)

    def _read_losses(self, unread: list[int], mark: float) -> float:
        """Take the latest steps into the sums and tell the callbacks; returns the time from which the next steps count.

        Raises:
            TrainingError: a loss is not finite.
        """
        progress = self.progress
        recent = self.engine.recent(len(unread))
        progress.seconds += time.perf_counter() - mark
        for size, (loss, accuracy) in zip(unread, recent.tolist(), strict=True):
            rate = self._learning_rate()
            progress.steps += 1
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss}")
            correct = round(accuracy * size)
            progress.loss += loss * size
            progress.correct += correct
            progress.images += size
            progress.last_finite_loss = loss
            step = Step(
                pass_number=progress.passes + 1,
                step=progress.steps,
                loss=loss,
                accuracy=correct / size,
                learning_rate=rate,
            )
            if step.step % self.settings.log_every == 0:
                self.steps_log.append(step)
            for callback in self.callbacks:
                callback.on_step(step)
        unread.clear()
        return time.perf_counter()

    def _evaluate(self, subset: Subset) -> Scores:
        return evaluate(self.engine, self.image, subset, self.stop.check)

    def _finish_pass(self, validation: Scores | None, test: Scores) -> None:
        """Log the pass, keep its model if it is the best, save a checkpoint; whole, whatever signal comes."""
        progress = self.progress
        parameters = self.engine.parameters()
        for name, value in parameters.items():
            if not np.isfinite(value).all():
                raise self._diverged(f"{name} holds a number that is not finite")
        chosen_on = validation if self.settings.select_on == "validation" else test
        assert chosen_on is not None  # Settings refuses a run with nothing to choose on
        if not math.isfinite(chosen_on.loss):
            raise self._diverged(f"the {self.settings.select_on} loss is {chosen_on.loss}")
        measure = chosen_on.loss if self.recipe.select_by == "loss" else chosen_on.error
        best = progress.best_measure is None or measure < progress.best_measure or self.settings.select_on == "last"
        self._look_at_patience(validation)
        row = self._row(validation, test, best)
        progress.begin_pass()
        write_predictions(predictions_path(self.folder.path, progress.passes), test.answers, self.test.labels)
        self.results.append(row)
        if best:
            progress.best_pass, progress.best_measure = progress.passes, measure
            progress.best_answers = _digest(test.answers)
            progress.best_confidence = card_entries(
                (validation.log_probabilities, self.validation.labels) if validation else None,
                (test.log_probabilities, self.test.labels),
            )
            self.best_parameters = parameters
            self._save_best_model(row)
        self._save_checkpoint()
        for callback in self.callbacks:
            callback.on_parameters(row.pass_number, parameters)
            callback.on_pass(row)

    def _patience(self) -> Patience | None:
        """Document 003's rule as it stands; None if the recipe has none, or nothing is held out to measure it on."""
        rule, progress = self.recipe.early_stopping, self.progress
        if rule is None or not self.recipe.validation_size:
            return None
        if progress.patience is None:
            return Patience.start(rule)
        return Patience(rule, progress.patience, math.inf if progress.lowest_error is None else progress.lowest_error)

    def _look_at_patience(self, validation: Scores | None) -> None:
        patience = self._patience()
        if patience and validation:
            patience.validated((self.progress.passes + 1) * self.steps - 1, validation.error)
            self.progress.patience, self.progress.lowest_error = patience.last_step, patience.best_error

    def _out_of_patience(self) -> bool:
        """Whether the next pass would not be validated any more."""
        patience = self._patience()
        if patience is None or patience.reaches((self.progress.passes + 1) * self.steps - 1):
            return False
        self._report(
            f"stopped early after pass {self.progress.passes}: the validation error has ceased to fall by enough"
        )
        return True

    def _row(self, validation: Scores | None, test: Scores, best: bool) -> Row:
        progress = self.progress
        return Row(
            run=self.folder.name,
            pass_number=progress.passes + 1,
            train_loss=progress.loss / progress.images,
            train_accuracy=progress.correct / progress.images,
            validation_loss=validation.loss if validation else None,
            validation_correct=validation.correct if validation else None,
            validation_total=validation.total if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            test_loss=test.loss,
            test_correct=test.correct,
            test_total=test.total,
            test_accuracy=test.accuracy,
            learning_rate=self._learning_rate(-1),
            seconds=progress.seconds,
            images_per_second=progress.images / progress.seconds,
            best=best,
        )

    def _diverged(self, what: str) -> TrainingError:
        progress = self.progress
        kept = "no pass was completed"
        if progress.best_pass:
            kept = f"the best model, pass {progress.best_pass}, is in {self.folder.model}"
        last = "none" if progress.last_finite_loss is None else f"{progress.last_finite_loss:.4f}"
        return TrainingError(
            f"pass {progress.passes + 1} step {progress.steps}: {what} at learning rate {self._learning_rate(-1):g} "
            f"(last finite loss: {last}); stopped, {kept}; try a smaller --learning-rate"
        )

    def _save_checkpoint(self) -> None:
        progress = self.progress
        name = checkpoint_name(progress.passes, progress.steps)
        if name == self.saved:
            return
        arrays = {f"state/{name}": value for name, value in self.engine.state().items()}
        arrays |= {BEST + name: value for name, value in self.best_parameters.items()}
        if self.folder.steps.exists():
            sync(self.folder.steps)  # the checkpoint knows its rows
        log = read_file(self.folder.results, LARGEST_RESULTS) if self.saved else b""
        save_checkpoint(
            self.folder.checkpoints,
            Checkpoint(name, arrays, asdict(progress), log, self.record.get("id", "")),
            before=self.saved,
        )
        self.saved = name
        self.last_checkpoint = time.monotonic()

    def _save_best_model(self, row: Row) -> None:
        """Write the best model into the run's folder; if its ONNX form fails, without that: training goes on."""
        files = self.exporter.files(self.best_parameters)
        model = SavedModel(self.folder.model, self._card(row), *files, novelty=self._novelty)
        if self.settings.export:
            try:
                model = exported(model, self.test)
            except ExportError as error:
                self._report(f"pass {row.pass_number}: {error}; saved without it")
        save_model(self.folder.model, model.program, model.parameters, model.card, model.onnx, model.novelty)

    @cached_property
    def _novelty(self) -> bytes:
        """What tells pictures that hold no digit, for which all passes take the same images."""
        return novelty.fit(self.training.images, self.training.labels, self.validation.images).to_bytes()

    def _card(self, row: Row) -> dict[str, Any]:
        image = self.image
        scores = {"test": {"loss": row.test_loss, "correct": row.test_correct, "total": row.test_total}}
        if row.validation_total:
            scores["validation"] = {
                "loss": row.validation_loss,
                "correct": row.validation_correct,
                "total": row.validation_total,
            }
        return {
            "network": self.settings.network,
            "options": self.settings.network_options(),
            "input": {
                "name": "image",
                "shape": [-1, 1, image.size, image.size],
                "low": image.low,
                "high": image.high,
                "fit": image.fit,
            },
            "pictures": (PictureKind.measure(self.training.images) or PictureKind()).to_json(),
            "labels": [str(digit) for digit in range(10)],
            "run": self.folder.name,
            "pass": row.pass_number,
            "selected_on": self.settings.select_on,
            "scores": scores,
            **self.progress.best_confidence,
            "test_answers_sha256": self.progress.best_answers,
            "recipe": asdict(self.recipe),
            "seed": self.settings.seed,
            "data_sha256": self.data.sums,
            "paddle": paddle.__version__,
            "version": __version__,
        }

    def _record(self) -> dict[str, Any]:
        settings = to_json(replace(self.settings, resume=None))
        return {
            "run": self.folder.name,
            "id": run_id(self.folder.name, settings, self.data.sums),
            "settings": settings,
            "recipe": asdict(self.recipe),
            "device": self.device.name,
            "engine": self.settings.engine,
            "kernel": self.kernel,
            "parameters": self.engine.trainable,
            "data": {"source": self.data.source, "sha256": self.data.sums},
            "version": __version__,
            "environment": environment(),
        }

    def _publish(self) -> Outcome:
        """Read the best model back, score it anew, and only then publish it.

        Raises:
            UserError: it does not answer as the best pass did.
        """
        progress, save_dir = self.progress, self.settings.save_dir
        saved = load_model(self.folder.model)
        test = evaluate(Predictor(saved, self.device.name), self.image, self.test, self.stop.check)
        if _digest(test.answers) != progress.best_answers:
            expected = read_results(self.folder.results)[0][progress.best_pass - 1]
            raise UserError(
                f"{self.folder.model}: read back, it answers otherwise than pass {progress.best_pass} did: expected "
                f"{expected.test_correct}/{expected.test_total}, got {test.correct}/{test.total}; nothing was published"
            )
        if self.settings.export and saved.onnx is None:
            raise UserError(
                f"{self.folder.model}: expected the model of pass {progress.best_pass} as ONNX too, which failed (see "
                "above); nothing was published"
            )
        if not holds_only_a_model(save_dir):
            raise UserError(f"--save-dir {save_dir}: by now it holds other things than a model; nothing was published")
        if progress.best_confidence.get("calibration", {}).get("set_aside"):
            self._report(
                "temperature: set aside, for the validation images do not determine one; probabilities are told as the "
                "network gives them, and may be too sure"
            )
        self.stop.check()
        remove_leftovers(real_path(save_dir).parent)
        replaced = describe_model(save_dir)
        # A link that the user put there is followed, to a folder that holds a model and no more.
        save_model(real_path(save_dir), saved.program, saved.parameters, saved.card, saved.onnx, saved.novelty)
        onnx = str(agreement_in(saved.card)) if saved.onnx is not None else ""
        return Outcome(self.folder.path, save_dir, progress.best_pass, self.settings.select_on, test, replaced, onnx)

    def _finished(self, outcome: Outcome) -> dict[str, Any]:
        """What run.json says of a run that is finished."""
        progress, test = self.progress, outcome.test
        return {
            "passes": progress.passes,
            "of": self.recipe.passes,  # more than were done where patience ended the run
            "best_pass": progress.best_pass,
            "test_correct": test.correct,
            "test_total": test.total,
            "published": str(outcome.save_dir),
        }


def _digest(answers: np.ndarray) -> str:
    return hashlib.sha256(answers.astype(np.uint8).tobytes()).hexdigest()


def describe_model(folder: Path) -> str:
    """The model that a folder holds, in words; empty if there is none."""
    if not folder.exists() or not any(folder.iterdir()):
        return ""
    try:
        card = read_model(folder).card
        scores = card["scores"]["test"]
        return f"{card['network']}, pass {card['pass']} of {card['run']}, {scores['correct']}/{scores['total']}"
    except (ModelError, KeyError, TypeError) as error:
        return f"a model that could not be read ({error})"
