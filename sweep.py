"""Many runs: every network, recipe and seed that is named, on any number of machines that share a folder.

    python sweep.py sweeps/a --seeds 1 2 3 --recipes published best        # six runs, one after another
    python sweep.py sweeps/a --seeds 1 2 3 --recipes published best --jobs 2
    python sweep.py sweeps/a --seeds 1 2 3 -- --passes 5                   # options of train.py after --
    python compare.py sweeps/a/runs/* --best

Type the same command on each machine. A run that is finished is skipped; one that another process trains is left to it;
one that was cut off goes on from its checkpoint. The lock in a run's folder is the queue, so that no run is lost or
done twice. Runs are in FOLDER/runs/NAME, models in FOLDER/models/NAME, what train.py prints in FOLDER/logs/NAME.txt.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from common.command_line import parse, run, to_stderr
from common.console import ScriptConsole, outlive_readers, print_line
from common.errors import UsageError, UserError, one_line
from common.files import make_folder, open_file, open_own
from common.processes import VARIABLES
from common.project import FOLDER
from common.ranges import Range, check_ranges
from common.signals import StopRequest
from model.recipes import NetworkName, RecipeName
from results.run_folder import LOCK, RunFolder
from training.config import repeated
from training.same_run import CHANGEABLE, resumed, what_was_finished
from training.settings import Settings

POLL_SECONDS = 0.5
# Settings that a run which is there already must share with the command.
COMPARED = {entry.name for entry in fields(Settings)} - {*CHANGEABLE, "run_dir", "config"} | {"data_dir"}
LONGEST_END = 1 << 16  # bytes at the end of a log in which its last line is looked for


@dataclass(frozen=True)
class Options:
    """Train every combination of networks, recipes and seeds; options of train.py go after --."""

    folder: Positional[Annotated[Path, arg(metavar="FOLDER", help_behavior_hint="")]]
    """Folder of the sweep, shared by all machines."""
    networks: tuple[NetworkName, ...] = ("conv_pool_bn",)
    """Networks to train."""
    recipes: tuple[RecipeName, ...] = ("published",)
    """Recipes to train by."""
    seeds: tuple[int, ...] = (1,)
    """Seeds to train with."""
    jobs: int = 1
    """Runs at a time on this machine, which share its cores."""

    def __post_init__(self) -> None:
        check_ranges(self, {"jobs": Range(1, 1024)})
        if not (self.networks and self.recipes and self.seeds):
            raise UsageError("expected at least one network, one recipe and one seed")


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    name: str
    folder: RunFolder
    command: tuple[str, ...]
    settings: Settings

    @property
    def passes(self) -> int:
        """Passes of the whole run."""
        return self.settings.resolved_recipe().passes

    def expect_same(self) -> None:
        """Make sure that a run that is there already is the one that the command asks for.

        Raises:
            UsageError: it has other settings or data.
        """
        try:
            own, _ = resumed(self.folder.path, lambda recorded: recorded)
        except (UserError, OSError):  # none yet, or damaged, which train.py will report
            return
        for entry in fields(Settings):
            has, asked = (getattr(each, entry.name) for each in (own, self.settings))
            if entry.name in COMPARED and has != asked:
                raise UsageError(
                    f"{self.name}: the run in {one_line(self.folder.path)} has --{entry.name.replace('_', '-')} "
                    f"{one_line(has, 60)}, this command {one_line(asked, 60)}; name another FOLDER"
                )

    @property
    def finished(self) -> bool:
        """True if all its passes are done and its model is published."""
        try:
            return bool(what_was_finished(self.folder, self.passes))
        except (UserError, OSError):  # none yet, or damaged, which train.py will report
            return False

    @property
    def held(self) -> bool:
        """True while a process, here or elsewhere, trains it."""
        try:
            with open_file(self.folder.path / LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # none yet, or no lock, which train.py will report
            return False
        return False

    def start(self, log: Path, threads: int) -> subprocess.Popen[bytes]:
        """Begin the run, or go on with it, in a process of its own."""
        begun = self.folder.record.exists()
        where = ("--resume", str(self.folder.path)) if begun else ("--run-dir", str(self.folder.path))
        with os.fdopen(open_own(log), "r+b") as output:
            output.seek(0, os.SEEK_END)
            return subprocess.Popen(
                [sys.executable, *self.command, *where],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**_alone(), "CONV_POOL_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,
            )


def main(stop: StopRequest) -> int:
    """Start what is missing until everything is finished; the exit status is 1 if a run failed."""
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse(Options, arguments[:cut])
    members = list(_members(options, arguments[cut + 1 :]))
    for member in members:
        member.expect_same()
    if os.path.lexists(options.folder) and not options.folder.is_dir():
        raise UsageError(f"{one_line(options.folder)}: expected a folder, found a file, or a link to nothing")
    logs = options.folder / "logs"
    make_folder(logs)
    outlive_readers(f"note: nobody reads the output any more; the runs go on, see {one_line(logs)}")
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    failed: dict[str, int] = {}
    with stop.deferred():
        try:
            running: dict[str, subprocess.Popen[bytes]] = {}
            while waiting := [m for m in members if m.name in running or not (m.name in failed or m.finished)]:
                stop.check()
                for member in waiting:
                    if member.name in running:
                        _end(member, running, failed, logs)
                    elif len(running) < options.jobs and not member.held:
                        _begin(member, running, failed, logs, threads)
                time.sleep(POLL_SECONDS)
        finally:
            for process in running.values():  # each saves a checkpoint, from which the same command goes on
                process.terminate()
            for process in running.values():
                process.wait()
    done = sum(member.finished for member in members)
    runs = shlex.quote(str(options.folder / "runs"))
    print_line(f"{done} of {len(members)} runs are finished: python compare.py {runs}/* --best", ScriptConsole())
    return 1 if failed else 0


def _alone() -> dict[str, str]:
    """The environment without a launcher's variables: each run is a job of its own."""
    launchers = {name for pair in VARIABLES for name in pair}
    return {name: value for name, value in os.environ.items() if name not in launchers}


