"""What a data set looks like is measured, recorded and used; what is implausible in it is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.signals import StopRequest
from data.dataset import Mnist, split
from data.plausibility import doubts
from model.calibration import TEMPERATURES, card_entries, fit_temperature
from model.saved_model import load_model
from recognition.kind import Images, PictureKind, kind_doubts
from recognition.output import model_line
from recognition.reader import Answer, DigitReader, recognise
from recognition.workers import Workers
from results.run_folder import RunFolder
from training.loop import train
from training.publish import Outcome
from training.settings import Settings


def filled(images: Images, stretched: bool = False) -> Images:
    """The digits enlarged until they touch the picture's rim, in the middle of their box."""
    pictures = np.zeros((len(images), 28, 28), np.uint8)
    for picture, image in zip(pictures, images, strict=True):
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        digit = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        factor = 28 / max(digit.shape)
        size = (28, 28) if stretched else tuple(max(1, round(side * factor)) for side in digit.shape[::-1])
        enlarged = np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BILINEAR))
        top, left = (28 - enlarged.shape[0]) // 2, (28 - enlarged.shape[1]) // 2
        picture[top : top + enlarged.shape[0], left : left + enlarged.shape[1]] = enlarged
    return pictures


KINDS: dict[str, tuple[Callable[[Images], Images], PictureKind]] = {
    "mnist": (lambda images: images, PictureKind()),
    "inverted": (lambda images: 255 - images, PictureKind(inverted=True)),
    "filled": (filled, PictureKind(box=28, placed="box")),
    "filled and inverted": (lambda images: 255 - filled(images), PictureKind(inverted=True, box=28, placed="box")),
    "faint and inverted": (
        lambda images: np.rint((255 - images) * np.float32(1 / 85)).astype(np.uint8),
        PictureKind(inverted=True, values=(0, 3)),
    ),
    "stretched": (lambda images: filled(images, stretched=True), PictureKind(box=28, placed="box", stretched=True)),
}


def part_of(mnist: Mnist, count: int, make: Callable[[Images], Images] = lambda images: images) -> Mnist:
    return replace(
        mnist,
        train_images=make(mnist.train_images[:count]),
        train_labels=mnist.train_labels[:count],
        test_images=make(mnist.test_images[:100]),
        test_labels=mnist.test_labels[:100],
    )


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_pictures_is_measured(mnist: Mnist, name: str) -> None:
    make, kind = KINDS[name]
    assert PictureKind.measure(make(mnist.train_images[:3000])) == kind


@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_made_alike(mnist: Mnist, name: str) -> None:
    make, kind = KINDS[name]
    images = mnist.test_images[:50]
    difference = np.abs(kind.apply(images).astype(int) - make(images))
    assert difference.mean() < 4  # of 255: rounding of places, and of sizes


