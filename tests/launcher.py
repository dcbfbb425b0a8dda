"""The scripts in processes that start at once: a server has imported Paddle and forks for each call.

    python tests/launcher.py    # reads requests on standard input; only `Launcher` starts it

A start of a script takes 2 to 6 s, most of it for importing Paddle, and the tests start dozens. The server imports
what the scripts import, computes nothing, and so has no threads that a fork would lose. A forked process then runs the
script from its first line, as `__main__`, with streams and folder of its own. It ends as Python does, but for the last:
taking every module apart, which takes 0.7 s after a fork.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What train.py and infer.py import on their way, and slow libraries beneath.
IMPORTS = [
    "paddle",
    "tyro",
    "typeguard",
    "asyncio",
    "unittest.mock",
    "matplotlib.backends.backend_agg",
    "PIL.ImageMath",
]
IMPORTS += ["recognition.row_answers", "recognition.output", "recognition.workers", "training.callbacks.figures"]
IMPORTS += ["training.callbacks.live", "training.callbacks.trackers", "training.figures", "training.loop"]

STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}  # in the order of their numbers


class Launcher:
    """Runs scripts as `subprocess.run` does, by a server that is started with the first."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        """Of the project in `root`, in an environment; None for this process's, as it is at the first call."""
        self._root, self._given = root, environment
        self._server: subprocess.Popen[str] | None = None
        self._environment: dict[str, str] = {}

    def can_run(self, environment: dict[str, str]) -> bool:
        """Whether the server has this environment: Paddle reads it when it is imported."""
        return self._server is None or _lasting(environment) == self._environment

    def run(
        self, command: list[str], cwd: Path | None = None, stdin: bytes = b"", timeout: float = 300, terminal: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script, or `-m` and a module, with arguments; with `terminal`, the name of one, it writes there.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `timeout` seconds.
        """
        if self._server is None:
            self._environment = _lasting(os.environ if self._given is None else self._given)
            own = [sys.executable, str(self._root / "tests" / "launcher.py")]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
            self._server = subprocess.Popen(own, cwd=self._root, env=self._environment, **pipes)
        assert self._server.stdin and self._server.stdout
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / name for name in STREAMS}
            for name, file in files.items():
                file.write_bytes(stdin if name == "stdin" else b"")
            streams = [str(files["stdin"]), *([terminal] * 2 if terminal else map(str, list(files.values())[1:]))]
            request = {"command": command, "cwd": str(cwd or self._root), "streams": streams}
            print(json.dumps(request), file=self._server.stdin)
            process = int(self._server.stdout.readline())
            ended = select.select([self._server.stdout], [], [], timeout)[0]
            if not ended:
                os.kill(process, 9)
            status = int(self._server.stdout.readline())
            said = [files[name].read_bytes() for name in ("stdout", "stderr")]
        if not ended:
            raise subprocess.TimeoutExpired(command, timeout, *said)
        return subprocess.CompletedProcess(command, status, *said)

    def close(self) -> None:
        """End the server."""
        if self._server is not None and self._server.stdin and self._server.stdout:
            self._server.stdin.close()
            self._server.wait(60)
            self._server.stdout.close()


def _lasting(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variable that pytest sets anew for every step of every test."""
    return {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}


def serve() -> dict[str, Any] | None:
    """Fork for each request; returns it in the process that is to run it, and None at the end."""
    for line in iter(sys.stdin.readline, ""):
        request: dict[str, Any] = json.loads(line)
        process = os.fork()
        if process == 0:
            return request
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    return None


def become(command: list[str], cwd: str, streams: list[str]) -> None:
    """Run the script in this process, which ends with it."""
    for number, ((name, mode), path) in enumerate(zip(STREAMS.items(), streams, strict=True)):
        file = os.open(path, os.O_RDONLY if mode == "r" else os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
        setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  (as long as the process)
    os.chdir(cwd)
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            sys.path[0] = cwd
            sys.modules.pop(command[1], None)  # else runpy warns that it was imported before
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = command
            sys.path[0] = str(Path(command[0]).parent)
            runpy.run_path(command[0], run_name="__main__")
        status: object = 0
    except SystemExit as leaving:
        status = leaving.code
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of the interpreter does
    atexit._run_exitfuncs()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    import model  # noqa: F401  # before Paddle

    for name in IMPORTS:
        importlib.import_module(name)
    importlib.import_module("recognition.novelty").described_blobs()  # else each training makes them
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page
    if request := serve():
        become(**request)
