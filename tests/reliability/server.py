"""Starts training processes quickly: it has imported everything, and forks a process for each request.

A request is one line of JSON on standard input: arguments of train.py, where and how a fault is to strike, and after
how many seconds to kill the process, if at all. Answers are two lines: the process id at once, and at the end its wait
status and how many calls changed files. Each time that the process stops meanwhile, one more line has null as status;
it goes on after the next line of input.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import tyro  # noqa: E402

import model  # noqa: E402  before Paddle
import train  # noqa: E402
import training.callbacks.figures  # noqa: E402  what train.py imports, and Paddle with it
import training.figures  # noqa: E402, F401
from common.command_line import parse, run  # noqa: E402
from model.ops.backend import resolve_backend  # noqa: E402
from recognition.novelty import described_blobs  # noqa: E402
from results.figures.curves import training_curves  # noqa: E402
from training import loop  # noqa: E402, F401
from training.callbacks import console as progress  # noqa: E402, F401
from training.settings import Settings  # noqa: E402

assert model and tyro
resolve_backend("auto", "cpu", lambda line: None)
# What each process would do anew: a third of its processor time.
described_blobs()
parse(Settings, ["--passes", "1"], groups=train.GROUPS, shown=Settings.with_recipe)
for kind in ("png", "svg"):
    training_curves([], []).savefig(io.BytesIO(), format=kind)
gc.collect()
gc.freeze()  # a collection in a forked process would copy every page


def child(request: dict) -> None:
    """Be train.py."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for stream, path in ((1, request["output"]), (2, request["errors"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
    sys.argv = ["train.py", *request["arguments"]]
    libc = ctypes.CDLL(None)
    if request["below"]:
        where, log = os.fsencode(request["below"]), os.fsencode(request["log"])
        libc.faults_arm(where, request["call"], request["how"], request["no_exchange"], log)
    try:
        run(train.main)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 70
    if request["below"]:
        os.write(request["counter"], str(libc.faults_calls()).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    reading, request["counter"] = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(request)
    os.close(request["counter"])
    print(pid, flush=True)
    if request["kill_after"] is not None:
        time.sleep(request["kill_after"])
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, os.WUNTRACED)
    while os.WIFSTOPPED(status):
        print(json.dumps({"status": None}), flush=True)
        sys.stdin.readline()
        os.kill(pid, signal.SIGCONT)
        _, status = os.waitpid(pid, os.WUNTRACED)
    print(json.dumps({"status": status, "calls": int(os.read(reading, 20) or 0)}), flush=True)
    os.close(reading)
