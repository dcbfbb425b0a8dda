"""Checkpoints: everything a run needs to go on exactly where it was, written so that a crash costs nothing.

A checkpoint is a folder `checkpoints/PPPP-SSSSSS`, named by the passes and steps that are done. It has
`state.safetensors` (arrays), `progress.json` (counters), `results.csv` (the log as it was) and `manifest.json` (size
and SHA-256 of each). It gets its name by one rename when all of it is on disk. Beside the newest, the one before it is
kept: if one is damaged, the other serves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from common.checksummed import dump_checksummed, file_entry, load_checksummed, parse_object
from common.errors import UserError, one_line
from common.files import holds_only, read_file, remove_folder, write_folder
from common.project import __version__

STATE, PROGRESS, LOG, MANIFEST = "state.safetensors", "progress.json", "results.csv", "manifest.json"
FILES = (STATE, PROGRESS, LOG, MANIFEST)
MAX_FILE_BYTES = 1 << 30

ENGINE, BEST = "state/", "best/"  # prefixes of the engine's arrays, and of the best model's parameters


@dataclass(frozen=True)
class Checkpoint:
    """A saved state of a run.

    Attributes:
        name: its folder's name.
        arrays: by name; dtype and shape as saved.
        progress: counters and the like, plain JSON.
        log: bytes of the results log.
        run: which run it is of (training.same_run.run_id); empty in those of older releases.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    progress: Mapping[str, Any]
    log: bytes
    run: str = ""


def checkpoint_name(passes: int, steps: int) -> str:
    """Name of the checkpoint after `passes` passes and `steps` steps of the next one."""
    return f"{passes:04d}-{steps:06d}"


def save_checkpoint(folder: Path, checkpoint: Checkpoint, before: str) -> None:
    """Write a checkpoint into `folder`, then drop all others but `before`, the last one that is known to be whole.

    Raises:
        OSError: it cannot be written; the earlier ones are untouched.
    """
    contents = {
        STATE: safetensors.numpy.save({name: np.asarray(a, order="C") for name, a in checkpoint.arrays.items()}),
        PROGRESS: json.dumps(checkpoint.progress, indent=1).encode(),
        LOG: checkpoint.log,
    }
    manifest: dict[str, Any] = {name: file_entry(data) for name, data in contents.items()}
    manifest["version"] = __version__
    if checkpoint.run:
        manifest["run"] = checkpoint.run
    contents[MANIFEST] = dump_checksummed(manifest)
    write_folder(folder / checkpoint.name, contents, FILES)
    for name in checkpoint_names(folder):
        if name not in (checkpoint.name, before) and holds_only(folder / name, FILES):
            remove_folder(folder / name, FILES)


def load_checkpoint(
    folder: Path, check: Callable[[Checkpoint], None] = lambda checkpoint: None
) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest checkpoint that matches its manifest and passes a check.

    Args:
        folder: that holds them.
        check: raises a ValueError or UserError of a checkpoint that is of no use.

    Returns:
        The checkpoint, or None if there is none; and one line for each that was refused.

    Raises:
        UserError: there are checkpoints and none can be used.
    """
    refused: list[str] = []
    for name in checkpoint_names(folder):
        try:
            checkpoint = _load(folder / name)
            check(checkpoint)
            return checkpoint, refused
        except (UserError, OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            refused.append(f"checkpoint {folder / name} refused: {_reason(error)}")
    if refused:
        raise UserError(f"no usable checkpoint: {'; '.join(refused)}; restore one from a copy, or start a new run")
    return None, refused


def checkpoint_names(folder: Path) -> list[str]:
    """Names of the checkpoints, newest first; temporary folders of a crash do not match."""
    if not folder.is_dir():
        return []
    return sorted((p.name for p in folder.iterdir() if re.fullmatch(r"\d{4,}-\d{6,}", p.name)), key=_age, reverse=True)


def _age(name: str) -> tuple[int, int]:
    passes, steps = name.split("-")
    return int(passes), int(steps)


def _load(folder: Path) -> Checkpoint:
    manifest = load_checksummed(read_file(folder / MANIFEST, MAX_FILE_BYTES))
    contents = {}
    for name in (STATE, PROGRESS, LOG):
        data = read_file(folder / name, MAX_FILE_BYTES)
        if manifest.get(name) != file_entry(data):
            raise ValueError(f"{name} does not match {MANIFEST}: altered or damaged")
        contents[name] = data
    progress = parse_object(contents[PROGRESS])
    if folder.name != checkpoint_name(progress["passes"], progress["steps"]):
        raise ValueError(f"it is that of pass {progress['passes']} and step {progress['steps']}, under another's name")
    return Checkpoint(
        folder.name, safetensors.numpy.load(contents[STATE]), progress, contents[LOG], str(manifest.get("run", ""))
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{Path(error.filename or '').name}: {error.strerror}"
    return one_line(error, 160)


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, which is taken off."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
