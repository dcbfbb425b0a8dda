"""infer.py as users run it, with the model of a small run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from paddle import inference
from PIL import Image

from common.checksummed import load_checksummed
from data.dataset import Mnist, load_mnist
from docs.tables.__main__ import RELEASED_CARD
from model.image import ImageSpec, network_input
from model.networks import NETWORKS
from model.predictor import Predictor
from model.saved_model import holds_only_a_model, load_model
from recognition.names import find_pictures
from recognition.output import as_csv
from recognition.picture import Limits
from recognition.reader import Answer, DigitReader, Failure, recognise
from recognition.workers import Workers
from tests.conftest import MODEL, ROOT, Script


@pytest.fixture(scope="module")
def pictures(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve test images as PNG files named by their label, two of them in a folder below."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for number in range(12):
        name = f"{number:02d}_is_{mnist.test_labels[number]}.png"
        Image.fromarray(mnist.test_images[number]).save(folder / ("more" if number >= 10 else "") / name)
    return folder


def answers_of_the_model(folder: Path, images: np.ndarray) -> np.ndarray:
    saved = load_model(folder)
    return Predictor(saved).calibrated(network_input(images, ImageSpec(size=28, low=-1.0, high=1.0, fit="none")))


def test_json_tells_every_picture_in_order(small_run: Path, pictures: Path, mnist: Mnist, script: Script) -> None:
    result = script(
        "infer.py", pictures, "--model-dir", small_run / "model", "--format", "json", "--top-k", 2, fresh=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(record["path"]).name[:2] for record in records] == [f"{number:02d}" for number in range(12)]
    expected = answers_of_the_model(small_run / "model", mnist.test_images[:12])
    for record, probabilities in zip(records, expected, strict=True):
        order = np.argsort(-probabilities)[:2]
        assert record["digit"] == str(order[0]) and not record["rejected"]
        assert record["probability"] == pytest.approx(probabilities[order[0]], abs=1e-5)
        assert [entry["digit"] for entry in record["top"]] == [str(digit) for digit in order]


def test_every_small_data_image_gets_the_evaluation_programs_answer(
    small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    """As PNG files and as arrays: the same answers, whatever way they came."""
    images = load_mnist(small_data).test_images
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:05d}.png")
    model = load_model(small_run / "model")
    with Workers(Limits()) as workers:
        read = list(recognise(find_pictures([str(tmp_path)]), DigitReader(model, Predictor(model)), workers))
    assert all(isinstance(answer, Answer) for answer in read)
    digits = [int(answer.digits[0][0]) for answer in read if isinstance(answer, Answer)]
    assert digits == answers_of_the_model(small_run / "model", images).argmax(axis=1).tolist()


def test_csv_and_table(small_run: Path, pictures: Path, script: Script) -> None:
    options = (pictures, "--model-dir", small_run / "model")
    rows = list(csv.DictReader(io.StringIO(script("infer.py", *options, "--format", "csv").stdout)))
    columns = ["path", "digit", "probability", "rejected", "top", "error", "no_digit", "several"]
    assert len(rows) == 12 and list(rows[0]) == columns
    table = script("infer.py", *options).stdout.splitlines()
    assert len(table) == 13
    for row, line in zip(rows, table[1:], strict=True):
        assert line.split()[0] == row["digit"] and line.endswith(row["path"])


def test_standard_input(small_run: Path, pictures: Path, script: Script) -> None:
    data = next(pictures.glob("00_*.png")).read_bytes()
    options = ("--model-dir", small_run / "model", "--format", "json")
    result = script("infer.py", "-", *options, input=data, text=False)
    record = json.loads(result.stdout)
    assert result.returncode == 0 and record["path"] == "-" and len(record["top"]) == 3


def test_rejection(small_run: Path, pictures: Path, script: Script) -> None:
    options = (pictures, "--model-dir", small_run / "model", "--format", "json", "--reject-below", 0.9)
    records = [json.loads(line) for line in script("infer.py", *options).stdout.splitlines()]
    assert [record["rejected"] for record in records] == [record["probability"] < 0.9 for record in records]
    assert all((record["digit"] is None) == record["rejected"] for record in records)


def test_bad_pictures_are_named_and_the_rest_is_done(small_run: Path, pictures: Path, script: Script, tmp_path) -> None:
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "a_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (tmp_path / "pictures" / "b_empty.jpg").write_bytes(b"")
    (tmp_path / "pictures" / "c_new\nline.txt").write_text("not a picture")
    Image.new("L", (50, 50), 255).save(tmp_path / "pictures" / "d_blank.png")
    (tmp_path / "pictures" / "e_dangling.png").symlink_to(tmp_path / "nowhere")
    missing = tmp_path / "missing.png"
    result = script("infer.py", tmp_path / "pictures", missing, "--model-dir", small_run / "model", "--format", "json")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert sum("digit" in record for record in records) == 12
    failed = [record["path"] for record in records if "error" in record]
    assert [Path(path).name[:2] for path in failed] == ["a_", "b_", "c_", "d_", "e_", "mi"]
    assert len(result.stderr.splitlines()) == 6


@pytest.mark.parametrize("damage", ["missing", "altered", "truncated", "no card", "card of another", "link"])
def test_a_model_that_is_not_whole_is_refused(
    damage: str, small_run: Path, pictures: Path, script: Script, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(small_run / "model", model)
    parameters, card = model / "inference.pdiparams", model / "card.json"
    data = parameters.read_bytes()
    if damage == "missing":
        shutil.rmtree(model)
    elif damage == "altered":
        parameters.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    elif damage == "truncated":
        parameters.write_bytes(data[:-1])
    elif damage == "no card":
        card.unlink()
    elif damage == "card of another":
        card.write_text(card.read_text().replace('"format": 1', '"format": 99'))
    else:
        parameters.unlink()
        parameters.symlink_to(small_run / "model" / "inference.pdiparams")
    result = script("infer.py", pictures, "--model-dir", model)
    assert result.returncode == 1 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and str(model) in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no pictures"),
        (("",), "empty name"),
        (("x.png", "--top-k", 0), "--top-k 0"),
        (("x.png", "--reject-below", 2), "--reject-below"),
        (("x.png", "--format", "xml"), "xml"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[object, ...], message: str, script: Script) -> None:
    result = script("infer.py", *arguments)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and message in result.stderr


def test_the_tests_model_is_the_released_one() -> None:
    """The one that answers by default may be another by now, of `make train`. It is whole, whatever it is."""
    released, logged = (load_checksummed(path.read_bytes()) for path in (MODEL / "card.json", RELEASED_CARD))
    del released["files"]["README.md"]  # made of the card, and later than its run
    assert {**released, "sha256": ""} == {**logged, "sha256": ""}
    for folder in (MODEL, ROOT / "inference_model"):
        assert holds_only_a_model(folder)
        assert load_model(folder).card["network"] in NETWORKS


def test_released_model_reads_mnist(mnist: Mnist) -> None:
    """The released model is what its card says: the same 10,000 answers, on whatever Paddle this is."""
    saved = load_model(MODEL)
    images = network_input(mnist.test_images, saved.image)
    answers = Predictor(saved).probabilities(images).argmax(axis=1)
    assert int((answers == mnist.test_labels).sum()) == saved.card["scores"]["test"]["correct"]


def test_many_images_go_the_faster_way_which_answers_alike(small_run: Path, mnist: Mnist) -> None:
    saved = load_model(small_run / "model")
    images = network_input(mnist.test_images[:400], ImageSpec(size=28, low=-1.0, high=1.0, fit="none"))
    predictor = Predictor(saved)
    proven = predictor._predictor
    one_by_one = np.concatenate([predictor.probabilities(images[n : n + 1]) for n in range(20)])
    assert predictor._predictor is proven
    many = predictor.probabilities(images)
    assert (predictor._predictor is not proven) == hasattr(inference.Config, "enable_new_ir")
    np.testing.assert_allclose(many[:20], one_by_one, atol=1e-6)
    slower = Predictor(saved)
    slower._take_faster, own = None, slower._predictor
    expected = slower.probabilities(images)
    assert slower._predictor is own
    np.testing.assert_allclose(many, expected, atol=1e-6)
    np.testing.assert_array_equal(many.argmax(axis=1), expected.argmax(axis=1))


def test_a_missing_folder_of_pictures_is_a_failure(small_run: Path) -> None:
    model = load_model(small_run / "model")
    with Workers(Limits()) as workers:
        answers = list(recognise(find_pictures(["no/such/folder"]), DigitReader(model, Predictor(model)), workers))
    assert len(answers) == 1 and isinstance(answers[0], Failure)


def test_a_folder_without_pictures_is_told(small_run: Path, script: Script, tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").touch()
    result = script("infer.py", tmp_path, "--model-dir", small_run / "model", "--format", "json")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: {tmp_path}: expected pictures, found none\n"


def test_csv_keeps_long_paths_whole_and_a_row_a_line() -> None:
    path = f"{'long/' * 100}new\nline.png"
    for answer in (Answer(path, [("7", 0.9)], rejected=False), Failure(path, "no known format")):
        (row,) = csv.reader(io.StringIO(as_csv(answer)))
        assert row[0] == path.replace("\n", "\\n")