def test_digits_of_many_sizes_have_no_kind(mnist: Mnist) -> None:
    sizes = np.random.default_rng(0).integers(4, 28, 200)
    images = np.zeros((200, 28, 28), np.uint8)
    for image, size in zip(images, sizes, strict=True):
        image[:size, :size] = 255
    assert PictureKind.measure(images) == PictureKind(sizes_vary=True)
    assert PictureKind.measure(3 - images // 85) == PictureKind(inverted=True, sizes_vary=True, values=(0, 3))
    assert PictureKind.measure(np.zeros((5, 28, 28), np.uint8)) is None


@pytest.mark.parametrize(
    "recorded",
    [
        None,
        3,
        {},
        {"box": "20"},
        {"box": 99},
        {"placed": "left"},
        {"other": 1},
        *({"values": bad} for bad in (None, 3, [], [0], [0, 1, 2], [5, 5], [-1, 9], ["0", "1"], [0, 256])),
    ],
)
def test_cards_without_a_sound_kind_mean_mnist(recorded: object) -> None:
    assert PictureKind.of_card({"pictures": recorded}) == PictureKind()


@pytest.mark.parametrize("name", ["inverted", "filled and inverted"])
def test_a_model_reads_pictures_of_the_kind_that_it_was_trained_on(mnist: Mnist, tmp_path: Path, name: str) -> None:
    make, kind = KINDS[name]
    data = part_of(mnist, 3000, make)
    settings = Settings(passes=3, validation_size=300, figures="none", save_dir=tmp_path / "model")
    train(settings, RunFolder(tmp_path / "run"), data=data)
    model = load_model(tmp_path / "model")
    assert model.card["pictures"] == kind.to_json()
    paths = []
    for number, image in enumerate(data.test_images):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(paths[-1])
    from model.predictor import Predictor
    from recognition.picture import Limits

    with Workers(Limits()) as workers:
        answers = list(recognise(paths, DigitReader(model, Predictor(model)), workers))
    read = [answer.digits[0][0] for answer in answers if isinstance(answer, Answer)]
    assert len(read) == 100
    right = sum(digit == str(label) for digit, label in zip(read, data.test_labels, strict=True))
    assert right >= model.card["scores"]["test"]["correct"] - 5


def lines(data: Mnist, validation_size: int = 500) -> str:
    training, validation = split(data, validation_size)
    kind = PictureKind.measure(training.images)
    return "\n".join([*doubts(data, training, validation), *kind_doubts(kind, data.test_images)])


def test_mnist_leaves_no_doubt(mnist: Mnist) -> None:
    assert lines(mnist, 5000) == ""


def test_implausible_data_is_reported_with_counts(mnist: Mnist) -> None:
    data = part_of(mnist, 3000)
    said = lines(replace(data, train_images=(data.train_images > 127).astype(np.uint8)))
    assert "training images: expected pixels of 0 to 255, got 0 to 1" in said and "test images: expected" not in said
    blank = data.train_images.copy()
    blank[:7] = 0
    assert "training images: 7 of 3000 are of one grey level" in lines(replace(data, train_images=blank))
    repeated = data.train_images.copy()
    repeated[1000:1100] = repeated[:100]
    assert "training images: 100 of 3000 repeat another" in lines(replace(data, train_images=repeated))
    leaked = data.test_images.copy()
    leaked[:9] = data.train_images[:9]
    assert "test images: 9 of 100 are training images too" in lines(replace(data, test_images=leaked))
    said = lines(replace(data, test_images=255 - data.test_images))
    assert "test images: digits dark on light" in said and "but the training images have digits light on dark" in said
    ones = replace(data, train_labels=np.ones(3000, np.uint8), test_labels=np.ones(100, np.uint8))
    assert "labels: all 3100 are 1" in lines(ones)


def test_classes_that_a_split_leaves_out_are_reported(mnist: Mnist) -> None:
    order = np.argsort(mnist.train_labels[:3000], kind="stable")
    data = part_of(mnist, 3000)
    by_class = replace(data, train_images=data.train_images[order], train_labels=data.train_labels[order])
    said = lines(by_class, 200)
    count = int(np.count_nonzero(data.train_labels == 9) + np.count_nonzero(data.test_labels == 9))
    assert "validation images: none of the 200 is of class 0, 1, 2, 3, 4, 5, 6, 7, 8," in said
    said = lines(by_class, int(np.count_nonzero(data.train_labels == 9)))
    assert (
        f"training images: none of the {3000 - count + int(np.count_nonzero(data.test_labels == 9))} is of class 9"
        in said
    )
    few = data.train_labels.copy()
    few[few == 4] = 5
    few[:3] = 4
    assert "training images: few of class 4 (3)" in lines(replace(data, train_labels=few))


def test_a_run_reports_doubts(mnist: Mnist, tmp_path: Path) -> None:
    from training.callbacks.callback import Callback

    said: list[str] = []

    class Messages(Callback):
        def on_message(self, line: str) -> None:
            said.append(line)

        def on_published(self, outcome: Outcome) -> None:
            said.append("published")

    data = part_of(mnist, 300)
    data = replace(data, train_images=(data.train_images > 127).astype(np.uint8))
    settings = Settings(passes=1, validation_size=50, figures="none", save_dir=tmp_path / "model")
    train(settings, RunFolder(tmp_path / "run"), [Messages()], StopRequest(), data)
    published = said.index("published")
    for part in (said[:published], said[published:]):
        assert any(
            line.startswith("warning: training images: expected pixels of 0 to 255, got 0 to 1") for line in part
        )
    assert sum("recorded in card.json" in line for line in said[:published]) == 1
    assert not any("recorded in card.json" in line for line in said[published:])
    assert load_model(tmp_path / "model").card["pictures"]["values"] == [0, 1]


def test_pictures_of_no_usual_size_are_recorded_and_said_above_the_answers(mnist: Mnist, tmp_path: Path) -> None:
    data = part_of(mnist, 300)
    images = data.train_images.copy()
    for number, image in enumerate(images):
        image[:, number % 25 + 3 :] = 0
        image[number % 25 + 3 :] = 0
    settings = Settings(passes=1, validation_size=50, figures="none", save_dir=tmp_path / "model")
    train(settings, RunFolder(tmp_path / "run"), data=replace(data, train_images=images))
    card = load_model(tmp_path / "model").card
    assert card["pictures"] == PictureKind(sizes_vary=True).to_json()
    assert "trained on digits of no usual size" in model_line(tmp_path, card)
    assert "usual size" not in model_line(tmp_path, {**card, "pictures": PictureKind().to_json()})


def logits(right: float, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of one confidence, of which a share is right."""
    labels = np.arange(count) % 10
    answers = np.where(np.arange(count) < right * count, labels, (labels + 1) % 10)
    probabilities = np.full((count, 10), 0.1 / 9)
    probabilities[np.arange(count), answers] = 0.9
    return np.log(probabilities), labels


def mean_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("right", [0.0, 0.05, 0.1])
def test_a_temperature_at_a_bound_is_not_taken(right: float) -> None:
    assert fit_temperature(*logits(right)) == 1.0


def test_a_temperature_that_does_not_lower_the_loss_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probabilities, labels = logits(0.6)
    assert TEMPERATURES[0] < fit_temperature(log_probabilities, labels) != 1.0

    class Found:
        x, fun = float(np.log(0.5)), mean_loss(log_probabilities, labels) + 1e-9

    monkeypatch.setattr("scipy.optimize.minimize_scalar", lambda *args, **options: Found)
    assert fit_temperature(log_probabilities, labels) == 1.0


def test_a_temperature_that_was_set_aside_is_recorded_and_reported(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.callbacks.callback import Callback

    assert card_entries(logits(0.05), logits(0.5))["calibration"]["set_aside"] is True
    assert "set_aside" not in card_entries(logits(0.6), logits(0.5))["calibration"]
    assert "set_aside" not in card_entries(logits(1.0), logits(0.5))["calibration"]  # without an error to learn from
    assert "set_aside" not in card_entries(None, logits(0.05))["calibration"]
    said: list[str] = []

    class Messages(Callback):
        def on_message(self, line: str) -> None:
            said.append(line)

    data = part_of(mnist, 300)
    for name, aside in (("aside", 1.0), ("taken", 1.5)):
        monkeypatch.setattr("model.calibration.fit_temperature", lambda *answers, found=aside: found)
        settings = Settings(passes=1, validation_size=50, figures="none", save_dir=tmp_path / name)
        train(settings, RunFolder(tmp_path / f"run of {name}"), [Messages()], data=data)
        assert load_model(tmp_path / name).card["calibration"].get("set_aside", False) is (name == "aside")
    assert sum(line.startswith("temperature: set aside") for line in said) == 1
