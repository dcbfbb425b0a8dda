"""docs/aistudio.ipynb in a kernel, as its readers run it: it trains, shows curves, draws a digit and reads it."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from data.dataset import Mnist
from tests.conftest import ROOT
from tests.docs.pages import copy_project

NOTEBOOK = ROOT / "docs" / "aistudio.ipynb"


@pytest.fixture(
    scope="module", params=["docs", *(pytest.param(place, marks=pytest.mark.slow) for place in (".", ".."))]
)
def executed(
    request: pytest.FixtureRequest, mnist: Mnist, tmp_path_factory: pytest.TempPathFactory
) -> nbformat.NotebookNode:
    """With one pass over 3,000 images and 750 held out, opened from three places; a cell that fails raises."""
    project = copy_project(tmp_path_factory.mktemp("notebook"), mnist, train=3750, test=100)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source = "passes = 1"
    client = NotebookClient(
        notebook, timeout=1200, resources={"metadata": {"path": str(project.folder / request.param)}}
    )
    client.execute(env=project.environment)
    return notebook


def printed(notebook: nbformat.NotebookNode) -> str:
    """All text of the outputs; what `!` starts writes to a terminal, whose lines end in two characters."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
    return "\n".join(texts).replace("\r\n", "\n")


def test_it_trains_and_reads_the_drawn_digit(executed: nbformat.NotebookNode) -> None:
    text = printed(executed)
    assert "published to my_model/" in text and "error" not in text.lower()
    assert re.search(r"^ +7 .* my_digit\.png$", text, re.MULTILINE)


def test_progress_comes_as_plain_lines(executed: nbformat.NotebookNode) -> None:
    assert re.search(r"^1/1 .* best$", printed(executed), re.MULTILINE)
    assert "\x1b" not in printed(executed) and "\r" not in printed(executed)


def test_it_shows_curves_wrong_answers_the_drawing_and_what_the_network_got(executed: nbformat.NotebookNode) -> None:
    pictures = [o for cell in executed.cells for o in cell.get("outputs", ()) if "image/png" in o.get("data", ())]
    assert len(pictures) == 4


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    links = [link for cell in notebook.cells for link in re.findall(r"\]\(([^)#]+)\)", cell.source)]
    own = [link for link in links if "://" not in link]
    assert own and [link for link in own if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.parametrize("place", ["docs", ".", "..", "../.."])
@pytest.mark.parametrize(
    ("paddle", "gpu", "requirements"),
    [
        ("paddlepaddle", True, "requirements-base.txt"),
        ("paddlepaddle-gpu", False, "requirements-base.txt"),
        ("rich", True, "requirements.txt"),
        ("rich", False, "requirements-cpu.txt"),
    ],
)
def test_the_first_cell_finds_the_project_and_keeps_an_installed_paddle(
    place: str, paddle: str, gpu: bool, requirements: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened from its own folder, the project's, or one above; on a machine whose home is AI Studio's."""
    project = tmp_path / "home" / "work" / "lenet"
    (project / "docs").mkdir(parents=True)
    (project / "docs" / "aistudio.ipynb").touch()
    packages = [SimpleNamespace(metadata={"Name": name}, version="1.26.4") for name in (paddle, "numpy")]
    monkeypatch.setattr(metadata, "distributions", lambda: packages)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if gpu else None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "mine")
    monkeypatch.chdir(project / place)
    cell = nbformat.read(NOTEBOOK, as_version=4).cells[1].source.replace("/home/aistudio", str(tmp_path / "home"))
    asked: list[str] = []
    run = re.sub(r"^%pip (.*)$", r"asked.append(f'\1'.replace('$where', where))", cell, flags=re.MULTILINE)
    exec(run, {"asked": asked})
    kept = tmp_path / "home" / "external-libraries"
    assert Path.cwd() == project
    assert len(asked) == 1 and asked[0].endswith(f" --upgrade --target {kept} numpy==1.26.4 -r {requirements}")
    exec(run, {"asked": asked})
    assert [place for place in sys.path if place == str(kept)] == [sys.path[1]]  # as for children, before site-packages
    assert os.environ["PYTHONPATH"] == f"mine:{kept}"
    assert (ROOT / requirements).is_file()


@pytest.mark.slow
def test_interrupting_a_cell_saves_the_run_and_leaves_the_kernel(mnist: Mnist, tmp_path: Path) -> None:
    project = copy_project(tmp_path, mnist, train=8000, test=100)
    manager, client = start_new_kernel(env=project.environment, cwd=str(project.folder))
    try:
        said: list[str] = []

        def listen(message: dict[str, Any]) -> None:
            said.append(str(message["content"]))
            if "1/1000 " in said[-1]:
                manager.interrupt_kernel()

        client.execute_interactive(
            "%run train.py --passes 1000 --run-dir runs/long --figures none", output_hook=listen, timeout=200
        )
        assert any("stopped by SIGINT, everything is saved" in text for text in said)
        reply = client.execute_interactive("1 + 1", output_hook=lambda message: None, timeout=20)
        assert reply["content"]["status"] == "ok" and manager.is_alive()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
