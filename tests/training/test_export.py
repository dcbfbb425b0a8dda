"""ONNX: every network, the same answers in three runtimes, and training that does not notice."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from common.errors import UsageError, UserError
from common.files import sha256
from data.dataset import Mnist, Subset
from model import onnx
from model.device import choose_device
from model.engine import Exporter, PaddleEngine
from model.image import ImageSpec, network_input
from model.networks import DIGIT_NETWORKS, NETWORKS
from model.program import NetworkConfig
from model.recipes import PUBLISHED, NetworkName
from model.saved_model import (
    NOVELTY,
    ONNX,
    PARAMETERS,
    PROGRAM,
    ModelError,
    SavedModel,
    load_model,
    read_model,
    save_model,
)
from results.run_folder import RunFolder
from tests.conftest import MODEL, ROOT, Script
from tests.docs.pages import commands
from tests.models import write_model
from training import export, loop
from training.settings import Settings

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 13), reason="paddle2onnx has no wheel for Python 3.13")


@pytest.fixture(scope="module")
def test_images(mnist: Mnist) -> Subset:
    return Subset(mnist.test_images, mnist.test_labels)


def inputs(images: np.ndarray, image: ImageSpec) -> np.ndarray:
    return network_input(images, image)


def small_model(choice: NetworkConfig, mnist: Mnist) -> SavedModel:
    """A model as it begins; lenet5_1998 after some steps: before, it gives every digit a probability of nearly 0."""
    image = NETWORKS[choice.name].image
    recipe = PUBLISHED[cast(NetworkName, choice.name)]
    engine = PaddleEngine(choice, recipe, choose_device("cpu"), 1)
    for start in range(0, 512 if choice.name == "lenet5_1998" else 0, 16):
        batch = slice(start, start + 16)
        images = inputs(mnist.train_images[batch], image)
        engine.train_step(images, mnist.train_labels[batch].astype(np.int64), recipe.learning_rate)
    card = {
        "input": {"shape": [-1, 1, image.size, image.size], "low": image.low, "high": image.high, "fit": image.fit},
        "labels": list("0123456789"),
    }
    return SavedModel(Path("moment"), card, *Exporter(choice).files(engine.parameters()))


@pytest.mark.parametrize(
    "choice",
    [
        *map(NetworkConfig, DIGIT_NETWORKS),
        NetworkConfig("conv_pool_bn", {"pooling": "mean"}),
        NetworkConfig("lenet5_1998", {"squashing": "sigmoid"}),
    ],
    ids=lambda choice: "-".join([choice.name, *choice.options.values()]),
)
def test_every_network_answers_alike_as_onnx(choice: NetworkConfig, mnist: Mnist, test_images: Subset) -> None:
    model = onnx.with_onnx(small_model(choice, mnist), test_images.images)
    found = onnx.agreement_in(model.card)
    assert (found.images, found.equal_answers) == (1000, 1000) and found.largest_difference < 1e-4
    assert model.onnx


def test_a_trained_model_gets_its_onnx_form(small_run: Path, script: Script, tmp_path: Path) -> None:
    """1,000 of 1,000 answers, in a folder replaced in one step, whose card has the file's sum."""
    folder = tmp_path / "model"
    shutil.copytree(small_run / "model", folder)
    before = load_model(folder)
    result = script("-m", "training.export", folder)
    assert result.returncode == 0, result.stderr
    assert "1,000 of 1,000 answers equal" in result.stdout and result.stderr == ""
    assert len(result.stdout.splitlines()) == 1
    after = load_model(folder)
    assert {path.name for path in folder.iterdir()} == {PROGRAM, PARAMETERS, ONNX, NOVELTY, "card.json", "README.md"}
    assert (after.program, after.parameters, after.novelty) == (before.program, before.parameters, before.novelty)
    assert after.card["files"][ONNX]["sha256"] == sha256((folder / ONNX).read_bytes())
    assert after.card["scores"] == before.card["scores"]


