"""evaluate.py: scores of saved models on labelled data, counted, drawn, compared."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate
from common.console import ScriptConsole
from common.errors import UsageError, UserError
from data import sources
from data.dataset import DIGITS, Mnist
from data.formats import pictures
from model.saved_model import load_model, save_model
from recognition.sets import load_data
from results import evaluation, evaluation_table
from results.evaluation import Evaluation, Evaluator
from results.evaluation_table import print_evaluations
from tests.conftest import MODEL, ROOT, write_idx
from tests.scripts.test_old_folders import run_main

WEAK = ROOT / "tests" / "samples" / "c93bf08" / "run"  # the folder of a run; its model is right in a quarter


@pytest.fixture(scope="module")
def data(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 test images, 300 training images."""
    folder = tmp_path_factory.mktemp("data")
    for stem, images, labels in (
        ("train", mnist.train_images[:300], mnist.train_labels[:300]),
        ("t10k", mnist.test_images[:500], mnist.test_labels[:500]),
    ):
        write_idx(folder / f"{stem}-images-idx3-ubyte", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte", labels)
    return folder


class Fixed:
    """A network that answers as it was made to."""

    def __init__(self, answers: np.ndarray, confidence: float = 0.91) -> None:
        rest = (1 - confidence) / 9
        self._log = np.log(np.where(np.arange(10) == answers[:, None], confidence, rest)).astype(np.float32)
        self._first = 0

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        self._first += len(images)
        return self._log[self._first - len(images) : self._first]


def scored(
    truth: list[int], answers: list[int], classes: tuple[str, ...] = DIGITS, numbers: range | None = None
) -> Evaluation:
    images = np.zeros((len(truth), 28, 28), np.uint8)
    images[:, 0, 0] = range(len(truth))
    evaluator = Evaluator(load_model(MODEL), Fixed(np.array(answers)), classes, [np.array(truth)])
    evaluator.add(images, np.array(truth, np.uint8), np.array(numbers or range(len(truth))))
    return evaluator.evaluation


def test_counts_precision_recall_and_f1_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BATCH", 2)  # so that counts are carried from batch to batch
    found = scored([3, 3, 3, 5, 5, 8], [3, 3, 5, 5, 3, 8])
    assert (found.correct, found.total, found.accuracy) == (4, 6, 4 / 6)
    assert found.confusion[3, 3] == 2 and found.confusion[3, 5] == 1 and found.confusion[5, 3] == 1
    assert found.right.tolist() == [True, True, False, True, False, True]
    classes = {each.label: (each.images, each.precision, each.recall, each.f1) for each in found.classes()}
    assert classes == {"3": (3, 2 / 3, 2 / 3, 2 / 3), "5": (2, 1 / 2, 1 / 2, 1 / 2), "8": (1, 1.0, 1.0, 1.0)}
    assert found.loss == pytest.approx(-(4 * np.log(0.91) + 2 * np.log(0.01)) / 6, rel=1e-6)
    assert [(each.number, each.label, int(each.image[0, 0])) for each in found.wrong] == [(2, 3, 2), (4, 5, 4)]


def test_a_class_that_is_never_read_has_no_precision() -> None:
    classes = {each.label: each for each in scored([1, 2], [2, 2]).classes()}
    assert (classes["1"].precision, classes["1"].recall, classes["1"].f1) == (None, 0.0, 0.0)


def test_classes_are_found_by_name() -> None:
    """The data hold two classes of the model's ten, in another order."""
    found = scored([0, 1, 1], [7, 2, 7], classes=("7", "2"))
    assert found.correct == 2 and found.confusion[2, 7] == 1
    with pytest.raises(UserError, match=r"does not know cat; it knows 0, 1, 2"):
        scored([0], [0], classes=("cat",))


def test_only_the_surest_wrong_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST_WRONG", 3)
    assert [each.number for each in scored([1] * 50, [2] * 50).wrong] == [0, 1, 2]


def test_two_models_are_compared_with_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """12 images are right by the first alone, 1 by the second alone: p = 2 · 14 / 2^13."""
    truth, first, second = [0] * 30, [0] * 29 + [1], [1] * 12 + [0] * 18
    print_evaluations({Path("a"): scored(truth, first), Path("b"): scored(truth, second)}, "csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["verdict"] for row in rows] == ["reference", "worse than a"]
    assert float(rows[1]["p_value"]) == pytest.approx(2 * 14 / 2**13)
    assert float(rows[1]["difference"]) == pytest.approx(-11 / 30)


def test_two_models_are_compared_image_by_image(capsys: pytest.CaptureFixture[str]) -> None:
    """Each model leaves another image out; among the others 12 are right by the first alone, 1 by the second alone."""
    first = scored([0] * 30, [0] * 29 + [1], numbers=range(30))
    second = scored([0] * 30, [1] * 12 + [0] * 18, numbers=range(1, 31))
    first.left_out = second.left_out = 1
    print_evaluations({Path("a"): first, Path("b"): second}, "json")
    (one, two) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (one["compared"], two["compared"], one["left_out"], two["left_out"]) == (29, 29, 1, 1)
    assert two["p_value"] == pytest.approx(2 * 14 / 2**13) and two["difference"] == pytest.approx(-11 / 29)
    print_evaluations({Path("a"): first, Path("b"): second}, "table")
    said = capsys.readouterr().out
    assert said.count("1 of 31 pictures left out") == 2
    assert "worse than a: difference -37.93 %" in said and ", on the 29 images that all models could read" in said


def test_the_released_model_has_the_counts_of_its_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On all 10,000 test images: counts, loss, and the calibration error of the calibrated probabilities."""
    assert run_main(evaluate, monkeypatch, MODEL, "--format", "json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    card = load_model(MODEL).card
    expected = card["scores"]["test"]
    assert (found["correct"], found["images"]) == (expected["correct"], expected["total"])
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["calibration_error"] == pytest.approx(card["calibration"]["test"]["after"], abs=1e-5)
    assert np.array(found["confusion"]).sum() == 10_000 and len(found["classes"]) == 10


def test_table_plots_and_exit_status(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = "--plot", tmp_path / "confusion.png", "--wrong", tmp_path / "wrong.svg"
    assert run_main(evaluate, monkeypatch, MODEL, WEAK, "--data", data, "--fail-under", 90, *drawn) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith(f"error: {WEAK}: expected at least 90 % right, got ")
    assert said.err.count("error:") == 1
    assert " of 500 right = " in said.out and "precision" in said.out and "true \\ read" in said.out
    assert f"worse than {MODEL}: difference -" in said.out
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "wrong.svg").read_bytes()


def test_an_accuracy_as_asked_for_is_not_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Of fractions in binary, 1,264 of these 10,000 would be."""
    for correct in range(9_000, 10_000):
        found: Any = SimpleNamespace(correct=correct, total=10_000, accuracy=correct / 10_000)
        assert evaluate._complain({Path("model"): found}, float(f"{correct / 100:.2f}")) == 0
        assert evaluate._complain({Path("model"): found}, float(f"{correct / 100 + 0.01:.2f}")) == 1
    assert capsys.readouterr().err.count("error: model: expected at least 9") == 999


def test_two_figures_do_not_take_one_file() -> None:
    with pytest.raises(UsageError, match=r"--plot and --wrong a\.png: expected a file for each"):
        evaluate.Options(plot=Path("a.png"), wrong=Path("a.png"))


def test_each_part_has_its_images(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {}
    for part in ("test", "train", "all"):
        assert run_main(evaluate, monkeypatch, MODEL, "--data", data, "--part", part, "--format", "json") == 0
        images[part] = json.loads(capsys.readouterr().out)["images"]
    assert images == {"test": 500, "train": 300, "all": 800}


@pytest.mark.parametrize(
    ("make", "has"),
    [
        (lambda images: 255 - images, "digits dark on light, longest side 20"),
        (lambda images: images // 255, ", pixels of 0 to 1: the score may be wrong"),
        (lambda images: images * np.uint8(0), "nothing in the images"),
    ],
    ids=["inverted", "0 and 1", "empty"],
)
def test_images_unlike_those_of_the_training_are_reported(
    make: Callable[[np.ndarray], np.ndarray],
    has: str,
    mnist: Mnist,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(data, tmp_path / "data")
    write_idx(tmp_path / "data" / "t10k-images-idx3-ubyte", make(mnist.test_images[:500]))
    assert run_main(evaluate, monkeypatch, MODEL, "--data", data, "--format", "json") == 0
    assert capsys.readouterr().err == ""
    assert run_main(evaluate, monkeypatch, MODEL, "--data", tmp_path / "data", "--format", "json") == 0
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {MODEL}: trained on digits light on dark, longest side 20") and has in said
    assert said.count("\n") == 1


def test_a_folder_per_class_is_scored_by_its_names(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three of the model's ten classes, as pictures; all of them, since nothing is trained on."""
    for name in ("2", "7", "8"):
        (tmp_path / name).mkdir()
        for number in np.flatnonzero(mnist.test_labels == int(name))[:10]:
            Image.fromarray(mnist.test_images[number]).save(tmp_path / name / f"{number}.png")
    assert run_main(evaluate, monkeypatch, MODEL, "--data", tmp_path, "--part", "all", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["correct"]) == (30, 30)
    assert [(each["label"], each["images"]) for each in found["classes"]] == [("2", 10), ("7", 10), ("8", 10)]


def test_a_set_without_parts_is_scored_whole_unless_a_model_was_trained_on_it(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("3", "7"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in np.flatnonzero(mnist.test_labels == int(name))[:10]:
            Image.fromarray(mnist.test_images[number]).save(tmp_path / "set" / name / f"{number}.png")
    trained = load_model(MODEL)
    card = {**trained.card, "data_split": load_data(tmp_path / "set").split}
    save_model(tmp_path / "trained", replace(trained, card=card))
    options = "--data", tmp_path / "set", "--format", "json"
    said: dict[Path, tuple[int, str]] = {}
    for model in (MODEL, tmp_path / "trained"):
        assert run_main(evaluate, monkeypatch, model, *options) == 0
        captured = capsys.readouterr()
        said[model] = (json.loads(captured.out)["images"], captured.err.splitlines()[-1])
    where = f"{tmp_path / 'set'}: no test part, and"
    assert said == {
        MODEL: (20, f"{where} no model was trained on this very set: scored are all 20 images"),
        tmp_path / "trained": (
            4,
            f"{where} {tmp_path / 'trained'} was trained on this set: scored are the 4 of 20 images that its training "
            "set aside; --part all scores all",
        ),
    }
    for path in (tmp_path / "set").rglob("*.png"):  # other pictures under the names of those that were trained on
        Image.open(path).rotate(3).save(path)
    assert run_main(evaluate, monkeypatch, tmp_path / "trained", *options) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 20
    shutil.rmtree(tmp_path / "set" / "3")
    assert run_main(evaluate, monkeypatch, MODEL, *options) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 10


def test_models_that_prepare_pictures_differently_are_compared_on_those_that_both_could_read(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blank sheet holds no digit to be cut, but can be resized; its place is the first."""
    monkeypatch.setenv(sources.CACHE_VARIABLE, str(tmp_path / "cache"))
    others = np.flatnonzero(mnist.test_labels != 5)[:10]
    for number, image in enumerate([mnist.test_images[0] * 0, *mnist.test_images[others]]):
        paper = np.full((60, 60), 255, np.uint8)
        paper[10:38, 10:38] -= image
        path = tmp_path / "data" / str(mnist.test_labels[others[number - 1]] if number else 5) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paper).save(path)
    good = load_model(MODEL)
    save_model(tmp_path / "resized", replace(good, card={**good.card, "prepare": "resize"}))
    given = "--data", tmp_path / "data", "--part", "all", "--format", "json"
    assert run_main(evaluate, monkeypatch, MODEL, tmp_path / "resized", *given) == 0
    (one, two) = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(each["images"], each["left_out"], each["compared"]) for each in (one, two)] == [(10, 1, 10), (11, 0, 10)]
    right = two["correct"] - two["confusion"][5][5]  # without the blank sheet
    assert two["difference"] == pytest.approx((right - one["correct"]) / 10)


def test_pictures_are_scored_piece_by_piece(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a million of them need no more memory than a few."""
    for number in range(23):
        path = tmp_path / str(mnist.test_labels[number]) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mnist.test_images[number]).save(path)
    sizes: list[int] = []
    add = Evaluator.add

    def counted(self: Evaluator, images: np.ndarray, truth: np.ndarray, numbers: np.ndarray) -> None:
        sizes.append(len(images))
        add(self, images, truth, numbers)

    monkeypatch.setattr(Evaluator, "add", counted)
    monkeypatch.setattr(pictures, "PIECE", 10)
    assert run_main(evaluate, monkeypatch, MODEL, "--data", tmp_path, "--part", "all", "--format", "json") == 0
    assert sizes == [10, 6, 7] and json.loads(capsys.readouterr().out)["correct"] == 23


def test_one_class_alone_is_scored(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "7").mkdir(parents=True)
    for number in np.flatnonzero(mnist.test_labels == 7)[:4]:
        Image.fromarray(mnist.test_images[number]).save(data / "7" / f"{number}.png")
    assert run_main(evaluate, monkeypatch, MODEL, "--data", data, "--part", "all", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    # A model of a set with a test part has no split; neither has this one, of a single class.
    released = load_model(MODEL)
    save_model(tmp_path / "model", replace(released, card={**released.card, "data_split": {}}))
    assert run_main(evaluate, monkeypatch, tmp_path / "model", "--data", data) == 0
    assert "was trained on this set" not in capsys.readouterr().err


def test_pictures_that_cannot_be_used_are_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in "01":
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(b"\x89PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="expected images that can be used, got none of 2"):
            run_main(evaluate, monkeypatch, MODEL, "--data", tmp_path, "--part", "all")


def test_models_that_prepare_a_set_alike_share_its_images(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One model takes pictures as they are, the other as the set's own sizes decide, which comes to the same."""
    for number in range(6):
        path = tmp_path / "data" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mnist.test_images[number]).save(path)
    path.write_bytes(b"\x89PNG")
    good = load_model(MODEL)
    save_model(tmp_path / "plain", replace(good, card={**good.card, "prepare": "none"}))
    assert run_main(evaluate, monkeypatch, MODEL, tmp_path / "plain", "--data", tmp_path / "data") == 0
    said = capsys.readouterr().err
    assert said.count("folder per class, pictures as they are") == said.count("5.png: expected a picture") == 1


def test_no_number_of_a_confusion_matrix_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for width, shown in ((40, False), (80, True)):
        monkeypatch.setattr(evaluation_table, "make_console", partial(ScriptConsole, width=width))
        print_evaluations({Path("a"): scored([3] * 200, [3] * 150 + [5] * 50)}, "table")
        said = capsys.readouterr().out
        assert ("true \\ read" in said and "150" in said) == shown
        assert ("wider than the" in said) != shown
