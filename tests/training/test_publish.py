"""Publishing into a folder that holds the released model, an earlier one, and a README.md that its user edited."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from data.dataset import Mnist
from model.saved_model import README, RELEASED, load_model
from results.run_folder import RunFolder
from tests.conftest import MODEL
from tests.training.test_own_data import with_classes
from training.callbacks.console import ProgressDisplay
from training.loop import train
from training.settings import Settings


def test_the_released_model_and_an_edited_page_survive(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Path("inference_model")
    shutil.copytree(MODEL, model / RELEASED)
    data, said = with_classes(mnist, 10), []
    for run in ("first", "second"):
        settings = Settings(
            passes=1,
            validation_size=20,
            save_dir=model,
            figures="none",
            engine="numpy",
            network="lenet5_numpy",
        )
        out = io.StringIO()
        train(settings, RunFolder(tmp_path / run), [ProgressDisplay(Console(file=out, width=400))], data=data)
        said.append(out.getvalue())
        assert (model / RELEASED / "card.json").read_bytes() == (MODEL / "card.json").read_bytes()
        assert load_model(model).card["run"] == run
        (model / README).write_text("mine")
    assert (model / README).read_text() == "mine"
    for line in said:
        assert f"infer.py --model-dir {model / RELEASED}" in line
    assert "replacing" not in said[0] and "replacing lenet5_numpy, pass 1 of first" in said[1]
    assert "kept as you edited it" not in said[0] and f"{README}: kept as you edited it" in said[1]
    new = [line for line in said[1].splitlines() if line.startswith(("published", "the released", str(model)))]
    assert len(new) == 3 and max(map(len, new)) <= 80
