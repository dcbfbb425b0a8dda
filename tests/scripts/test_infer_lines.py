"""infer.py on rows of digits, on what holds none, and its confidence, as users run it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.dataset import Mnist
from model.predictor import Predictor
from model.saved_model import SavedModel, load_model
from recognition.annotate import DOUBTFUL, READ, Annotator, annotated
from recognition.output import rows_as_csv, rows_as_table
from recognition.picture import ORIENTATION, Limits
from recognition.reader import Answer, DigitReader, Failure
from recognition.row_answers import PageAnswer, PlacedDigit, RowAnswer, read_pages
from recognition.row_reader import RowReader
from recognition.strip import Rows
from recognition.workers import Unread, Workers
from tests.conftest import MODEL, Script
from tests.models import write_model


def row(mnist: Mnist, numbers: list[int]) -> np.ndarray:
    """Test digits side by side in thick pen, dark on light, [H, W] uint8; 7, 2, 1, 0 and 4 are the first five."""
    sheet = np.hstack([np.pad(mnist.test_images[number], ((12, 12), (8, 8))) for number in numbers])
    large = Image.fromarray(255 - sheet.astype(np.uint8)).resize((3 * sheet.shape[1], 3 * sheet.shape[0]))
    return np.asarray(large)


@pytest.fixture(scope="module")
def page(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows: 721 and 04."""
    rows = [row(mnist, [0, 1, 2]), row(mnist, [3, 4])]
    sheet = np.full((sum(len(each) for each in rows), rows[0].shape[1]), 255, np.uint8)
    top = 0
    for each in rows:
        sheet[top : top + len(each), : each.shape[1]] = each
        top += len(each)
    path = tmp_path_factory.mktemp("page") / "page.png"
    Image.fromarray(sheet).save(path)
    return path


def test_rows_are_read_placed_and_drawn(page: Path, script: Script, tmp_path: Path) -> None:
    drawn = tmp_path / "read.png"
    result = script("infer.py", "--model-dir", MODEL, "--lines", page, "--format", "json", "--annotate", drawn)
    assert (result.returncode, result.stderr) == (0, "")
    (record,) = map(json.loads, result.stdout.splitlines())
    assert record["path"] == str(page)
    assert [line["text"] for line in record["lines"]] == ["721", "04"]
    for line in record["lines"]:
        digits = line["digits"]
        assert "".join(digit["digit"] for digit in digits) == line["text"]
        assert line["probability"] == pytest.approx(np.prod([digit["probability"] for digit in digits]), abs=1e-4)
        left, top, width, height = line["box"]
        ink = np.asarray(Image.open(page))[top : top + height, left : left + width]
        assert min(ink[0].min(), ink[-1].min(), ink[:, 0].min(), ink[:, -1].min()) < 250  # no looser than it must be
        assert min(digit["box"][0] for digit in digits) == left
    with Image.open(drawn) as picture:
        assert picture.format == "PNG" and picture.width == 1000
        colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert (0x00, 0x72, 0xB2) in colours


def test_boxes_are_in_the_pixels_of_the_upright_picture(page: Path, tmp_path: Path) -> None:
    """Of a large photo, turned by its EXIF data, the reader sees a small copy."""
    with Image.open(page) as picture:
        large = picture.resize((5 * picture.width, 5 * picture.height))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned a quarter clockwise to be upright
    large.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.jpg", exif=exif)
    model, rows = load_model(MODEL), RowReader.load(MODEL)
    with Workers(Limits(max_seconds=30)) as workers:
        small, photo = read_pages(
            [str(page), str(tmp_path / "photo.jpg")],
            DigitReader(model, Predictor(model)),
            rows,
            workers,
        )
    assert isinstance(small, PageAnswer) and isinstance(photo, PageAnswer)
    assert max(photo.grey.shape) == 1800 and [line.text for line in photo.rows] == ["721", "04"]
    for before, after in zip(small.rows, photo.rows, strict=True):
        assert np.allclose(5 * np.array(before.box), after.box, atol=40)


