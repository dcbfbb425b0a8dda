"""A run: passes over the training images, evaluation after each, the best pass chosen and kept, its model published."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import paddle

from common.errors import UserError, one_line
from common.prefetch import prefetch
from common.signals import Stopped, StopRequest
from data.dataset import Mnist, Subset
from data.row_sets import RowSet
from model.calibration import card_entries
from model.onnx import expect_packages
from model.program import REMEMBERED_STEPS
from model.recipes import learning_rate
from model.scoring import Scores, evaluate, right_answers
from model.shards import own_images
from model.team import Team
from model.world import ALONE
from recognition.sets import load_data
from results.log import ResultsLog, StepsLog, expect_readable
from results.predictions import digest, predictions_path, write_predictions
from results.records import Row, Step
from results.run_folder import RunFolder
from training.batches import pass_batches
from training.callbacks.callback import Callback, Started
from training.early_stopping import reason_to_stop, take_in
from training.parallel import facts
from training.publish import Outcome, expect_publishable, outcome_record, publish, publish_folder, save_best_model
from training.resume import load_state, restore_folder, save_state
from training.settings import Settings
from training.setup import Setup, expect_rows, prepare
from training.state import Progress, State

# Steps between two readings of the losses. Each waits for the device; a GPU is kept busy in between.
READ_EVERY = 16
assert READ_EVERY <= REMEMBERED_STEPS


class TrainingError(UserError):
    """Training diverged: a loss or a weight is not finite."""


def train(
    settings: Settings,
    folder: RunFolder,
    callbacks: Sequence[Callback] = (),
    stop: StopRequest | None = None,
    data: Mnist | None = None,
    team: Team | None = None,
) -> Outcome | None:
    """Begin a run, or continue it.

    Args:
        settings: as the user gave them.
        folder: the run's folder; with `settings.resume`, its run continues from the newest checkpoint.
        callbacks: called at every step and pass, in this order.
        stop: where signals are noted; the run then saves a checkpoint and raises `Stopped`.
        data: the images, if they are loaded already.
        team: the processes that train it, if there are several.

    Returns:
        The outcome; None in all processes but the first.

    Raises:
        UserError: what was asked for cannot be done: data, device, folder, or training that diverges.
        Stopped: a signal asked to stop; everything is saved.
    """
    expect_publishable(publish_folder(settings), folder.path)
    if settings.resume is None:
        folder.expect_no_run()  # before the lock is put there
    if settings.export:
        expect_packages()
    paddle.enable_static()
    with folder.locked():
        if settings.resume is None:
            folder.expect_no_run()
        recorded = folder.read_record(whole=True) if settings.resume else {}
        data = data or load_data(settings.data_dir, way=settings.prepare, strict=settings.strict)
        expect_rows(settings, data)
        try:
            setup = prepare(settings, folder, callbacks, data, recorded, team.world if team else ALONE)
            return _Loop(setup, team or stop or StopRequest(), team).run()
        except OSError as error:
            rest = "nothing was trained"
            if folder.record.exists():
                rest = f"what was saved before is whole: continue with --resume {folder.path}"
            raise UserError(f"{error.filename or folder.path}: {error.strerror or one_line(error)}; {rest}") from error


class _Loop:
    """The passes of a run: `setup` stays as it is, `state` changes."""

    def __init__(self, setup: Setup, stop: StopRequest, team: Team | None = None) -> None:
        self.setup, self.stop, self.team = setup, stop, team
        self.last_checkpoint = time.monotonic()
        self.state = State()

    def run(self) -> Outcome | None:
        setup, folder = self.setup, self.setup.folder
        expect_readable(folder.name, setup.recipe.passes, setup.steps, setup.settings.log_every)
        self.state = load_state(setup)
        folder.write_record(setup.record)
        restore_folder(setup, self.state)
        if self.team:
            self.team.expect_same(facts(setup, self.state))
        self.results, self.steps_log = ResultsLog(folder.results, setup.image.is_row), StepsLog(folder.steps)
        passes, done = setup.recipe.passes, self.state.progress
        started = Started(
            folder.path,
            passes,
            setup.steps,
            setup.recipe.batch_size,
            first_pass=done.passes + 1,
            first_step=done.steps,
            rows=setup.image.is_row,
        )
        for callback in setup.callbacks:
            callback.on_start(started)
        try:
            with self.stop.deferred():
                while done.passes < passes and not self._ends_early():
                    self._train_pass()
                    validation = self._evaluate(setup.validation) if len(setup.validation) else None
                    self._finish_pass(validation, self._evaluate(setup.test))
                if self.team:
                    self.team.leave()
                if setup.world.rank:
                    return None
                outcome = publish(setup, self.state, self.stop.check)
            self.stop.check()  # no longer deferred: the callbacks may take seconds, and --resume calls them again
            for callback in setup.callbacks:
                callback.on_published(outcome)
            for line in setup.doubts:  # again, beneath the scores that they are about
                setup.report(line)
            folder.write_record({**setup.record, "outcome": outcome_record(setup, self.state, outcome)})
            return outcome
        except Stopped as stopped:
            self._save()
            setup.report(f"stopped by {stopped}, everything is saved; continue with --resume {folder.path}")
            raise
        finally:
            for callback in setup.callbacks:
                callback.on_end()

    def _save(self) -> None:
        save_state(self.setup, self.state)
        self.last_checkpoint = time.monotonic()

    def _train_pass(self) -> None:
        setup, done = self.setup, self.state.progress
        own = partial(own_images, shards=setup.settings.shards, world=setup.world)
        wanted = pass_batches(
            setup.training, setup.image, setup.recipe, setup.settings.seed, done.passes + 1, done.steps, own
        )
        with prefetch(wanted) as ready:
            unread: list[int] = []  # sizes of the batches whose losses have not been read
            mark = time.perf_counter()
            for images, labels in ready:
                setup.engine.train_step(images, labels, self._learning_rate(len(unread)))
                unread.append(len(labels))
                if (done.steps + len(unread)) % READ_EVERY == 0:
                    self.stop.agree()
                late = time.monotonic() - self.last_checkpoint > setup.settings.checkpoint_seconds
                if len(unread) == READ_EVERY or late or self.stop.requested:
                    mark = self._read_losses(unread, mark)
                    self.stop.check()
                    if late:
                        self._save()
                        mark = time.perf_counter()
            self._read_losses(unread, mark)
        self.stop.agree()  # once more: the pass may have fewer steps than READ_EVERY

    def _learning_rate(self, ahead: int = 0) -> float:
        """Learning rate of the step that follows the next `ahead` ones."""
        progress, recipe, steps = self.state.progress, self.setup.recipe, self.setup.steps
        return learning_rate(recipe, progress.passes * steps + progress.steps + ahead, recipe.passes * steps)

    def _read_losses(self, unread: list[int], mark: float) -> float:
        """Add the latest steps to the sums and report them; returns the time at which the next steps begin.

        Raises:
            TrainingError: a loss is not finite.
        """
        setup, progress = self.setup, self.state.progress
        recent = setup.engine.recent(len(unread))
        progress.seconds += time.perf_counter() - mark
        for size, (loss, right) in zip(unread, recent.tolist(), strict=True):
            rate = self._learning_rate()
            progress.steps += 1
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss}")
            progress.loss += loss * size
            progress.correct += int(right)
            progress.images += size
            progress.last_finite_loss = loss
            step = Step(
                pass_number=progress.passes + 1,
                step=progress.steps,
                loss=loss,
                accuracy=right / size,
                learning_rate=rate,
            )
            if step.step % setup.settings.log_every == 0:
                self.steps_log.append(step)
            for callback in setup.callbacks:
                callback.on_step(step)
        unread.clear()
        return time.perf_counter()

    def _evaluate(self, subset: Subset | RowSet) -> Scores:
        return evaluate(self.setup.engine, self.setup.image, subset, self.stop.check, world=self.setup.world)

    def _finish_pass(self, validation: Scores | None, test: Scores) -> None:
        """Log the pass, keep its model if it is the best, save a checkpoint; no signal interrupts this."""
        setup, state, progress = self.setup, self.state, self.state.progress
        parameters = setup.engine.parameters()
        if self.team:
            self.team.expect_same(facts(setup, state))
        measure = self._measure(parameters, validation, test)
        select_on = setup.settings.select_on
        best = progress.best_measure is None or measure < progress.best_measure or select_on == "last"
        if validation:
            take_in(setup.recipe, progress, (progress.passes + 1) * setup.steps - 1, validation.error)
        row = _row(setup.folder.name, progress, self._learning_rate(-1), validation, test, best)
        progress.begin_pass()
        write_predictions(predictions_path(setup.folder.path, progress.passes), test.answers, right_answers(setup.test))
        self.results.append(row)
        if best:
            progress.best_pass, progress.best_measure = progress.passes, measure
            progress.best_answers = digest(test.answers)
            progress.best_confidence = card_entries(
                (validation.log_probabilities, validation.labels) if validation else None,
                (test.log_probabilities, test.labels),
            )
            if validation and setup.novelty:
                setup.novelty.add_entry(progress.best_confidence, validation.log_probabilities)
            state.best_parameters = parameters
            save_best_model(setup, state, row)
        self._save()
        for callback in setup.callbacks:
            callback.on_parameters(row.pass_number, parameters)
            callback.on_pass(row)

    def _measure(self, parameters: Mapping[str, np.ndarray], validation: Scores | None, test: Scores) -> float:
        """The number by which the pass is chosen, less is better.

        Raises:
            TrainingError: it, or a weight, is not finite.
        """
        for name, value in parameters.items():
            if not np.isfinite(value).all():
                raise self._diverged(f"{name} holds a number that is not finite")
        select_on = self.setup.settings.select_on
        chosen_on = validation if select_on == "validation" else test
        assert chosen_on is not None  # Settings refuses a run with nothing to choose on
        if not math.isfinite(chosen_on.loss):
            raise self._diverged(f"the {select_on} loss is {chosen_on.loss}")
        return chosen_on.loss if self.setup.recipe.select_by == "loss" else chosen_on.error

    def _ends_early(self) -> bool:
        reason = reason_to_stop(self.setup, self.state.progress)
        if self.team:  # callbacks are the first process's alone
            reason = self.team.share(reason.encode()).decode()
        if reason:
            self.setup.report(f"stopped early after pass {self.state.progress.passes}: {one_line(reason, 300)}")
        return bool(reason)

    def _diverged(self, problem: str) -> TrainingError:
        progress, folder = self.state.progress, self.setup.folder
        kept = "no pass was completed"
        if progress.best_pass:
            kept = f"the best model, pass {progress.best_pass}, is in {folder.model}"
        last = "none" if progress.last_finite_loss is None else f"{progress.last_finite_loss:.4f}"
        return TrainingError(
            f"pass {progress.passes + 1} step {progress.steps}: {problem} at learning rate {self._learning_rate(-1):g} "
            f"(last finite loss: {last}); stopped, {kept}; try a smaller --learning-rate"
        )


def _row(
    run: str, progress: Progress, learning_rate: float, validation: Scores | None, test: Scores, best: bool
) -> Row:
    return Row(
        run=run,
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
        learning_rate=learning_rate,
        seconds=progress.seconds,
        images_per_second=progress.images / progress.seconds,
        best=best,
        validation_digit_error=validation.digit_error if validation else None,
        test_digit_error=test.digit_error,
    )
