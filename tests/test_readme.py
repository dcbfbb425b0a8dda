"""Every command in the README, in both languages, is run as it stands there, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist.dataset import Mnist
from tests.conftest import ROOT, write_idx

PAGES = ("README.md", "README.zh-CN.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line and not line.startswith("#")]


ALL_COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


@pytest.fixture(scope="module")
def project(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the project, and the environment of a user whose `python` and data (8,000 + 1,000 images) are these."""
    data = tmp_path_factory.mktemp("readme_data")
    write_idx(data / "train-images-idx3-ubyte", mnist.train_images[:8000])
    write_idx(data / "train-labels-idx1-ubyte", mnist.train_labels[:8000])
    write_idx(data / "t10k-images-idx3-ubyte", mnist.test_images[:1000])
    write_idx(data / "t10k-labels-idx1-ubyte", mnist.test_labels[:1000])
    folder = tmp_path_factory.mktemp("readme") / "project"
    ignored = shutil.ignore_patterns(".git", ".venv*", "runs", ".*_cache", "__pycache__", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=ignored)
    # .venv as make would have left it, so that nothing is installed again.
    environment = folder / ".venv"
    (environment / "bin").mkdir(parents=True)
    for name in ("python", "pip"):
        launcher = environment / "bin" / name
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {"-m pip " if name == "pip" else ""}"$@"\n')
        launcher.chmod(0o755)
    for stamp in ("installed", "installed-test"):
        (environment / stamp).touch()
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    return folder, {**os.environ, "PATH": path, "MNIST_DIR": str(data)}


def run(command: str, project: tuple[Path, dict[str, str]]) -> subprocess.CompletedProcess[str]:
    folder, environment = project
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_command(command: str, project: tuple[Path, dict[str, str]]) -> None:
    if command == "make test":
        command = "make -n test"  # this very test is part of it
    if command.startswith("pip install"):
        assert (project[0] / command.split()[-1]).is_file()  # what make installs from; CI does it on a clean machine
        return
    result = run(command, project)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    if command in ("make train", "python train.py"):
        assert "(measured on the saved model)" in result.stdout
        assert "published to inference_model/" in result.stdout
    if command.startswith("python infer.py"):
        assert re.search(r"\b7\b", result.stdout)


def test_both_languages_have_the_same_commands() -> None:
    assert commands(PAGES[0]) == commands(PAGES[1])


def test_python_example(project: tuple[Path, dict[str, str]]) -> None:
    (example,) = blocks("README.md", "python")
    (project[0] / "example.py").write_text(example)
    result = run("python example.py", project)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    assert links and all((ROOT / link).exists() for link in links if "://" not in link), links