def test_tables_of_lines(page: Path, mnist: Mnist, script: Script, tmp_path: Path) -> None:
    """As table and CSV; one digit is a line too, a blank page none."""
    Image.fromarray(mnist.test_images[0]).save(tmp_path / "one.png")
    Image.new("L", (200, 100), 255).save(tmp_path / "blank.png")
    pictures = ("--model-dir", MODEL, "--lines", page, tmp_path / "one.png", tmp_path / "blank.png")
    result = script("infer.py", *pictures, "--format", "csv", "--annotate", tmp_path / "drawn")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(each["line"], each["text"]) for each in rows] == [("1", "721"), ("2", "04"), ("1", "7"), ("", "")]
    assert "nothing to read" in rows[3]["error"] and rows[3]["no_digit"] == "true"
    assert all(int(each["width"]) > 0 and each["no_digit"] == "false" for each in rows[:3])
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["one.png", "page.png"]
    table = script("infer.py", *pictures).stdout.splitlines()
    assert [line.split()[0] for line in table] == ["number", "721", "04", "7"]


def test_a_folder_for_drawings_comes_with_the_first(tmp_path: Path) -> None:
    Annotator(tmp_path / "drawn")
    assert not list(tmp_path.iterdir())


def test_pictures_of_one_name_are_drawn_apart(page: Path, script: Script, tmp_path: Path) -> None:
    (tmp_path / "read-2.png").write_bytes(b"of an earlier run")
    script("infer.py", "--model-dir", MODEL, "--lines", page, page, "--annotate", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"page.png", "page-2.png", "read-2.png"}
    result = script("infer.py", "--model-dir", MODEL, "--lines", page, page, "--annotate", tmp_path / "one.png")
    assert result.returncode == 1 and "name a folder" in result.stderr and "Traceback" not in result.stderr


def placed(left: int, digit: str, probability: float, rejected: bool = False, no_digit: bool = False) -> PlacedDigit:
    box = (left, 40, 15, 30)
    return PlacedDigit(Answer("x", [(digit, probability)], rejected, no_digit), box, box)


def test_a_rejected_digit_leaves_a_gap() -> None:
    line = RowAnswer([placed(10, "2", 0.9), placed(40, "7", 0.5, rejected=True)])
    assert (line.text, line.rejected, line.no_digit) == ("2?", True, False)
    rows = [line, RowAnswer([placed(70, "1", 0.8, no_digit=True)])]
    page = PageAnswer("a\nb.png", rows, np.full((100, 100), 200, np.uint8))
    first, second = csv.reader(io.StringIO(rows_as_csv(page)))
    assert first[:6] == ["a\\nb.png", "1", "2?", "0.450000", "true", "false"] and second[5] == "true"
    assert rows_as_table(page).splitlines()[1].endswith("no digit?")
    with Image.open(io.BytesIO(annotated(page))) as picture:
        colours = {
            f"#{bytes(colour).hex().upper()}" for colour in np.unique(np.asarray(picture).reshape(-1, 3), axis=0)
        }
    assert {READ, DOUBTFUL} <= colours


def test_what_holds_no_digit_is_marked(script: Script, small_run: Path, mnist: Mnist, tmp_path: Path) -> None:
    """By any model that train.py saves; no error, and a digit is not marked."""
    side = np.abs(np.arange(28) - 13.5)
    for name, picture in {
        "disc": (np.hypot(*np.meshgrid(side, side)) < 13) * 200,
        "shirt": ((side < 7) | ((np.arange(28)[:, None] < 12) & (side < 13))) * 180,
        "seven": mnist.test_images[0],
    }.items():
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{name}.png")
    options = (tmp_path, "--model-dir", small_run / "model")
    result = script("infer.py", *options, "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")
    records = {Path(record["path"]).stem: record for record in map(json.loads, result.stdout.splitlines())}
    assert {name: record["no_digit"] for name, record in records.items()} == {
        "disc": True,
        "shirt": True,
        "seven": False,
    }
    assert all(record["digit"] is not None for record in records.values())
    marked = [line for line in script("infer.py", *options).stdout.splitlines() if "  no digit?" in line]
    assert len(marked) == 2
    rows = csv.DictReader(io.StringIO(script("infer.py", *options, "--format", "csv").stdout))
    assert [each["no_digit"] for each in rows] == ["true", "false", "true"]


