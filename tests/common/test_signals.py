"""SIGINT and SIGTERM from a script's first line on: 130 or 143, and nothing on the screen, whatever is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from common.signals import Stopped, catch_signals
from tests.conftest import ROOT

# Python imports this before a script's first line. When the script begins to import a module, a signal comes; the
# library then does to it what Paddle's do: takes SIGTERM for itself, and makes an error of any exception.
AT_IMPORT = """
import os, signal, sys, time

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT_IMPORT_OF"]:
            if name in ("paddle", "gradio"):  # the real Paddle has done so before `paddle.vision`
                signal.signal(signal.SIGTERM, lambda *_: sys.exit("taken by the library"))
            try:
                os.kill(os.getpid(), int(os.environ["SIGNAL"]))
                time.sleep(20)
            except BaseException as error:
                raise ImportError("initialization failed") from error

sys.meta_path.insert(0, Finder())
"""

SCRIPTS = (
    *("train.py --run-dir run --save-dir model", "infer.py picture.png", "compare.py --plot curves.png", "demo.py"),
    *("evaluate.py", "sweep.py sweep", "-mtraining.figures run", "-mtraining.export run"),
)
TRAIN, INFER, COMPARE, DEMO, EVALUATE, SWEEP, FIGURES, EXPORT = SCRIPTS
# Imported by the script's first lines, by its settings, by `main`; and, in the cases, in the middle of the real Paddle.
PLACES = [
    *((script, "common.command_line") for script in SCRIPTS if not script.startswith("-m")),
    *((script, "tyro") for script in SCRIPTS),
    *((script, "paddle") for script in (TRAIN, INFER, EVALUATE, FIGURES, EXPORT)),
    *((f"{TRAIN} --maps 20 50", "paddle"), (f"{SWEEP} -- --maps 20 50", "paddle")),  # checked by the network
    *((COMPARE, "matplotlib"), (DEMO, "gradio")),
]
CASES = [
    *((*place, number) for place in PLACES for number in (signal.SIGINT, signal.SIGTERM)),
    *((script, "paddle.vision", signal.SIGTERM) for script in (TRAIN, INFER)),
]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """Exit status and all output of each case's script; they run at the same time, which is faster."""
    folder = tmp_path_factory.mktemp("signals")
    (folder / "sitecustomize.py").write_text(AT_IMPORT)
    processes = [
        subprocess.Popen(
            [sys.executable, *(ROOT / word if word.endswith(".py") else word for word in script.split())],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "AT_IMPORT_OF": module, "SIGNAL": str(int(number))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for script, module, number in CASES
    ]
    outputs = [process.communicate()[0] for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.parametrize(("script", "module", "number"), CASES)
def test_a_signal_while_libraries_are_imported_ends_a_script_silently(
    script: str, module: str, number: signal.Signals, ends: list[tuple[int, str]]
) -> None:
    if script == DEMO and not find_spec("gradio"):
        pytest.skip("the page needs Gradio")
    assert ends[CASES.index((script, module, number))] == (128 + number, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_imports_is_raised(number: signal.Signals) -> None:
    """Also one that a library has taken meanwhile."""
    program = f"""
import os, signal
from common.signals import Stopped, catch_signals
with catch_signals() as stop:
    with stop.importing():
        signal.signal({number}, signal.SIG_IGN)
    try:
        os.kill(os.getpid(), {number})
    except Stopped as stopped:
        print(stopped.status)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{128 + number}\n", "")


def test_an_error_that_a_library_makes_of_a_signal_is_the_signal() -> None:
    """As Paddle does while a program is built, which no `deferred` protects; other errors stay what they are."""
    with pytest.raises(Stopped) as stopped, catch_signals() as request:
        try:
            request._on_signal(signal.SIGTERM, None)
        except Stopped as error:
            raise SystemError("returned a result with an exception set") from error
    assert stopped.value.status == 143
    with pytest.raises(SystemError, match="of its own"), catch_signals():
        raise SystemError("of its own")
