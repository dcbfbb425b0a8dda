"""What the tests of the written pages share: their commands and examples, and a project to run them in."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from data.dataset import Mnist
from tests.conftest import MODEL, ROOT, write_idx
from tests.launcher import SHARED


def steps(page: str) -> list[tuple[str, str]]:
    """Commands ("sh") and examples ("python") of a page, which is named from the project's root, in their order."""
    found: list[tuple[str, str]] = []
    fences = re.findall(r"^( *)```(sh|python)\n(.*?)^\1```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    for _, language, block in fences:
        code = textwrap.dedent(block)
        found += [(language, code)] if language == "python" else [(language, line) for line in code.splitlines()]
    return [(language, code) for language, code in found if code and not (language == "sh" and code.startswith("#"))]


def commands(page: str) -> list[str]:
    return [code for language, code in steps(page) if language == "sh"]


def examples(page: str) -> list[str]:
    return [code for language, code in steps(page) if language == "python"]


def linked_files(page: str) -> list[Path]:
    """The files that a page leads to."""
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    return [(path.parent / link).resolve() for link in links if "://" not in link]


@dataclass(frozen=True)
class Project:
    """A copy of the project, and the environment of a user of it."""

    folder: Path
    environment: dict[str, str]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command of a page; one that needs no shell, in a process that starts at once (tests/launcher.py)."""
        words = shlex.split(command)
        if words[0] == "python" and words[1].endswith((".py", "-m")) and not set(command) & set("|&;<>$`*"):
            script = words[1] if words[1] == "-m" else str(self.folder / words[1])
            done = SHARED.run([script, *words[2:]], self.folder, timeout=600, environment=self.environment)
            return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
        return subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def serve(self, command: str) -> str:
        """The first line that a server prints, which is then ended."""
        with subprocess.Popen(
            command,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            os.killpg(process.pid, signal.SIGTERM)
        return said

    def run_example(self, code: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "example.py").write_text(code)
        return self.run("python example.py")


def copy_project(folder: Path, mnist: Mnist, train: int, test: int) -> Project:
    """Copy the project to `folder`, for a user whose `python` is this one and whose data are the first images."""
    data = folder / "data"
    data.mkdir()
    write_idx(data / "train-images-idx3-ubyte", mnist.train_images[:train])
    write_idx(data / "train-labels-idx1-ubyte", mnist.train_labels[:train])
    write_idx(data / "t10k-images-idx3-ubyte", mnist.test_images[:test])
    write_idx(data / "t10k-labels-idx1-ubyte", mnist.test_labels[:test])
    ignored = shutil.ignore_patterns(".git", ".venv*", "runs", ".*_cache", ".hypothesis", "node_modules")
    shutil.copytree(ROOT, folder / "project", ignore=ignored)
    shutil.rmtree(folder / "project" / "inference_model")
    shutil.copytree(MODEL, folder / "project" / "inference_model" / "released")
    # .venv as make would have left it, so that nothing is installed again.
    environment = folder / "project" / ".venv"
    (environment / "bin").mkdir(parents=True)
    for name in ("python", "pip"):
        launcher = environment / "bin" / name
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {"-m pip " if name == "pip" else ""}"$@"\n')
        launcher.chmod(0o755)
    for stamp in ("installed", "installed-test"):
        (environment / stamp).touch()
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "MNIST_DIR": str(data)}
    return Project(folder / "project", variables)
