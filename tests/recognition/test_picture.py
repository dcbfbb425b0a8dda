"""Any picture -> MNIST's image: each property of a photograph on its own, and files that mean harm."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from common.errors import UserError
from data.dataset import Mnist
from model.image import network_input
from model.predictor import Predictor
from model.saved_model import load_model
from recognition.digit import to_mnist
from recognition.picture import Limits, PictureError, read_picture
from recognition.workers import Unread, Workers
from tests.conftest import MODEL, ROOT

SHARED = ROOT.parent / "shared" / "pictures"


def drawing(
    mnist: Mnist, number: int, paper: int = 225, pen: int = 40, factor: int = 8, margin: int = 60
) -> np.ndarray:
    """A test digit as a pen would have drawn it on a sheet, [H, W] float32 grey levels."""
    smooth = ndimage.gaussian_filter(ndimage.zoom(mnist.test_images[number] / 255, factor, order=1), factor / 4)
    ink = np.pad(np.clip((smooth - 0.35) / 0.3, 0, 1), margin)
    return (paper * (1 - ink) + pen * ink).astype(np.float32)


def as_file(grey: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(data, kind, **options)
    return data.getvalue()


def likeness(image: np.ndarray, original: np.ndarray) -> float:
    """Correlation of two images' pixels."""
    return float(np.corrcoef(image.ravel(), original.ravel())[0, 1])


def test_all_of_mnist_passes_unchanged_and_so_do_negatives(mnist: Mnist) -> None:
    for image in (*mnist.test_images, *mnist.train_images[::20]):
        assert to_mnist(image) is image
    for image in mnist.test_images[:500]:
        assert np.array_equal(to_mnist(255 - image), image)


def test_a_drawing_becomes_the_image_it_was_made_from(mnist: Mnist) -> None:
    for number in range(20):
        image = to_mnist(read_picture(as_file(drawing(mnist, number))))
        assert likeness(image, mnist.test_images[number]) > 0.75, number
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)


def _negative(grey: np.ndarray) -> np.ndarray:
    return 255 - grey


def _uneven_light(grey: np.ndarray) -> np.ndarray:
    return grey * np.linspace(1, 0.45, grey.shape[1])


def _squared_paper(grey: np.ndarray) -> np.ndarray:
    lined = grey.copy()
    for start in range(20, max(grey.shape), 70):
        lined[start : start + 2] = np.minimum(lined[start : start + 2], 170)
        lined[:, start : start + 2] = np.minimum(lined[:, start : start + 2], 170)
    return lined


def _grain(grey: np.ndarray) -> np.ndarray:
    return grey + np.random.default_rng(0).normal(0, 12, grey.shape)


def _specks(grey: np.ndarray) -> np.ndarray:
    spotted = grey.copy()
    for row, column in np.random.default_rng(0).integers(0, min(grey.shape) - 4, (12, 2)):
        spotted[row : row + 3, column : column + 3] = 40
    return spotted


def _dark_edge(grey: np.ndarray) -> np.ndarray:
    edged = grey.copy()
    edged[:, :14] *= 0.3
    edged[-10:] *= 0.3
    return edged


def _off_centre(grey: np.ndarray) -> np.ndarray:
    return np.pad(grey, ((0, 300), (200, 0)), constant_values=225)


@pytest.mark.parametrize(
    "spoil",
    [_negative, _uneven_light, _squared_paper, _grain, _specks, _dark_edge, _off_centre],
    ids=lambda f: f.__name__,
)
def test_what_photographs_add_is_taken_away(spoil, mnist: Mnist) -> None:
    likenesses = []
    for number in range(12):
        image = to_mnist(read_picture(as_file(spoil(drawing(mnist, number)), "JPEG", quality=85)))
        likenesses.append(likeness(image, mnist.test_images[number]))
    assert np.median(likenesses) > 0.85 and min(likenesses) > 0.7, likenesses


def test_thin_strokes_are_thickened(mnist: Mnist) -> None:
    thin = ndimage.grey_dilation(
        drawing(mnist, 0), size=(13, 13)
    )  # the pen's stroke, but for its middle, turned to paper
    image = to_mnist(read_picture(as_file(thin)))
    assert (image > 127).sum() > 0.6 * (mnist.test_images[0] > 127).sum()


