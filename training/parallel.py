"""A run that several processes train: the folder that each works in, and all that they must have in common.

Process 0 has the run's folder, prints and publishes. Every other process works in a temporary folder, which gets the
files that a run continues from; so all of them run the same loop.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from common.errors import UsageError
from common.files import read_file, sha256, write_file
from common.project import __version__
from model.image import network_input
from model.kernels.build import instruction_set
from model.shards import ShardedEngine
from model.team import Team
from results.checkpoint import MAX_FILE_BYTES, checkpoint_names
from results.run_folder import RunFolder, environment
from training.same_run import CHANGEABLE
from training.settings import Settings
from training.setup import Setup
from training.state import State

OF_A_PROCESS = (*CHANGEABLE, "run_dir", "threads", "init_from", "config")  # settings that may differ
_environment = cache(environment)


def folder_of_process(team: Team, folder: RunFolder | None, resumed: bool) -> RunFolder:
    """The folder to work in: process 0's own, or a temporary one with the files that its run continues from."""
    names: list[str] = []
    if folder and not team.world.rank and resumed:
        names = [name for name in ("run.json", "results.csv", "steps.csv") if (folder.path / name).exists()]
        for each in checkpoint_names(folder.checkpoints)[:1]:
            names += [f"checkpoints/{each}/{path.name}" for path in (folder.checkpoints / each).iterdir()]
    listed = json.dumps([folder.name, names]).encode() if folder else b""
    name, names = json.loads(team.share(listed))
    if folder and not team.world.rank:
        for each in names:
            team.share(read_file(folder.path / each, MAX_FILE_BYTES))
        return folder
    own = RunFolder(team.world.guard.scratch("lenet5-process-") / "run", name)
    for each in names:
        (own.path / each).parent.mkdir(parents=True, exist_ok=True)
        write_file(own.path / each, team.share(b""))
    return own


def expect_shards(settings: Settings, size: int) -> None:
    """Make sure that each process has a shard to compute.

    Raises:
        UsageError: there are more processes than shards, or something that one process alone can do was asked for.
    """
    if size > settings.shards:
        raise UsageError(f"--shards {settings.shards}: expected at least as many as the {size} processes of this job")
    if settings.engine == "numpy":
        raise UsageError("--engine numpy: expected --engine paddle in a job of several processes")


def facts(setup: Setup, state: State) -> dict[str, Any]:
    """Everything on which the bits of a run depend, and that all its processes must have in common."""
    settings, now = setup.record["settings"], _environment()  # the record has that in which the run began
    assert isinstance(setup.engine, ShardedEngine)
    images, labels = setup.training.images[:16], setup.training.labels[:16].astype(np.int64)
    return {
        "network, seed or shards": [settings[name] for name in ("network", "seed", "shards")],
        "recipe": setup.record["recipe"],
        "data": setup.data.sums,
        "versions": [__version__, now["commit"], now["python"], now["packages"]],
        "operators": [setup.backend, instruction_set() if setup.backend == "fused" else ""],
        "arithmetic": setup.engine.trial(network_input(images, setup.image), labels),
        "progress": {**asdict(state.progress), "seconds": 0},
        "parameters": [(name, sha256(value.tobytes())) for name, value in setup.engine.state().items()],
        **{f"--{name.replace('_', '-')}": settings[name] for name in settings if name not in OF_A_PROCESS},
    }
