"""A run continued from its checkpoint: state loaded, folder brought back, as if it had never stopped; state saved."""

from __future__ import annotations

from dataclasses import asdict

from common.errors import UsageError, UserError, one_line
from common.files import read_file, remove_folder, sync, write_file
from model.saved_model import MODEL_FILES
from results.checkpoint import BEST, ENGINE, LOG, Checkpoint, checkpoint_name, load_checkpoint, save_checkpoint, under
from results.log import LARGEST_RESULTS, cut_back_steps, parse_results, read_results
from training.publish import save_best_model
from training.setup import Setup
from training.state import Progress, State, expect_progress


def load_state(setup: Setup) -> State:
    """Load the newest checkpoint into the engine, and return its state; a run without one is at its beginning.

    Raises:
        UserError: no checkpoint can be used, or the run has done more passes than `--passes` asks for.
    """
    checkpoint, refused = load_checkpoint(setup.folder.checkpoints, lambda found: _expect_own(setup, found))
    for line in refused:
        setup.report(line)
    if checkpoint is None:
        return State()
    progress = Progress(**checkpoint.progress)
    if progress.passes > setup.recipe.passes:
        raise UsageError(f"--passes {setup.recipe.passes}: {setup.folder.path} has done {progress.passes}")
    setup.engine.load_state(under(ENGINE, checkpoint.arrays))
    return State(progress, under(BEST, checkpoint.arrays), checkpoint.log, checkpoint.name)


def _expect_arrays(setup: Setup, checkpoint: Checkpoint) -> None:
    """Make sure that a checkpoint has the arrays of the run's network, and those of its best pass if it has one.

    Raises:
        ValueError: it has others.
    """
    wanted = {ENGINE + name: value for name, value in setup.engine.state().items()}
    if checkpoint.progress["best_pass"]:
        wanted |= {BEST + name: value for name, value in setup.engine.parameters().items()}
    for name in sorted(wanted.keys() | checkpoint.arrays.keys()):
        own, found = (each.get(name) for each in (wanted, checkpoint.arrays))
        if own is None or found is None or (own.dtype, own.shape) != (found.dtype, found.shape):
            raise ValueError(f"{one_line(name, 60)}: expected the arrays of this network, got others")


def _expect_own(setup: Setup, checkpoint: Checkpoint) -> None:
    """Make sure that a checkpoint is one of this run, which can continue from it.

    Raises:
        ValueError: it is not.
    """
    expect_progress(checkpoint.progress, setup.examples, setup.recipe.batch_size)
    passes, log = checkpoint.progress["passes"], setup.folder.checkpoints / checkpoint.name / LOG
    rows = parse_results(checkpoint.log, log)[0] if checkpoint.log else []
    if len(rows) != passes:
        raise ValueError(f"{LOG}: expected {passes} passes, got {len(rows)}")
    # Checkpoints of older releases, and those of their runs, know no more of their run than its name.
    if checkpoint.run != setup.record.get("id", "") or any(row.run != setup.folder.name for row in rows):
        raise ValueError("it is that of another run")
    _expect_arrays(setup, checkpoint)


def save_state(setup: Setup, state: State) -> None:
    """Save a checkpoint, unless the newest is of this very step.

    Raises:
        OSError: it cannot be written; the earlier ones are untouched.
    """
    name = checkpoint_name(state.progress.passes, state.progress.steps)
    if name == state.saved:
        return
    arrays = {ENGINE + name: value for name, value in setup.engine.state().items()}
    arrays |= {BEST + name: value for name, value in state.best_parameters.items()}
    if setup.folder.steps.exists():
        sync(setup.folder.steps)  # the checkpoint knows its rows
    log = read_file(setup.folder.results, LARGEST_RESULTS) if state.saved else b""
    checkpoint = Checkpoint(name, arrays, asdict(state.progress), log, setup.record.get("id", ""))
    save_checkpoint(setup.folder.checkpoints, checkpoint, before=state.saved)
    state.saved = name


def restore_folder(setup: Setup, state: State) -> None:
    """Bring the logs and the best model to the state of the checkpoint; without one, save the first.

    Raises:
        UserError: there is a log and no checkpoint.
    """
    folder = setup.folder
    if not state.saved:
        if folder.results.exists():
            raise UserError(
                f"{folder.checkpoints}: expected a checkpoint, since results.csv was begun, found none; "
                "restore one from a copy, or start a new run"
            )
        save_state(setup, state)
    found = read_file(folder.results, LARGEST_RESULTS) if folder.results.exists() else b""
    if not found.startswith(state.log):
        setup.report(f"{folder.results}: altered or lost; restored as checkpoint {state.saved} knows it")
    write_file(folder.results, state.log)
    cut_back_steps(folder.steps, state.progress.passes, state.progress.steps)
    if state.progress.best_pass:
        # The model on disk may be of a later pass, or lost.
        rows, _ = read_results(folder.results)
        save_best_model(setup, state, rows[state.progress.best_pass - 1])
    else:
        remove_folder(folder.model, MODEL_FILES)
