"""What holds for the whole project: Paddle finds its process prepared, one default folder of the model, one version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import compare
import demo
import infer
import train
from common.project import FOLDER, __version__, model_folder
from tests.conftest import ROOT
from tests.scripts.test_old_folders import run_main
from training.settings import Settings

PACKAGES = ("model", "data", "training", "results", "recognition", "page", "reference", "benchmarks", "common")

# Imports a module in a process whose Paddle only notes whether the process was prepared for it.
PROBE = """
import importlib, os, sys, types
from unittest.mock import MagicMock

class Stub(types.ModuleType):
    __path__ = []
    __version__ = "3.3.1"
    def __getattr__(self, name):
        return MagicMock()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "paddle":
            return None
        if name == "paddle":
            print("prepared" if os.environ.get("FLAGS_new_executor_serial_run") else "unprepared", flush=True)
        return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return Stub(spec.name)
    def exec_module(self, module):
        pass

import importlib.machinery
sys.meta_path.insert(0, Finder())
import matplotlib.figure, numpy, PIL.Image, rich.console  # here, not in each child
import safetensors.numpy, scipy.ndimage, scipy.stats, tyro
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        print(name, end=" ", flush=True)
        try:
            importlib.import_module(name)
        except Exception as error:
            print("failed", type(error).__name__, error, end=" ")
        print(flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def modules() -> list[str]:
    """Every module that names Paddle, and the packages themselves."""
    found = list(PACKAGES)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "import paddle" in path.read_text() or "from paddle" in path.read_text():
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.append(name.removesuffix(".__init__"))
    found.remove("benchmarks.competitors.paddle_first_written")  # measures Paddle without our preparation, on purpose
    return found


def test_paddle_is_imported_by_prepared_processes_only() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLAGS_")}
    names = [*modules(), "results.figures.logs"]
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *names], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "unprepared" not in result.stdout, result.stdout
    prepared = [line.split()[0] for line in result.stdout.splitlines() if "prepared" in line]
    assert {"training.loop", "model.predictor", "page.reader"} <= set(prepared), result.stdout
    assert "results.figures.logs" not in prepared, "a process that starts after each pass, and must be quick"


def test_one_folder_is_published_to_and_read_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in (ROOT, tmp_path):
        monkeypatch.chdir(folder)
        wanted = FOLDER / "inference_model"
        assert model_folder().resolve() == wanted
        assert Settings().save_dir.resolve() == wanted
        assert infer.Settings(pictures=("a.png",)).model_dir.resolve() == wanted
        assert demo.Settings().model_dir.resolve() == wanted
    monkeypatch.chdir(ROOT)
    assert str(model_folder()) == "inference_model"


@pytest.mark.parametrize("script", [train, infer, compare, demo])
def test_every_script_prints_the_version(
    script: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run_main(script, monkeypatch, "--version")
    assert (left.value.code, capsys.readouterr().out) == (0, f"{__version__}\n")
