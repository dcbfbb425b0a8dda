"""MNIST as the networks take it: the real data, splits, orders, batches, and pixels in a network's size and range."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from common.errors import UsageError
from data import sources
from data.dataset import Mnist, batches, load_mnist, pass_order, split
from data.formats import idx
from model.image import ImageSpec, network_input

ROOT = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
EVERY_BYTE = np.resize(np.arange(256, dtype=np.uint8), (1, 28, 28))


@pytest.fixture(scope="module")
def mnist() -> Mnist:
    """The real one, from where users get it."""
    return load_mnist()


def test_real_mnist_is_mnist(mnist: Mnist) -> None:
    assert mnist.train_images.shape == (60000, 28, 28)
    assert mnist.test_images.shape == (10000, 28, 28)
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    arrays = (mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels)
    sums = [hashlib.sha256(idx.encode(array)).hexdigest() for array in arrays]
    assert sums == list(mnist.sums.values()) == list(sources.SUMS.values())


def test_the_data_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sources.Found({name: IMAGES.copy() for name in sources.SUMS}, {}, "here")
    monkeypatch.setattr(sources, "find", lambda *_: found)
    loaded = load_mnist()
    with pytest.raises(ValueError, match="read-only"):
        loaded.train_images[0, 0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.source = "elsewhere"  # type: ignore[misc]


def test_another_data_set_of_the_same_format_is_loaded_from_a_folder(tmp_path: Path) -> None:
    arrays = [IMAGES[:12], np.arange(12, dtype=np.uint8) % 10, IMAGES[12:], np.arange(8, dtype=np.uint8)]
    for name, array in zip(sources.SUMS, arrays, strict=True):
        (tmp_path / name).write_bytes(idx.encode(array))
    loaded = load_mnist(tmp_path)
    for got, array in zip(dataclasses.astuple(loaded), arrays, strict=False):
        np.testing.assert_array_equal(got, array)
    assert loaded.source == str(tmp_path)


def test_validation_is_the_last_of_the_training_images(mnist: Mnist) -> None:
    train, validation = split(mnist, 5000)
    assert (len(train), len(validation)) == (55000, 5000)
    np.testing.assert_array_equal(validation.images, mnist.train_images[55000:])
    np.testing.assert_array_equal(np.append(train.labels, validation.labels), mnist.train_labels)
    train, validation = split(mnist, 0)
    assert (len(train), len(validation)) == (60000, 0)


@pytest.mark.parametrize("size", [-1, 60000, 60001])
def test_a_split_that_makes_no_sense_is_wrong_use(mnist: Mnist, size: int) -> None:
    with pytest.raises(UsageError, match=f"expected 0 to 59999 of 60000 images, got {size}"):
        split(mnist, size)


@given(
    st.integers(0, 300),
    st.integers(0, 2**70),
    st.integers(0, 1000),
    st.integers(1, 400) | st.just("all"),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_every_image_comes_once_in_every_pass(
    count: int, seed: int, pass_number: int, buffer: int | Literal["all"], batch_size: int
) -> None:
    cut = list(batches(pass_order(count, seed, pass_number, buffer), batch_size))
    assert all(len(batch) == batch_size for batch in cut[:-1])
    assert sorted(np.concatenate([[], *cut])) == list(range(count))


def test_a_buffer_of_n_shuffles_each_n_images_among_themselves() -> None:
    order = pass_order(1000, 1, 0, 512)
    assert order.dtype == np.int64
    for part in (slice(0, 512), slice(512, 1000)):
        assert sorted(order[part]) == list(range(1000))[part]
        assert not np.array_equal(order[part], range(1000)[part])
    np.testing.assert_array_equal(pass_order(1000, 1, 0, 1), range(1000))
    np.testing.assert_array_equal(pass_order(1000, 1, 0, "all"), pass_order(1000, 1, 0, 1000))
    # A full shuffle moves an image by a third of the length on average.
    assert abs(np.abs(pass_order(10000, 1, 0, "all") - np.arange(10000)).mean() / 10000 - 1 / 3) < 0.01


def test_an_order_depends_on_seed_and_pass_and_nothing_else() -> None:
    orders = {pass_order(100, seed, number, "all").tobytes() for seed in range(10) for number in range(10)}
    assert len(orders) == 100
    np.random.seed(7)
    script = "from data.dataset import pass_order; print(pass_order(100, 3, 4, 'all').tolist())"
    other = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True)
    assert other.stdout.strip() == str(pass_order(100, 3, 4, "all").tolist())


@pytest.mark.parametrize(("seed", "buffer"), [(-1, "all"), (0, 0), (0, -5)])
def test_an_order_that_makes_no_sense_is_wrong_use(seed: int, buffer: int | Literal["all"]) -> None:
    with pytest.raises(UsageError, match="expected"):
        pass_order(10, seed, 0, buffer)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.1, 1.175), (0.0, 1.0), (0.0, 255 / 256), (-0.1307, 0.8693)])
def test_pixels_get_the_range_of_the_network(low: float, high: float) -> None:
    values = network_input(EVERY_BYTE, ImageSpec(size=28, low=low, high=high, fit="none"))
    assert values.shape == (1, 1, 28, 28)
    assert values.dtype == np.float32
    exact = low + EVERY_BYTE[0].astype(np.float64) / 255 * (high - low)
    np.testing.assert_array_equal(values[0, 0], exact.astype(np.float32))
    assert (values.min(), values.max()) == (np.float32(low), np.float32(high))


def test_padding_puts_background_evenly_around(mnist: Mnist) -> None:
    padded = network_input(mnist.test_images[:50], ImageSpec(size=32, low=-0.1, high=1.175, fit="pad"))
    inner = network_input(mnist.test_images[:50], ImageSpec(size=28, low=-0.1, high=1.175, fit="none"))
    np.testing.assert_array_equal(padded[:, :, 2:-2, 2:-2], inner)
    padded[:, :, 2:-2, 2:-2] = -0.1
    assert (padded == np.float32(-0.1)).all()


def test_resizing_gives_the_bytes_of_the_library_of_the_sources(mnist: Mnist) -> None:
    images = np.concatenate([IMAGES, mnist.test_images[:2000]])
    resized = network_input(images, ImageSpec(size=32, low=0, high=255, fit="resize"))
    expected = [Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR) for image in images]
    np.testing.assert_array_equal(resized[:, 0], np.stack([np.asarray(picture) for picture in expected]))


@pytest.mark.parametrize(("size", "fit"), [(32, "none"), (26, "pad"), (31, "pad"), (20, "resize")])
def test_a_size_that_cannot_be_made_is_an_error(size: int, fit: Literal["none", "pad", "resize"]) -> None:
    with pytest.raises(ValueError, match=f"28.*{size}|{size}.*28"):
        network_input(IMAGES, ImageSpec(size=size, low=0, high=1, fit=fit))


def test_no_images_give_no_input() -> None:
    for fit in ("pad", "resize"):
        assert network_input(IMAGES[:0], ImageSpec(size=32, low=0, high=1, fit=fit)).shape == (0, 1, 32, 32)
