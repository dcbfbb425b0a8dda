"""README.md of a model folder: what a hub of models reads of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from data.sources import SUMS
from model.readme import MNIST_PICTURES, model_page
from model.saved_model import README, RELEASED, ROWS, holds_only_a_model, read_card, read_model, save_model
from recognition.kind import PictureKind
from tests.conftest import MODEL, ROOT


def head(page: str) -> dict[str, Any]:
    """The front matter, each value of which is JSON."""
    _, front, _ = page.split("---\n", 2)
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.splitlines())}


def test_it_has_scores_data_and_licence() -> None:
    card = json.loads((MODEL / "card.json").read_bytes())
    score = card["scores"]["test"]
    said = head(model_page({**card, "data_sha256": SUMS}))
    assert said["license"] == "apache-2.0" and said["datasets"] == ["ylecun/mnist"]
    [index] = said["model-index"]
    found = {result["dataset"]["split"]: result["metrics"][0]["value"] for result in index["results"]}
    assert index["name"] == card["network"] and found["test"] == score["correct"] / score["total"]
    assert f"{score['correct']:,} of {score['total']:,}" in model_page(card)
    assert "datasets" not in head(model_page({**card, "data_sha256": {}}))


def test_a_hostile_name_stays_one_value() -> None:
    card = json.loads((MODEL / "card.json").read_bytes())
    [index] = head(model_page({**card, "network": "a: b\n---\nlicense: x"}))["model-index"]
    assert index["name"].startswith("a: b") and "\n" not in index["name"]


def test_a_temperature_is_named_for_what_it_is_fitted_to() -> None:
    """The released ones lower the validation loss but raise the calibration error; without one there is no word."""
    for folder in (MODEL, MODEL / ROWS):
        card = read_card(folder)
        page = model_page(card)
        assert f"A temperature of {card['temperature']:.4g} " in page and "lowers the validation loss" in page
        assert "calibrate" not in page and (folder / README).read_text() == page
        assert "emperature" not in model_page({**card, "temperature": 1})
    for name in ("serving.md", "demo.md"):
        english, chinese = ((ROOT / "docs" / folder / name).read_text() for folder in (".", "zh"))
        assert "calibrated" not in english and "经过校准" not in chinese


def test_it_says_which_ink_the_model_takes() -> None:
    card = json.loads((MODEL / "card.json").read_bytes())
    assert PictureKind().to_json() == MNIST_PICTURES
    for kind in ({}, {"pictures": PictureKind().to_json()}):
        assert "Digits are light on dark, framed as MNIST's." in model_page({**card, **kind})
    said = model_page({**card, "pictures": PictureKind(inverted=True).to_json()})
    assert "Digits are dark on light, unlike MNIST's" in said and "framed as" not in said
    assert "light on dark, unlike MNIST's" in model_page({**card, "pictures": PictureKind(box=28).to_json()})


@pytest.mark.parametrize("scores", [5, {"test": 5}, {"test": {"correct": "9", "total": 10, "loss": 1}}, {"test": {}}])
def test_a_card_from_elsewhere_states_what_it_can(scores: Any) -> None:
    """As when its model is exported: what is no score is left out."""
    card = json.loads((MODEL / "card.json").read_bytes())
    page = model_page({**card, "scores": scores, "selected_on": "a\n---\nlicense: x", "pictures": 7})
    assert "model-index" not in head(page) and "\nlicense: x" not in page


def test_it_is_saved_with_the_model_and_an_old_folder_needs_none(tmp_path: Path) -> None:
    model = read_model(MODEL)
    save_model(tmp_path / "model", model)
    assert (tmp_path / "model" / README).read_text() == model_page(model.card)
    assert holds_only_a_model(tmp_path / "model")
    (tmp_path / "model" / README).unlink()
    assert read_model(tmp_path / "model").program == model.program and holds_only_a_model(tmp_path / "model")


@pytest.mark.parametrize("folder", [MODEL, MODEL / ROWS], ids=[RELEASED, ROWS])
def test_the_hubs_own_library_reads_it(folder: Path) -> None:
    """Licence, task, data and scores, as the hub reads them of the released models."""
    card, is_row = read_card(folder), folder.name == ROWS
    data = ModelCard((folder / README).read_text()).data
    assert isinstance(data, ModelCardData)
    assert (data.license, data.model_name) == ("apache-2.0", card["network"])
    assert data.pipeline_tag == ("image-to-text" if is_row else "image-classification")
    assert data.datasets == ["ylecun/mnist"]
    found = {each.metric_type: each for each in data.eval_results}
    score = card["scores"]["test"]
    wanted = {"accuracy": score["correct"] / score["total"], "loss": score["loss"]}
    wanted |= {"cer": score["digit_error"]} if is_row else {}
    assert {name: each.metric_value for name, each in found.items()} == wanted
    places = {(each.task_type, each.dataset_type, each.dataset_split) for each in data.eval_results}
    assert places == {(data.pipeline_tag, "ylecun/mnist", "test")}
    assert ("rows" in found["accuracy"].dataset_name) == is_row  # a score of rows is not one of MNIST's images
