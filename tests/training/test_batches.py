"""The batches of a pass: each image with its own label, in the order of the seed, the same from any batch on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from data.dataset import Mnist, Subset, pass_order
from data.distortions import Distortions
from model.image import ImageSpec
from model.networks import NETWORKS
from model.recipes import PUBLISHED, Recipe
from model.shards import own_images
from model.world import World
from training.batches import pass_batches

IMAGE: ImageSpec = NETWORKS["lenet5_1998"].image
PLAIN = replace(PUBLISHED["conv_pool_bn"], batch_size=32, distortions=None)
DISTORTED = replace(PLAIN, distortions=Distortions(rotation=20, shift=2))


@pytest.fixture(scope="module")
def numbered() -> Subset:
    """100 images, each of one grey level, which is its number, as its label is."""
    numbers = np.arange(100, dtype=np.uint8)
    return Subset(np.broadcast_to(numbers[:, None, None], (100, 28, 28)), numbers)


def test_each_image_keeps_its_label_and_all_come_once(numbered: Subset) -> None:
    image = replace(IMAGE, size=28, low=0.0, high=255.0, fit="none")
    made = list(pass_batches(numbered, image, PLAIN, seed=3, pass_number=2))
    assert [len(labels) for _, labels in made] == [32, 32, 32, 4]
    labels = np.concatenate([labels for _, labels in made])
    assert labels.tolist() == pass_order(100, 3, 2, PLAIN.shuffle_buffer).tolist() != sorted(labels)
    for images, own in made:
        np.testing.assert_allclose(images[:, 0, 14, 14], own, atol=1e-3)


@pytest.mark.parametrize("recipe", [PLAIN, DISTORTED], ids=["plain", "distorted"])
def test_a_pass_that_goes_on_has_the_batches_of_a_whole_one(recipe: Recipe, mnist: Mnist) -> None:
    training = Subset(mnist.train_images[:100], mnist.train_labels[:100])
    whole = list(pass_batches(training, IMAGE, recipe, seed=1, pass_number=1))
    rest = list(pass_batches(training, IMAGE, recipe, seed=1, pass_number=1, first=2))
    assert len(rest) == 2
    for made, again in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(made[0], again[0])
        np.testing.assert_array_equal(made[1], again[1])


def test_a_distortion_belongs_to_the_image_not_to_its_place(mnist: Mnist) -> None:
    """Of other batches, and so of other places, the same image comes out."""
    training = Subset(mnist.train_images[:100], mnist.train_labels[:100])
    small, large = (
        np.concatenate([images for images, _ in pass_batches(training, IMAGE, recipe, seed=1, pass_number=1)])
        for recipe in (DISTORTED, replace(DISTORTED, batch_size=100))
    )
    np.testing.assert_array_equal(small, large)
    plain = np.concatenate([images for images, _ in pass_batches(training, IMAGE, PLAIN, seed=1, pass_number=1)])
    assert np.mean([not np.array_equal(*pair) for pair in zip(plain, small, strict=True)]) > 0.9


@pytest.mark.parametrize("recipe", [PLAIN, DISTORTED], ids=["plain", "distorted"])
def test_a_process_makes_its_own_images_only_and_they_are_those_of_one(recipe: Recipe, mnist: Mnist) -> None:
    training = Subset(mnist.train_images[:100], mnist.train_labels[:100])
    parts = [
        list(pass_batches(training, IMAGE, recipe, 1, 1, own=partial(own_images, shards=4, world=World(rank, 3))))
        for rank in range(3)
    ]
    for whole, *owned in zip(pass_batches(training, IMAGE, recipe, 1, 1), *parts, strict=True):
        assert max(len(images) for images, _ in owned) <= len(whole[1]) / 2
        np.testing.assert_array_equal(np.concatenate([images for images, _ in owned]), whole[0])
        assert all(np.array_equal(labels, whole[1]) for _, labels in owned)