def test_the_released_model_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a model of its own is refused before anything is loaded."""
    shutil.copytree(MODEL, tmp_path / "released")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(export, "load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError, match="expected a model of its own, found the released one alone"):
        export.export(tmp_path, None)
    assert sorted(tmp_path.rglob("*")) == before


def test_onnx_runtime_reads_digits(small_run: Path, mnist: Mnist, test_images: Subset) -> None:
    """Not only the same answers: right ones."""
    model = onnx.with_onnx(load_model(small_run / "model"), test_images.images)
    assert model.onnx
    images = inputs(mnist.test_images[:500], NETWORKS["conv_pool_bn"].image)
    digits = onnx.OnnxPredictor(model.onnx).probabilities(images).argmax(axis=1)
    correct = model.card["scores"]["test"]["correct"]
    assert np.count_nonzero(digits == mnist.test_labels[:500]) == correct > 400


def test_training_does_not_notice(small_run: Path, small_data: Path, script: Script, tmp_path: Path) -> None:
    """The same run with --export onnx: the same weights, nothing more on stderr, and ONNX beside every best model."""
    arguments = ("--data-dir", small_data, "--validation-size", 560, "--passes", 3, "--log-every", 1)
    run = ("--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model", "--export", "onnx", "--figures", "none")
    result = script("train.py", *arguments, *run)
    assert result.returncode == 0 and result.stderr == ""
    assert "inference.onnx: 500 of 500 answers equal" in result.stdout
    for folder in (tmp_path / "model", tmp_path / "run" / "inference_model"):
        model = load_model(folder)
        assert model.onnx
        assert model.parameters == load_model(small_run / "model").parameters
    printed = (small_run / "output.txt").read_text().splitlines()
    assert [line[:80] for line in result.stdout.splitlines() if line[1:3] == "/3"] == [
        line[:80] for line in printed if line[1:3] == "/3"
    ]


@pytest.fixture
def wrong_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that exchanges two digits."""
    right = onnx.OnnxPredictor.probabilities
    monkeypatch.setattr(onnx.OnnxPredictor, "probabilities", lambda self, images: right(self, images)[:, ::-1])


def test_other_answers_are_refused(small_run: Path, wrong_answers: None, tmp_path: Path) -> None:
    shutil.copytree(small_run / "model", tmp_path / "model")
    before = load_model(tmp_path / "model")
    with pytest.raises(onnx.ExportError, match="expected equal answers"):
        export.export(tmp_path / "model", None)
    assert load_model(tmp_path / "model") == before


def test_training_ends_but_publishes_nothing(small_data: Path, wrong_answers: None, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    settings = Settings(
        data_dir=small_data, passes=1, validation_size=2400, save_dir=tmp_path / "model", export="onnx", figures="none"
    )
    with pytest.raises(UserError, match="nothing was published"):
        loop.train(settings, run)
    assert load_model(run.model).onnx is None and not (tmp_path / "model").exists()


def test_a_changed_file_is_noticed(small_run: Path, test_images: Subset, tmp_path: Path) -> None:
    model = onnx.with_onnx(load_model(small_run / "model"), test_images.images)
    write_model(tmp_path, model.program, model.parameters, model.card, model.onnx)
    data = bytearray((tmp_path / ONNX).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / ONNX).write_bytes(data)
    with pytest.raises(ModelError, match=r"inference\.onnx: altered or damaged"):
        load_model(tmp_path)
    (tmp_path / ONNX).unlink()
    with pytest.raises(ModelError, match=r"inference\.onnx: expected a file of the model"):
        load_model(tmp_path)


@pytest.mark.parametrize("module", ["paddle2onnx", "onnxruntime"])
def test_a_missing_package_is_told_before_training(
    module: str, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(onnx.ExportError, match=r"pip install paddle2onnx==.* onnxruntime") as told:
        loop.train(
            Settings(data_dir=small_data, export="onnx", save_dir=tmp_path / "model"), RunFolder(tmp_path / "run")
        )
    assert module in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "run").exists()


def test_the_packages_are_told_alike_everywhere() -> None:
    packages = onnx.PACKAGES.values()
    assert f"pip install {' '.join(packages)}" in commands("docs/onnx.md")
    extras = (ROOT / "requirements-extras.txt").read_text().splitlines()
    assert all(any(line.startswith(package) for line in extras) for package in packages)


def test_a_folder_with_other_things_is_not_replaced(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run / "model", tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other things"):
        export.export(tmp_path / "model", None)


def test_a_run_is_exported_where_its_model_is(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run / "run", tmp_path / "run")
    for name in (tmp_path / "run", tmp_path / "run" / "inference_model"):
        assert "1,000 of 1,000" in export.export(name, None)
    assert load_model(tmp_path / "run" / "inference_model").onnx
    assert json.loads((tmp_path / "run" / "inference_model" / "card.json").read_text())["onnx"]["opset"] == onnx.OPSET


def test_a_program_of_another_kind_is_exported_if_its_maker_is_trusted(small_run: Path, tmp_path: Path) -> None:
    from paddle.base.proto import framework_pb2

    saved = load_model(small_run / "model")
    description = framework_pb2.ProgramDesc()
    description.ParseFromString(saved.program)
    next(operator for operator in description.blocks[0].ops if operator.type == "relu").type = "abs"
    program = bytes(description.SerializeToString())
    other = replace(saved, folder=tmp_path / "model", program=program)
    save_model(other.folder, other)
    with pytest.raises(ModelError, match=r"operator abs.*--trust"):
        export.export(other.folder, None)
    assert "1,000 of 1,000" in export.export(other.folder, None, trust=True)
    assert read_model(other.folder).program == program
