"""What --log-to writes, read back by VisualDL's and TensorBoard's own records."""

from __future__ import annotations

import io
import re
import struct
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from results.log import read_results, read_steps
from results.run_folder import RunFolder
from tests.conftest import ROOT, Script
from training.callbacks.trackers import Tracking

Points = dict[str, list[tuple[int, Any]]]  # by tag: step, and value, image or counts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # VisualDL's dependencies


def visualdl_points(folder: Path) -> Points:
    from visualdl import LogReader

    [file] = folder.iterdir()
    points: Points = defaultdict(list)
    reader = LogReader(file_path=str(file))
    for kind, tags in reader.get_tags().items():
        for tag in tags:
            for each in reader.get_data(kind, tag):
                found = {"image": each.image.encoded_image_string, "histogram": each.histogram.hist}
                points[tag].append((each.id, found.get(kind, each.value)))
    return points


def tensorboard_points(folder: Path) -> Points:
    from tensorboardX.proto.event_pb2 import Event

    points: Points = defaultdict(list)
    for file in sorted(folder.iterdir()):
        data, start = file.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            event = Event.FromString(data[start + 12 : start + 12 + length])
            start += 16 + length
            for value in event.summary.value:
                found = {"image": value.image.encoded_image_string, "histo": value.histo.bucket}
                points[value.tag].append((event.step, found.get(value.WhichOneof("value"), value.simple_value)))
    return points


READERS: dict[str, Callable[[Path], Points]] = {"visualdl": visualdl_points, "tensorboard": tensorboard_points}


@pytest.fixture(scope="module")
def tracked(small_data: Path, script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two passes that was resumed for a third, its files damaged in between as by a crash."""
    folder = tmp_path_factory.mktemp("tracked")
    from tensorboardX.record_writer import masked_crc32c

    common = ("--figures", "none", "--log-to", "visualdl", "tensorboard")
    options = ("--data-dir", small_data, "--validation-size", 560, "--passes", 2, "--log-every", 4)
    places = ("--run-dir", folder / "run", "--save-dir", folder / "model")
    result = script("train.py", *options, *places, *common)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    assert "vdl" not in result.stdout.lower()
    for kind in READERS:
        for file in (folder / "run" / kind).iterdir():
            with file.open("ab") as cut_short:
                length = struct.pack("<Q", 1000)
                cut_short.write(length + struct.pack("<I", masked_crc32c(length)) + b"half a record")
    result = script("train.py", "--resume", folder / "run", "--passes", 3)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return folder / "run"


@pytest.mark.parametrize("kind", READERS)
def test_points_are_those_of_the_logs_once_each_also_after_resuming(tracked: Path, kind: str) -> None:
    points = READERS[kind](tracked / kind)
    rows, steps = read_results(tracked / "results.csv")[0], read_steps(tracked / "steps.csv")[0]
    assert len(rows) == 3 and len(steps) == 12
    for name in ("train_loss", "validation_accuracy", "test_accuracy"):
        expected = [(row.pass_number, pytest.approx(getattr(row, name))) for row in rows]
        assert sorted(points[f"pass/{name}"]) == expected
    expected = [((step.pass_number - 1) * 16 + step.step, pytest.approx(step.loss)) for step in steps]
    assert sorted(points["batch/loss"]) == expected
    assert [step for step, _ in sorted(points["batch/learning_rate"])] == list(range(4, 49, 4))


@pytest.mark.parametrize("kind", READERS)
def test_images_and_histograms_are_there_once_a_pass(tracked: Path, kind: str) -> None:
    points = READERS[kind](tracked / kind)
    for tag in ("filters", "wrong_answers", "parameters/conv1.weight", "parameters/norm._mean"):
        assert sorted(step for step, _ in points[tag]) == [1, 2, 3], tag
    image = np.asarray(Image.open(io.BytesIO(dict(points["filters"])[1])).convert("L"))
    assert image.shape == (4 * 2 * 6, 4 * 16 * 6)  # 20 filters of 5×5 in rows of 16, each pixel four times
    assert sum(dict(points["parameters/conv1.weight"])[1]) in (500, pytest.approx(500))


@pytest.mark.parametrize("kind", READERS)
def test_a_missing_package_is_one_line_before_anything_is_trained(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, {"visualdl": "visualdl", "tensorboard": "tensorboardX"}[kind], None)
    with pytest.raises(UsageError, match=rf'^--log-to {kind}: .* is not installed: pip install "{kind}X?=='):
        Tracking(kind, RunFolder(tmp_path), np.zeros((1, 28, 28), np.uint8), 1)  # type: ignore[arg-type]


def test_what_swanlab_takes_over_is_all_scalars_and_images(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's code, with a stand-in that listens to the methods that swanlab.sync_tensorboardX listens to."""
    from tensorboardX import SummaryWriter

    taken: list[tuple[str, int]] = []

    def listen() -> None:
        for name in ("add_scalar", "add_image"):
            original = getattr(SummaryWriter, name)

            def add(self: Any, tag: str, value: Any, step: int, original: Any = original, **options: Any) -> Any:
                taken.append((tag, step))
                return original(self, tag, value, step, **options)

            monkeypatch.setattr(SummaryWriter, name, add)

    started: list[dict[str, str]] = []
    stub = SimpleNamespace(sync_tensorboardX=listen, init=lambda **options: started.append(options))
    monkeypatch.setitem(sys.modules, "swanlab", stub)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(ROOT)
    own = ["--data", small_data, "--network", "lenet5_numpy", "--engine", "numpy", "--passes", 1, "--figures", "none"]
    own += ["--validation-size", 2400, "--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model"]
    pages = [(ROOT / page).read_text() for page in ("docs/figures.md", "docs/zh/figures.md")]
    [code] = {code for page in pages for code in re.findall(r"```py\n(.*?)```", page, re.DOTALL)}
    with pytest.raises(SystemExit) as leaving:
        exec(code.replace('"tensorboard"]', f'"tensorboard", *{list(map(str, own))}]'), {})
    points = tensorboard_points(tmp_path / "run" / "tensorboard")
    written = [(tag, step) for tag, found in points.items() if not tag.startswith("parameters/") for step, _ in found]
    assert leaving.value.code == 0 and started == [{"project": "lenet5", "mode": "offline"}]
    assert sorted(taken) == sorted(written) and ("pass/validation_loss", 1) in taken and ("filters", 1) in taken