def test_a_detached_bar_belongs_to_its_digit() -> None:
    sheet = np.full((300, 300), 230, np.float32)
    sheet[100:220, 140:150] = 30
    sheet[80:90, 150:210] = 30  # near, not touching
    both = to_mnist(read_picture(as_file(sheet)))
    sheet[80:90, 150:210] = 230
    alone = to_mnist(read_picture(as_file(sheet)))
    assert np.count_nonzero(both.any(axis=0)) > 2 * np.count_nonzero(alone.any(axis=0))


def test_exif_orientation(mnist: Mnist) -> None:
    grey = drawing(mnist, 0)
    upright = to_mnist(read_picture(as_file(grey)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270° to see it upright
    turned = to_mnist(read_picture(as_file(np.rot90(grey), "JPEG", exif=exif, quality=95)))
    assert likeness(turned, upright) > 0.95


@pytest.mark.parametrize("pen", [0, 255])
def test_transparent_paper(pen: int, mnist: Mnist) -> None:
    alpha = 255 - drawing(mnist, 3, paper=255, pen=0)
    picture = Image.merge("LA", [Image.new("L", alpha.shape[::-1], pen), Image.fromarray(alpha.astype(np.uint8))])
    data = io.BytesIO()
    picture.save(data, "PNG")
    assert likeness(to_mnist(read_picture(data.getvalue())), mnist.test_images[3]) > 0.9


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("P", "GIF"), ("RGB", "WEBP"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("I;16", "TIFF"), ("F", "TIFF")],
)
def test_every_mode_is_read(mode: str, kind: str, mnist: Mnist) -> None:
    grey = drawing(mnist, 1)
    if mode == "I;16":
        picture = Image.fromarray((grey * 200).astype(np.uint16))
    elif mode == "F":
        picture = Image.fromarray(grey / 1000)
    else:
        picture = Image.fromarray(grey.astype(np.uint8)).convert(mode)
    data = io.BytesIO()
    picture.save(data, kind)
    assert likeness(to_mnist(read_picture(data.getvalue())), mnist.test_images[1]) > 0.9


def test_large_and_tiny_pictures(mnist: Mnist) -> None:
    large = read_picture(as_file(drawing(mnist, 2, factor=60, margin=500), "JPEG"))
    assert max(large.shape) <= 640
    assert likeness(to_mnist(large), mnist.test_images[2]) > 0.9
    tiny = np.asarray(Image.fromarray(255 - mnist.test_images[2]).resize((12, 12), Image.Resampling.BOX))
    assert likeness(to_mnist(read_picture(as_file(tiny))), mnist.test_images[2]) > 0.75


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (28, 28), (200, 300)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_to_read(shape: tuple[int, int], level: int) -> None:
    with pytest.raises(PictureError, match="nothing to read"):
        to_mnist(read_picture(as_file(np.full(shape, level))))


def test_blank_paper_with_grain_is_nothing_to_read() -> None:
    grain = np.random.default_rng(1).normal(0, 6, (300, 300))
    with pytest.raises(PictureError, match="nothing to read"):
        to_mnist(read_picture(as_file(200 + grain)))


def test_limits() -> None:
    data = as_file(np.zeros((50, 50)))
    with pytest.raises(PictureError, match="expected at most 2499 pixels, got 50×50"):
        read_picture(data, Limits(max_pixels=2499))
    with pytest.raises(PictureError, match="expected at most 10 bytes"):
        read_picture(data, Limits(max_bytes=10))


def test_a_bomb_is_refused_by_its_header() -> None:
    """A 5 kB PNG that says it has 60,000 × 60,000 pixels."""
    data = bytearray(as_file(np.zeros((8, 8))))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(PictureError):
        read_picture(bytes(data))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    for name in ("pipe", "dangling", "empty", "missing", ".", "with\0nul"):
        with pytest.raises(PictureError):
            read_picture(tmp_path / name)
    with pytest.raises(PictureError):
        read_picture(Path("/dev/zero"))


@pytest.mark.parametrize("trials", [40, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "PPM"])
def test_damaged_files_are_read_or_refused(kind: str, trials: int, mnist: Mnist) -> None:
    """Truncation and bit flips; nothing but a UserError may come out, and no warning."""
    whole = as_file(drawing(mnist, 4, factor=2, margin=5), kind)
    random.seed(kind)
    for trial in range(trials):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            del damaged[random.randrange(len(damaged)) :]
        for _ in range(trial % 5 + (trial % 3 > 0)):
            if damaged:
                damaged[random.randrange(min(len(damaged), 200 if trial % 2 else len(damaged)))] = random.randrange(256)
        try:
            image = to_mnist(read_picture(bytes(damaged), Limits(max_pixels=1_000_000)))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert image.shape == (28, 28) and image.dtype == np.uint8


@pytest.fixture(scope="module")
def workers():
    with Workers(Limits(max_seconds=60)) as ready:  # none but the test of the limit is about time
        yield ready


def test_workers_read_in_order_and_name_what_fails(workers: Workers, mnist: Mnist, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    sources: list[str | bytes] = [
        as_file(mnist.test_images[0]),
        str(tmp_path / "text.png"),
        as_file(mnist.test_images[1]),
    ]
    first, refused, second = workers.read(sources)
    assert isinstance(first, np.ndarray) and np.array_equal(first, mnist.test_images[0])
    assert isinstance(second, np.ndarray) and np.array_equal(second, mnist.test_images[1])
    assert isinstance(refused, Unread) and "no known format" in refused.why


def _worker_pids() -> set[int]:
    return {process.pid for process in multiprocessing.active_children() if process.pid}


def test_a_crashed_worker_is_replaced(mnist: Mnist) -> None:
    data = as_file(mnist.test_images[0])
    others = _worker_pids()
    with Workers(Limits(max_seconds=60)) as workers:
        assert all(isinstance(answer, np.ndarray) for answer in workers.read([data] * 8))
        for pid in _worker_pids() - others:
            os.kill(pid, signal.SIGKILL)
        answers = list(workers.read([data] * 20))
        crashed = [answer.why for answer in answers if isinstance(answer, Unread)]
        assert 1 <= len(crashed) <= len(os.sched_getaffinity(0)) and set(crashed) == {"the decoder crashed"}


def test_a_picture_that_takes_too_long_is_given_up(mnist: Mnist) -> None:
    slow = as_file(drawing(mnist, 0, factor=60, margin=500))
    with Workers(Limits(max_seconds=0.001)) as workers:
        (answer,) = workers.read([slow])
        assert answer == Unread("not read within 0.001 s of processor time (--max-seconds)")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs strangers' handwriting, which this project does not ship")
def test_strangers_handwriting(workers: Workers) -> None:
    saved = load_model(MODEL)
    predictor, spec = Predictor(saved), saved.image

    def right(folder: str) -> int:
        files = sorted(path for path in (SHARED / folder).rglob("*__*"))
        images = np.stack([np.asarray(image) for image in workers.read(list(map(str, files)))])
        inputs = network_input(images, spec)
        answers = predictor.probabilities(inputs).argmax(axis=1)
        return sum(str(answer) == path.name[0] for answer, path in zip(answers, files, strict=True))

    assert right("drawn") == 20
    assert right("single") >= 72


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs odd files, which this project does not ship")
def test_odd_files(workers: Workers) -> None:
    valid = [str(path) for path in sorted((SHARED / "odd" / "valid").iterdir())]
    for path, answer in zip(valid, workers.read(valid), strict=True):
        assert isinstance(answer, np.ndarray) or answer.why.startswith("nothing to read"), (path, answer)
    malformed = [str(path) for path in sorted((SHARED / "odd" / "malformed").iterdir())]
    for path, answer in zip(malformed, workers.read(malformed), strict=True):
        said = "" if isinstance(answer, np.ndarray) else answer.why
        assert "\n" not in said and "not read within" not in said, (path, said)
