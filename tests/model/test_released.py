"""The released model and a trained one in the same folder, and a README.md that its reader edited."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from common.checksummed import file_entry
from model.readme import model_page
from model.saved_model import (
    README,
    RELEASED,
    ROWS,
    ModelError,
    holds_only_a_model,
    load_model,
    model_in,
    read_card,
    read_model,
    save_model,
)
from page.reader import Reader
from recognition.picture import Limits
from recognition.workers import Workers
from tests.conftest import MODEL, ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as it is in a fresh copy of the project: only the released model is there."""
    shutil.copytree(MODEL, tmp_path / "models" / RELEASED)
    return tmp_path / "models"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("links", [True, False])
def test_a_trained_model_answers_first_and_the_released_one_stays(
    folder: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no hard links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    released = contents(folder / RELEASED)
    assert holds_only_a_model(folder) and load_model(folder).folder == folder / RELEASED
    for number in (1, 2):  # the second replaces the first
        model = load_model(folder)
        save_model(folder, replace(model, card={**model.card, "pass": number}))
        assert holds_only_a_model(folder)
        assert (load_model(folder).folder, load_model(folder).card["pass"]) == (folder, number)
        assert contents(folder / RELEASED) == released == contents(load_model(folder / RELEASED).folder)


def test_anything_else_beside_it_is_not_replaced(folder: Path) -> None:
    (folder / "notes.txt").touch()
    with pytest.raises(OSError, match="other things"):
        save_model(folder, read_model(MODEL))
    assert (folder / RELEASED).is_dir() and (folder / "notes.txt").exists()


def test_a_run_and_a_model_by_itself_are_found_first(folder: Path, tmp_path: Path) -> None:
    assert model_in(MODEL) == MODEL
    shutil.copytree(MODEL, folder / "inference_model")
    assert model_in(folder) == folder / "inference_model"
    assert model_in(tmp_path / "nothing") == tmp_path / "nothing"


@pytest.mark.parametrize("name", ["run.json", "results.csv"])
def test_a_run_without_a_model_is_named_as_such(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match="got a run without one: none was kept, or no pass has ended; name another"):
        load_model(tmp_path)
    (tmp_path / "inference.pdmodel").touch()  # the remains of a model, whose card is missed
    with pytest.raises(ModelError, match=r"card\.json: expected a file of the model, got: No such file"):
        load_model(tmp_path)


def test_the_page_names_both_with_their_scores(folder: Path, tmp_path: Path) -> None:
    with Workers(Limits()) as workers:
        reader = Reader(folder, tmp_path / "runs", workers)
        assert reader.labels() == {"models/released": "models/released: conv_pool_bn, 99.62 %"}
        save_model(folder, read_model(MODEL))
        assert list(reader.labels()) == reader.models() == ["models", "models/released"]


def test_git_ignores_what_is_published_beside_it(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "inference_model")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    listed = subprocess.run([*git, "ls-files"], capture_output=True, text=True, check=True).stdout
    assert "inference_model/released/card.json" in listed
    save_model(tmp_path / "inference_model", read_model(MODEL))
    assert subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True).stdout == b""


def test_an_edited_page_is_kept(tmp_path: Path) -> None:
    model, folder = read_model(MODEL), tmp_path / "model"
    assert not save_model(folder, model) and not save_model(folder, model)
    (folder / README).write_text("mine")
    for _ in range(2):  # it stays the user's
        assert save_model(folder, replace(model, card={**model.card, "pass": 3}))
        assert (folder / README).read_text() == "mine" and load_model(folder).card["pass"] == 3
    (folder / README).unlink()
    assert not save_model(folder, model) and "mine" not in (folder / README).read_text()


@pytest.mark.parametrize("folder", [MODEL, MODEL / ROWS], ids=[RELEASED, ROWS])
def test_the_released_page_is_made_from_its_card(folder: Path) -> None:
    """By `make tables`; the card lists it, so that a page that is made anew replaces it."""
    card, page = read_card(folder), (folder / README).read_bytes()
    assert page.decode() == model_page(card)
    assert card["files"][README] == file_entry(page)
    assert holds_only_a_model(folder) and load_model(folder, rows=folder.name == ROWS).card == card
