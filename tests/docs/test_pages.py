"""The pages in docs/: their commands and examples run, and what is generated on them is what would be generated now."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import sweep
from common.command_line import parse
from data.dataset import Mnist
from docs.tables import __main__ as tables
from tests.conftest import ROOT
from tests.docs.pages import Project, copy_project, linked_files, steps
from tests.docs.test_readme import ALL_COMMANDS
from training.settings import Settings

PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))
ALL_PAGES = [*PAGES, *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "zh").glob("*.md"))]
OWN_DATA = "docs/own-data.md"  # run from top to bottom by test_own_data.py
STEPS = [(page, language, code) for page in PAGES if page != OWN_DATA for language, code in steps(page)]
TRAININGS = list(
    dict.fromkeys(code for *_, code in STEPS if re.match(r"python (train|sweep)\.py\b(?!.*--summary)", code))
)
# Run from top to bottom, but for training, by test_examples.py and tests/page/test_api.py; and what the README has, by
# test_readme.py.
WHOLE = ("docs/onnx.md", "docs/serving.md")
REST = [step for step in STEPS if step[0] not in WHOLE and step[2] not in TRAININGS]
COMMANDS = list(dict.fromkeys(code for _, language, code in REST if language == "sh" and code not in ALL_COMMANDS))
EXAMPLES = [(page, code) for page, language, code in REST if language == "python"]
PRINTED = {
    "docs/static_program.md": r".* (8[5-9]\d|9\d\d|1000) of 1000 right\n",
    "docs/figures.md": "",
    "docs/reading.md": r"2 0 7 1 9\n",
}  # by the examples of a page


@pytest.fixture(scope="module")
def project(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With some runs in runs/, as after training: of two networks, and of several recipes."""
    project = copy_project(tmp_path_factory.mktemp("docs"), mnist, train=6000, test=100)
    for run in (ROOT / "docs" / "experiments" / "published").glob("conv_pool_bn-*"):
        shutil.copytree(run, project.folder / "runs" / run.name)
    name = "lenet5_numpy-published-seed1"
    shutil.copytree(ROOT / "docs" / "experiments" / "published" / name, project.folder / "runs" / name)
    return project


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, project: Project) -> None:
    if command.startswith("make "):
        command = command.replace("make", "make -n", 1)
    if command.startswith("pip install -r "):
        command = f"test -f {command.split()[3]}"  # CI installs from it on a clean machine
    succeeds(project.run(command))


@pytest.mark.parametrize("command", TRAININGS)
def test_training_is_understood(command: str) -> None:
    """What a moment can tell: the options are there, and the network has them and the recipe."""
    arguments = shlex.split(command)[1:]
    if arguments[0] == "sweep.py":
        parse(sweep.Options, arguments[1:])
    else:
        parse(Settings, arguments[1:]).resolved_recipe()


# Before the trainings, which put models in the place of the released ones.
@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_python_example(page: str, code: str, project: Project) -> None:
    assert re.fullmatch(PRINTED[page], succeeds(project.run_example(code)))


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAININGS)
def test_training(command: str, project: Project) -> None:
    """One pass of 100 images; the README's commands are run at full length."""
    own = "-- " if " sweep.py " in command else ""
    succeeds(project.run(f"{command} {own}--passes 1 --validation-size 5900"))


def succeeds(result: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, which must not have failed."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def generated() -> dict[Path, dict[str, str]]:
    return tables.generated()


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_generated_text_is_that_of_now(page: Path, generated: dict[Path, dict[str, str]]) -> None:
    """Where it is not: make tables. The oracle's digits are those of the machine."""
    compared = {name: text for name, text in generated[page].items() if name != "oracle"}
    differing = [name for name, text in compared.items() if tables.between(page, name)[1] != f"{text}\n"]
    assert differing == []
    assert set(re.findall(r"<!-- /(.+?) -->", page.read_text())) == set(generated[page])


@pytest.mark.parametrize("page", tables.NETWORKS_PAGES, ids=lambda page: page.name)
def test_the_oracle_is_right_on_the_page_and_now(page: Path, generated: dict[Path, dict[str, str]]) -> None:
    """Each difference, as printed, is below 1e-5 of the largest value; the page has the rows of now."""
    texts = tables.between(page, "oracle")[1], generated[page]["oracle"]
    cells = [re.findall(r"(\S+) (?:of|/) (\S+)", text) for text in texts]
    assert len(cells[0]) == len(cells[1]) > 40
    assert [cell for found in cells for cell in found if not float(cell[0]) < 1e-5 * float(cell[1])] == []
    rows = [re.findall(r"^\| `\w+` \| \S+", text, re.MULTILINE) for text in texts]
    assert rows[0] == rows[1]


def test_a_layer_table_is_what_the_command_prints(project: Project, generated: dict[Path, dict[str, str]]) -> None:
    printed = project.run("COLUMNS=80 python train.py --network lenet5_1998 --summary")
    lines = [line.rstrip() for line in succeeds(printed).splitlines()]
    assert generated[tables.NETWORKS_PAGES[0]]["summary lenet5_1998"] == "\n".join(["```", *lines, "```"])


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_commands(page: str) -> None:
    chinese = page.replace("docs/", "docs/zh/")
    assert steps(page) == steps(chinese)
    assert {ROOT / page, ROOT / chinese} <= {*linked_files(page), *linked_files(chinese)}  # each leads to the other


FENCES = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- (.*?) -->\n.*?<!-- /\1 -->", re.DOTALL)
FIGURE = re.compile(r"(?<![A-Za-z\d])(?:\d[\d,]*\.\d+|\d[\d,]{2,}(?<!,))")  # a decimal number, or three digits


def skeleton(page: str) -> tuple[dict[str, int], Counter[str]]:
    """Numbers of headings, rows of tables, items of lists and pictures of a page; its figures outside code."""
    text = FENCES.sub("", GENERATED.sub("", (ROOT / page).read_text()))
    parts = {"headings": r"^#+ ", "rows": r"^ *\|", "items": r"^ *(?:- |\d+\. )", "pictures": r"!\["}
    counts = {name: len(re.findall(pattern, text, re.MULTILINE)) for name, pattern in parts.items()}
    return counts, Counter(FIGURE.findall(re.sub(r"\]\([^)]*\)|`[^`]*`", "", text)))


TWINS = {page: page.replace("docs/", "docs/zh/") for page in PAGES}
del TWINS["docs/benchmarks.md"]  # make bench makes it whole; its twin has the main results
TWINS |= {"README.md": "README.zh-CN.md", "docs/experiments/README.md": "docs/zh/experiments.md"}


@pytest.mark.parametrize(("page", "chinese"), TWINS.items())
def test_both_languages_have_the_same_parts_and_figures(page: str, chinese: str) -> None:
    """A figure that differs stands in one language alone."""
    (parts, figures), (chinese_parts, chinese_figures) = skeleton(page), skeleton(chinese)
    assert parts == chinese_parts
    assert (figures - chinese_figures, chinese_figures - figures) == (Counter(), Counter())


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert [file for file in linked_files(page) if not file.exists()] == []
