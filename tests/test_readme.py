"""Every command in the README, in both languages, is run as it stands there, in a copy of the project."""

from __future__ import annotations

import re

import pytest

from mnist.dataset import Mnist
from tests.pages import Project, commands, copy_project, examples, linked_files

PAGES = ("README.md", "README.zh-CN.md")
ALL_COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


@pytest.fixture(scope="module")
def project(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(tmp_path_factory.mktemp("readme"), mnist, train=8000, test=1000)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_command(command: str, project: Project) -> None:
    if command == "make test":
        command = "make -n test"  # this very test is part of it
    if command.startswith("pip install"):
        assert (
            project.folder / command.split()[-1]
        ).is_file()  # what make installs from; CI does it on a clean machine
        return
    if command == "python demo.py":
        assert project.serve(command).startswith("open http://127.0.0.1:")
        return
    result = project.run(command)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    if command in ("make train", "python train.py"):
        assert "(measured on the saved model)" in result.stdout
        assert "published to inference_model/" in result.stdout
    if command.startswith("python infer.py --lines"):
        assert re.search(r"^\d{5} ", result.stdout, re.MULTILINE)
    elif command.startswith("python infer.py"):
        assert re.search(r"\b7\b", result.stdout)


def test_both_languages_have_the_same_commands() -> None:
    assert commands(PAGES[0]) == commands(PAGES[1])


def test_python_example(project: Project) -> None:
    (example,) = examples("README.md")
    result = project.run_example(example)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    files = linked_files(page)
    assert files and [file for file in files if not file.exists()] == []
