"""One reader of files: regular ones, of bounded size, and a model folder that is replaced meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError, UserError
from common.files import open_file, read_file
from model.saved_model import MODEL_FILES, README, ModelError, read_model
from recognition.picture import PictureError, read_picture
from results import log as results
from results.checkpoint import load_checkpoint
from results.log import StepsLog, expect_readable, read_results, read_steps
from results.predictions import read_predictions
from results.records import Row, Step, cells
from results.run_folder import RunFolder
from tests.models import write_model

# Each opens the file of that name in a folder.
READERS = {
    "run.json": lambda folder: RunFolder(folder).read_record(),
    "results.csv": lambda folder: read_results(folder / "results.csv"),
    "steps.csv": lambda folder: read_steps(folder / "steps.csv"),
    "0001-000000/manifest.json": lambda folder: load_checkpoint(folder),
    "pass-0001.safetensors": lambda folder: read_predictions(folder / "pass-0001.safetensors"),
    "card.json": lambda folder: read_model(folder),
    "7.png": lambda folder: read_picture(folder / "7.png"),
}
CARD = {
    "input": {"name": "image", "shape": [-1, 1, 28, 28], "low": 0, "high": 1, "fit": "none"},
    "labels": list("0123456789"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_not_waited_for(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises((OSError, UserError), match="not a regular file"):
        READERS[name](tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_a_file_without_end_is_not_read(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises((OSError, UserError), match="more than the expected"):
        READERS[name](tmp_path)


def test_a_file_of_exactly_the_limit_is_read_and_a_link_followed(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "file", 4) == read_file(tmp_path / "link", 4) == b"1234"
    with pytest.raises(OSError, match="more than the expected 3 bytes") as caught:
        read_file(tmp_path / "file", 3)
    assert caught.value.filename == str(tmp_path / "file")


def test_in_an_opened_folder_links_are_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            open_file(tmp_path / "link", folder)
    finally:
        os.close(folder)


def test_a_log_that_is_too_long_to_be_read_is_not_begun_again(tmp_path):
    path = tmp_path / "steps.csv"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UserError, match="more than the expected"):
        StepsLog(path)


def test_a_model_folder_is_whole_while_it_is_replaced(tmp_path):
    folder, done = tmp_path / "model", threading.Event()
    write_model(folder, b"0" * 1000, b"0" * 1000, CARD)

    def replace() -> None:
        for number in range(60):
            write_model(folder, b"%d" % number * 1000, b"%d" % number * 1000, CARD)
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    loads = 0
    try:
        while not done.is_set():
            model = read_model(folder)
            assert model.program == model.parameters
            loads += 1
    finally:
        writer.join()
    assert loads > 10


def test_a_damaged_model_folder_is_still_refused(tmp_path):
    write_model(tmp_path / "model", b"program", b"parameters", CARD)
    (tmp_path / "model" / "inference.pdmodel").unlink()
    with pytest.raises(ModelError, match=r"inference\.pdmodel: expected a file of the model, got: No such file"):
        read_model(tmp_path / "model")


@pytest.mark.parametrize("name", sorted({*MODEL_FILES} - {README}))
def test_a_changed_byte_of_any_file_of_a_model_is_noticed(name, tmp_path):
    write_model(tmp_path, b"program", b"parameters", CARD, b"onnx", b"novelty")
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 3  # the card's line end becomes a tab, which JSON takes too
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=rf"{name}: .*altered or damaged"):
        read_model(tmp_path)


def test_a_picture_error_names_no_traceback(tmp_path):
    with pytest.raises(PictureError, match="No such file"):
        read_picture(Path(tmp_path, "none.png"))


def test_logs_that_could_not_be_read_are_not_begun():
    """The longest rows that a run can have, as many as it may have, stay below the limit."""
    name = "ä" * 30
    step = Step(pass_number=10**6, step=10**6, loss=1 / 3e-300, accuracy=1 / 3, learning_rate=1e-5 / 3)
    counts: dict[str, Any] = {
        "validation_correct": 10**9,
        "validation_total": 10**9,
        "test_correct": 10**9,
        "test_total": 10**9,
    }
    ratios: dict[str, Any] = {"train_accuracy": 1 / 3, "validation_accuracy": 1.0, "test_accuracy": 1.0}
    others = ("train_loss", "validation_loss", "test_loss", "learning_rate", "seconds", "images_per_second")
    numbers: dict[str, Any] = dict.fromkeys(others, 1e300 / 3)
    row = Row(run=name, pass_number=10**6, best=True, **counts, **ratios, **numbers)
    assert len(results._line(cells(step))) <= results.LONGEST_STEP
    assert len(results._line(cells(row))) <= results.LONGEST_RESULT + 4 * len(name)
    most = results.LARGEST_RESULTS // (results.LONGEST_RESULT + 4 * len(name))
    expect_readable(name, most, 1, 100)
    with pytest.raises(UsageError, match=f"--passes {most + 1}: expected at most {most}"):
        expect_readable(name, most + 1, 1, 100)
    rows = results.LARGEST_STEPS // results.LONGEST_STEP
    expect_readable(name, 1, rows, 1)
    with pytest.raises(UsageError, match="--log-every 1: expected at least 2"):
        expect_readable(name, 1, rows + 1, 1)
