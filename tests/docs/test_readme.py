"""Every command in the README, in both languages, is run as it stands there, in a copy of the project."""

from __future__ import annotations

import re
import shutil

import pytest

from data.dataset import Mnist
from tests.conftest import MODEL
from tests.docs.pages import Project, commands, copy_project, examples, linked_files

PAGES = ("README.md", "README.zh-CN.md")
ALL_COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
INSTALLING = [command for command in ALL_COMMANDS if command.startswith("pip install")]
SERVING = [command for command in ALL_COMMANDS if command == "python demo.py"]
REST = [command for command in ALL_COMMANDS if command not in (*INSTALLING, *SERVING)]

# What a command prints, by the first pattern that fits it.
EXPECTED = {
    r"make train|python train\.py": (r"\(measured on the saved model\)$", "^published to inference_model/"),
    r"make test": ("-m pytest",),
    r"python infer\.py --lines .*": (r"^\d{5} ",),
    r"python infer\.py .*": (r"\b7\b",),
    r"python compare\.py.*": (r"^\S+-seed1-\d+-\d+ +\d+ .* \d+/1000 ",),
}


@pytest.fixture(scope="module")
def project(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """320 images beside the 80 that are held out: that what is trained works is for other tests to show."""
    return copy_project(tmp_path_factory.mktemp("readme"), mnist, train=400, test=1000)


# `make train` is the same at full length, and the longest of all.
@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=pytest.mark.slow if each == "python train.py" else ()) for each in REST]
)
def test_command(command: str, project: Project) -> None:
    expected = next(printed for pattern, printed in EXPECTED.items() if re.fullmatch(pattern, command))
    result = project.run(command if command != "make test" else "make -n test")  # this very test is part of it
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    for pattern in expected:
        assert re.search(pattern, result.stdout, re.MULTILINE), pattern
    shutil.rmtree(project.folder / "inference_model")  # for the commands below, that of the tests
    shutil.copytree(MODEL, project.folder / "inference_model" / "released")


@pytest.mark.parametrize("command", INSTALLING)
def test_what_is_installed_from_is_there(command: str, project: Project) -> None:
    """CI installs from it on a clean machine."""
    assert (project.folder / command.split()[-1]).is_file()


@pytest.mark.parametrize("command", SERVING)
def test_the_page_is_served(command: str, project: Project) -> None:
    assert project.serve(command).startswith("open http://127.0.0.1:")


def test_both_languages_have_the_same_commands() -> None:
    assert commands(PAGES[0]) == commands(PAGES[1])
    assert INSTALLING and SERVING and REST


@pytest.mark.parametrize("page", PAGES)
def test_python_example(page: str, project: Project) -> None:
    """A picture, an array and a list of both have one answer."""
    (example,) = examples(page)
    result = project.run_example(example)
    assert result.returncode == 0, result.stderr
    first, *others = result.stdout.splitlines()
    assert re.fullmatch(r"\('7', 0\.9\d*\) False False", first) and others == [first] * 3


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    files = linked_files(page)
    assert files and [file for file in files if not file.exists()] == []