def changed(model: SavedModel, folder: Path, **entries: object) -> Path:
    write_model(folder, model.program, model.parameters, {**model.card, **entries}, None, model.novelty)
    return folder


def test_probabilities_are_at_the_cards_temperature(small_run: Path, mnist: Mnist, tmp_path: Path) -> None:
    saved = load_model(small_run / "model")
    images = mnist.test_images[:50, None].astype(np.float32) / 127.5 - 1
    raw = Predictor(saved).probabilities(images)
    found = {}
    for temperature in (0.5, 2.0):
        model = load_model(changed(saved, tmp_path / str(temperature), temperature=temperature))
        found[temperature] = Predictor(model).calibrated(images)
        expected = raw ** (1 / temperature)
        assert found[temperature] == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-5)
    old = {name: value for name, value in saved.card.items() if name not in ("temperature", "calibration", "rejection")}
    write_model(tmp_path / "old", saved.program, saved.parameters, old)
    older = load_model(tmp_path / "old")
    assert older.temperature == 1 and older.novelty is None
    assert (Predictor(older).calibrated(images) == raw).all()


def test_the_error_rate_decides_what_is_rejected(small_run: Path, mnist: Mnist, script: Script, tmp_path: Path) -> None:
    for number in range(30):
        Image.fromarray(mnist.test_images[number]).save(tmp_path / f"{number:02}.png")
    saved = load_model(small_run / "model")
    table = {"images": 1000, "reject_below": [0.2, 0.97, 0.999], "rejected": [0, 20, 500], "errors": [40, 9, 1]}
    model = changed(saved, tmp_path / ".model", rejection={"validation": table})
    options = (tmp_path, "--model-dir", model, "--format", "json")
    records = [json.loads(line) for line in script("infer.py", *options, "--error-rate", 0.01).stdout.splitlines()]
    assert {record["rejected"] for record in records} == {True, False}
    assert all(record["rejected"] == (record["probability"] < 0.97) for record in records)
    result = script("infer.py", *options, "--error-rate", 0.001)
    assert result.returncode == 1 and "--error-rate 0.001" in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("temperature", [0, -1, "1", True, 1e9])
def test_a_temperature_that_is_none_is_refused(
    temperature: object, small_run: Path, script: Script, tmp_path: Path
) -> None:
    from model.saved_model import ModelError

    folder = changed(load_model(small_run / "model"), tmp_path / "model", temperature=temperature)
    with pytest.raises(ModelError, match="temperature"):
        load_model(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.png", "--error-rate", 2), "--error-rate 2"),
        (("x.png", "--error-rate", 0.1, "--reject-below", 0.5), "--error-rate 0.1"),
        (("x.png", "--annotate", "y.png"), "expected --lines"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[object, ...], message: str, script: Script) -> None:
    result = script("infer.py", *arguments)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and message in result.stderr


def test_hostile_rows_cost_no_more_than_they_may() -> None:
    """Thousands of possible cuts, as many pieces, and no picture: each told in a line, within its time and memory."""
    random = np.random.default_rng(0)
    grid = np.kron(random.random((64, 200)) < 0.5, np.ones((4, 3))) * 255
    comb = np.full((60, 640), 255)
    comb[28:32] = 0
    comb[10:50, ::6] = 0
    model = load_model(MODEL)
    pictures = []
    for picture in (grid, comb):
        file = io.BytesIO()
        Image.fromarray(picture.astype(np.uint8)).save(file, "PNG")
        pictures.append(file.getvalue())
    predictor = Predictor(model)
    images = np.zeros((1, 1, 28, 28), np.float32)
    with Workers(Limits(max_seconds=30)) as workers:
        specks, whole, none = (
            workers.read_rows(data, lambda asked: np.repeat(predictor.probabilities(images).max(), len(asked)))
            for data in (*pictures, b"none")
        )
        assert isinstance(specks, Unread) and specks.why.startswith("nothing to read")
        assert isinstance(whole, Unread | Rows)
        assert isinstance(none, Unread) and "\n" not in none.why
        (failure,) = read_pages(["no/such/file.png"], DigitReader(model, predictor), RowReader.load(MODEL), workers)
    assert isinstance(failure, Failure) and not failure.no_digit
