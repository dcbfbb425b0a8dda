"""Real training processes that are killed or denied at a chosen point, and what must hold of the folders they leave."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.saved_model import load_model

HERE = Path(__file__).resolve().parent
DENIALS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)

# Two passes of four steps, a checkpoint after each step: every way of writing happens many times in a second.
TINY_RUN = ("--validation-size", "128", "--batch-size", "128", "--passes", "2", "--log-every", "1")
OFTEN = ("--checkpoint-seconds", "1e-9")


@dataclass(frozen=True)
class Fault:
    """What happens at the `call`-th call that changes a file.

    Attributes:
        call: from 1; 0 for none.
        how: minus the number of a signal (SIGKILL amid a write), or the errno with which it and all later ones fail;
            minus SIGSTOP stops the process at each call from that one on, as SIGKILL would end it.
        no_exchange: the file system cannot exchange two names.
        log: file to which each call that changes a file is appended, a line each.
    """

    call: int = 0
    how: int = 0
    no_exchange: bool = False
    log: Path | None = None


@dataclass(frozen=True)
class Ended:
    """A process that is no more: exit status, or minus the signal that killed it; what it said; calls it made."""

    status: int
    output: str
    errors: str
    calls: int


class Trainer:
    """Forks processes that are train.py from one that has imported everything; see server.py."""

    def __init__(self, work: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise FileNotFoundError("a C compiler is needed to place faults")
        self._work = work
        self._ended: dict[str, int] = {}  # the server's answer at a process's end
        library = work / "faults.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "faults.c", "-ldl"], check=True)
        self._server = subprocess.Popen(
            [sys.executable, HERE / "server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def start(
        self,
        arguments: Sequence[object],
        below: Path | None = None,
        fault: Fault | None = None,
        kill_after: float | None = None,
    ) -> int:
        """Begin a process; faults are placed in calls that change something below a folder. Returns its id.

        It is killed after `kill_after` seconds, wherever it is then.
        """
        fault = fault or Fault()
        request = {
            "arguments": [str(argument) for argument in arguments],
            "below": str(below or ""),
            "call": fault.call,
            "how": fault.how,
            "no_exchange": int(fault.no_exchange),
            "log": str(fault.log or ""),
            "kill_after": kill_after,
            "output": str(self._work / "output"),
            "errors": str(self._work / "errors"),
        }
        self._ended = {}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def stops(self) -> Iterator[str]:
        """What the process that was started last has said, each time that it stops; it goes on when asked for more."""
        while not self._ended and (answer := json.loads(self._server.stdout.readline()))["status"] is None:
            yield (self._work / "output").read_text()
            self._server.stdin.write("\n")
            self._server.stdin.flush()
        self._ended = self._ended or answer

    def wait(self) -> Ended:
        """Wait for the process that was started last."""
        for _ in self.stops():
            pass
        answer = self._ended
        status = answer["status"]
        return Ended(
            -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            (self._work / "output").read_text(),
            (self._work / "errors").read_text(),
            answer["calls"],
        )

    def run(self, arguments: Sequence[object], below: Path | None = None, fault: Fault | None = None) -> Ended:
        """Start a process and wait for it."""
        self.start(arguments, below, fault)
        return self.wait()


def new_run(folder: Path, data: Path, *options: object) -> list[object]:
    """Arguments of train.py for a run in `folder`/run that is published to `folder`/model."""
    return [
        "--data-dir",
        data,
        *TINY_RUN,
        "--figures",
        "curves",
        *options,
        "--run-dir",
        folder / "run",
        "--save-dir",
        folder / "model",
    ]


def goes_on(folder: Path) -> list[object] | None:
    """Arguments of train.py that go on with the run in `folder`; None if it was killed before it was one."""
    return ["--resume", folder / "run"] if (folder / "run" / "run.json").exists() else None


def passes_said(output: str) -> list[int]:
    """The passes whose rows a process printed."""
    return [int(line.split("/")[0]) for line in output.splitlines() if line.split("/")[0].isdigit()]


def steps_logged(folder: Path) -> int:
    """How many steps the run in `folder` has logged; each is."""
    return len((folder / "run" / "steps.csv").read_bytes().splitlines()) - 1


def steps_saved(folder: Path) -> int:
    """How many steps its newest checkpoint knows, of `TINY_RUN`."""
    passes, steps = max(path.name for path in (folder / "run" / "checkpoints").glob("[0-9]*")).split("-")
    return 4 * int(passes) + int(steps)


def broken_models(folder: Path) -> list[str]:
    """Models that are there and not whole: of the run, and the published one."""
    broken = []
    for model in (folder / "run" / "inference_model", folder / "model"):
        if model.exists():
            try:
                load_model(model)
            except Exception as error:
                broken.append(str(error))
    return broken


def differences(folder: Path, reference: Path) -> list[str]:
    """In what a finished run differs from another, beside times of day and speeds; bit for bit."""
    ours, theirs = (_contents(each) for each in (folder, reference))
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def tree_sum(folder: Path) -> str:
    """SHA-256 of the names and bytes of all that is in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"/")
    return digest.hexdigest()


def _contents(folder: Path) -> dict[str, object]:
    run = folder / "run"
    contents: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("lock", "run.json") and run / "checkpoints" not in path.parents:
            contents[str(path.relative_to(folder))] = path.read_bytes()
    with (run / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timing = ("seconds", "images_per_second")
    contents["run/results.csv"] = [{name: cell for name, cell in row.items() if name not in timing} for row in rows]
    record = json.loads((run / "run.json").read_text())
    contents["run/run.json"] = {name: record[name] for name in ("run", "recipe", "kernel", "data")}
    contents["outcome"] = {name: value for name, value in record["outcome"].items() if name != "published"}
    newest = max(run.joinpath("checkpoints").iterdir())
    progress = json.loads((newest / "progress.json").read_text())
    contents["progress"] = {name: value for name, value in progress.items() if name != "seconds"}
    contents["state"] = (newest.name, (newest / "state.safetensors").read_bytes())
    hidden = [path.name for path in run.joinpath("checkpoints").iterdir() if path.name.startswith(".")]
    contents["left over"] = hidden
    return contents
