"""One run: its folder, its lock, and the record of what it is."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from common.cells import is_formula
from common.checksummed import dump_checksummed, load_checksummed, parse_object
from common.errors import UsageError, UserError, one_line
from common.files import is_leftover, make_folder, open_own, read_file, real_path, remove_leftovers, sync, write_file
from common.folders import missing_parents, remove_empty
from common.project import FOLDER

LARGEST_RECORD = 2**24  # bytes of run.json, which has a few thousand, and a line for each time that a run went on
LOCK = "lock"
LOCK_TRIES, LOCK_SECONDS = 5, 0.05  # to take it, and between two
OWN_FILES = ("run.json", "results.csv", "steps.csv")
OWN_FOLDERS = ("checkpoints", "inference_model", "figures", "answers", "tensorboard", "visualdl")

# With how many threads and which instructions the libraries and the fused operator compute, and so in which order.
ARITHMETIC = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CONV_POOL_THREADS", "CONV_POOL_ISA")


def use_threads(threads: int) -> None:
    """Set the threads of the fused operator; effective only before it is loaded."""
    os.environ["CONV_POOL_THREADS"] = str(threads)


class RunFolder:
    """Names of what is in `runs/NAME/`; the run keeps its name when its folder is renamed or copied."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self.made = path, False  # made: by this process
        self._new_parents: Sequence[Path] = ()
        self.name = name or _name(real_path(path).name) or "run"
        self.record = path / "run.json"
        self.results = path / "results.csv"
        self.steps = path / "steps.csv"
        self.checkpoints = path / "checkpoints"
        self.model = path / "inference_model"
        self.figures = path / "figures"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system drops the lock when the process ends, however it ends.

        Raises:
            UserError: another living process holds it; the message names the process.
        """
        self.make()
        for name in (LOCK, *OWN_FILES, *OWN_FOLDERS):
            if (self.path / name).is_symlink():
                raise UserError(
                    f"{self.path / name}: a symbolic link, through which nothing is written; put there what it leads to"
                )
        with os.fdopen(open_own(self.path / LOCK), "r+b") as lock:
            try:
                _take(lock)
            except BlockingIOError:
                holder = one_line(lock.read(20).decode(errors="replace")) or "unknown"
                raise UserError(
                    f"{self.path}: process {holder} is training in this folder; wait for it, or name another"
                ) from None
            if not re.fullmatch(rb"\d{0,10}", lock.read(20)):
                raise UserError(f"{self.path / LOCK}: expected the number of a process, got a file of another kind")
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()).encode())
            lock.flush()
            for folder in (self.path, *(self.path / name for name in OWN_FOLDERS)):
                remove_leftovers(folder)
            yield

    def make(self) -> None:
        """Make the folder, if it is not there."""
        if not self.path.is_dir():
            self._new_parents = missing_parents(self.path)
            make_folder(self.path.parent)
            with suppress(FileExistsError):
                self.path.mkdir()
                self.made = True
                sync(self.path.parent)

    def remove_if_unused(self) -> None:
        """Remove the folder, and its parents, if this process made them and nothing was kept in them."""
        if self.made and {path.name for path in self.path.iterdir()} <= {LOCK}:
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        remove_empty(self._new_parents)

    def expect_no_run(self) -> None:
        """Make sure that a new run may begin here; what was killed before its first checkpoint is none.

        Raises:
            UsageError: the folder holds a run or anything else that is not ours, or is none.
        """
        where = f"--run-dir {self.path}"
        if os.path.lexists(self.path) and not self.path.is_dir():
            found = "a link to no folder" if self.path.is_symlink() else "a file"
            raise UsageError(f"{where}: expected a folder, found {found}")
        if self.results.exists() or any(not name.startswith(".") for name in _names(self.checkpoints)):
            raise UsageError(f"{where}: it holds a run; continue it with --resume {self.path}, or name another folder")
        begun = {LOCK, self.record.name, self.checkpoints.name}
        others = [name for name in _names(self.path) if name not in begun and not is_leftover(name)]
        if self.record.exists():
            try:
                self.read_record(whole=True)
            except (UserError, OSError):
                others.append(self.record.name)
        if others:
            raise UsageError(
                f"{where}: it holds other things than a run, {one_line(min(others), 60)} among them; name a new folder"
            )

    def read_record(self, whole: bool = False) -> dict[str, Any]:
        """run.json; if `whole`, only if it is to the byte what `write_record` wrote.

        Raises:
            UserError: there is none, or it is not what `write_record` writes.
        """
        try:
            record = (load_checksummed if whole else parse_object)(read_file(self.record, LARGEST_RECORD))
        except FileNotFoundError:
            raise UserError(f"{self.path}: expected the folder of a run, found no run.json in it") from None
        except ValueError as error:
            raise UserError(f"{self.record}: expected the record of a run, got: {one_line(error, 120)}") from error
        if not isinstance(record.get("settings"), dict):
            raise UserError(f"{self.record}: expected an object with settings; it was not written by train.py")
        return record

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write run.json whole, with its own SHA-256."""
        write_file(self.record, dump_checksummed(record))


def new_run_folder(wish: Path | None, network: str, seed: int) -> RunFolder:
    """The folder for a new run: the one that was asked for, or a fresh one under runs/, made here.

    Raises:
        UsageError: the folder holds a run already, or other things.
    """
    if wish is not None:
        folder = RunFolder(wish)
        folder.expect_no_run()
        return folder
    stem = f"{network}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    # Made, not looked for: of two runs that start in the same second, each gets its own.
    for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
        folder = RunFolder(Path("runs", name))
        folder.make()
        if folder.made:
            return folder
    raise UserError(f"runs/{stem}: expected a free name up to {stem}-999, found none")


def _take(lock: IO[bytes]) -> None:
    """Lock a file; sweep.py holds a lock for an instant when it looks if a process trains there.

    Raises:
        BlockingIOError: another process has it all the time.
    """
    for _ in range(LOCK_TRIES - 1):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOCK_SECONDS)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _name(folder: str) -> str:
    """A new run's name, printable, and no formula to the spreadsheet that opens its results.csv."""
    return f"./{one_line(folder)}" if is_formula(folder) else one_line(folder)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def environment() -> dict[str, Any]:
    """Environment on which a result may depend beside the settings: versions, commit, machine, threads."""
    packages = ("paddlepaddle", "paddlepaddle-gpu", "numpy", "scipy", "pillow")
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
        "arithmetic": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
        "commit": _commit(),
        "machine": {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "system": platform.platform()},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The project's git commit, with a + if files differ from it; None without git or a repository."""
    try:
        described = subprocess.run(
            ["git", "-C", str(FOLDER), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _processor() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe_folder(run_dir: Path) -> str:
    """A description of a folder that is no run with checkpoints."""
    if not run_dir.exists():
        return "nothing of that name"
    if not run_dir.is_dir():
        return "a file"
    if RunFolder(run_dir).record.exists():
        return "the record of a run without its checkpoints; train it again by the settings in its run.json"
    return "a folder that is no run"
