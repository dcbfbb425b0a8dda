"""The scripts in processes that start at once: a server has imported Paddle and forks for each call.

    python tests/launcher.py    # reads requests on standard input; only `Launcher` starts it

A start of a script takes 2 to 6 s, most of it for importing Paddle, and the tests start dozens. The server imports
what the scripts import, computes nothing, and so has no threads that a fork would lose. A forked process then runs the
script from its first line, as `__main__`, with environment, streams and folder of its own; a script of a copy of the
project imports the copy's modules anew. It ends as Python does, but for the last: taking every module apart, which
takes 0.7 s after a fork.
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
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

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

# Variables that Python, Paddle and other libraries read when they start or are imported, by the beginnings of names.
READ_AT_IMPORT = (
    *("PYTHON", "LD_", "LANG", "LC_", "HOME", "XDG_", "MPL", "FLAGS_", "GLOG_", "PADDLE"),
    *("OMP_", "MKL_", "OPENBLAS_", "KMP_", "CUDA_", "NVIDIA_"),
)


class Launcher:
    """Runs scripts as `subprocess.run` does, by a server that is started with the first."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    @cached_property
    def _environment(self) -> dict[str, str]:
        """That of this process at the first call; Paddle, once it is imported, has set OMP_NUM_THREADS."""
        return dict(os.environ)

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """True if a fork can have this environment: in what is read at an import, it is the server's."""
        return _read_at_import(environment) == _read_at_import(self._environment)

    def run(
        self,
        command: list[str],
        cwd: Path = ROOT,
        stdin: bytes = b"",
        timeout: float = 300,
        terminal: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script, `-m` and a module, or `-c` and a program, with arguments.

        Args:
            command: its first word may be a script of the project, or of a copy of it.
            cwd: folder to run it in.
            stdin: what it reads there.
            timeout: seconds.
            terminal: name of a terminal to write to.
            environment: that of the process, which `can_run`; None for the environment of now.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `timeout` seconds.
        """
        environment = dict(os.environ if environment is None else environment)
        assert self.can_run(environment)
        if self._server is None:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
            own = [sys.executable, __file__]
            self._server = subprocess.Popen(own, cwd=ROOT, env=self._environment, **pipes)
        assert self._server.stdin and self._server.stdout
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / name for name in STREAMS}
            for name, file in files.items():
                file.write_bytes(stdin if name == "stdin" else b"")
            streams = [str(files["stdin"]), *([terminal] * 2 if terminal else map(str, list(files.values())[1:]))]
            request = {"command": command, "cwd": str(cwd), "streams": streams, "environment": environment}
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
            self._server = None


def _read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


SHARED = Launcher()  # of all tests of this process


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


def become(command: list[str], cwd: str, streams: list[str], environment: Mapping[str, str]) -> None:
    """Run the script in this process, which ends with it."""
    os.environ.clear()
    os.environ.update(environment)
    for number, ((name, mode), path) in enumerate(zip(STREAMS.items(), streams, strict=True)):
        file = os.open(path, os.O_RDONLY if mode == "r" else os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
        setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  (as long as the process)
    os.chdir(cwd)
    root = Path(cwd) if command[0] in ("-m", "-c") else Path(command[0]).parent
    if root != ROOT and (root / "model").is_dir():
        _forget_modules()
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            sys.path[0] = cwd
            sys.modules.pop(command[1], None)  # else runpy warns that it was imported before
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        elif command[0] == "-c":
            sys.argv = ["-c", *command[2:]]
            sys.path[0] = cwd
            exec(compile(command[1], "<string>", "exec"), {"__name__": "__main__"})
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


def _forget_modules() -> None:
    """Forget what was imported of the project, for a copy of it to be imported in its place."""
    packages = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    import model  # noqa: F401  # before Paddle

    for name in IMPORTS:
        importlib.import_module(name)
    importlib.import_module("recognition.novelty").described_blobs()  # else each training makes them
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page
    if request := serve():
        become(**request)