def _members(options: Options, rest: Sequence[str]) -> Iterator[Member]:
    """Every run of the sweep; each combination's options are checked before the first starts."""
    for network in options.networks:
        for recipe in options.recipes:
            for seed in options.seeds:
                name = f"{network}-{recipe}-seed{seed}"
                save_dir = options.folder / "models" / name
                own = ["--network", network, "--recipe", recipe, "--seed", str(seed), "--save-dir", str(save_dir)]
                settings = parse(Settings, [*own, *rest], config=repeated)
                if settings.run_dir or settings.resume:
                    raise UsageError("expected no --run-dir and no --resume after --: each run has a folder of its own")
                folder = RunFolder(options.folder / "runs" / name)
                command = (str(FOLDER / "train.py"), *own, *rest)
                yield Member(name, folder, command, settings)


def _begin(
    member: Member, running: dict[str, subprocess.Popen[bytes]], failed: dict[str, int], logs: Path, threads: int
) -> None:
    """Start a run; one whose log cannot be written counts as failed."""
    print(f"training {member.name}", flush=True)
    try:
        running[member.name] = member.start(logs / f"{member.name}.txt", threads)
    except OSError as error:
        failed[member.name] = 1
        to_stderr(f"error: {one_line(error.filename)}: {error.strerror or one_line(error)}")


def _end(member: Member, running: dict[str, subprocess.Popen[bytes]], failed: dict[str, int], logs: Path) -> None:
    """Report a run whose process has ended; one that another process took first is left to it."""
    status = running[member.name].poll()
    if status is None:
        return
    del running[member.name]
    if member.finished:
        print_line(what_was_finished(member.folder, member.passes), ScriptConsole())
    elif not member.held:
        failed[member.name] = status
        with open_file(logs / f"{member.name}.txt") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LONGEST_END))
            lines = log.read().decode(errors="replace").splitlines() or ["?"]
        to_stderr(f"error: {member.name}: train.py ended with status {status}: {one_line(lines[-1], 200)}")


if __name__ == "__main__":
    run(main)
