"""Distortions: a pure function of seed, pass and image; as far as asked for and no further; drawn without artefacts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from common.errors import UsageError
from data.augment import Distorter, sample, smooth_modes, source_maps
from data.dataset import Mnist
from data.distortions import Distortions

STILL = Distortions()
AFFINE = Distortions(rotation=12, scale=0.12, shear=0.15, shift=2)
ELASTIC = Distortions(elastic_alpha=34)
ALL = replace(AFFINE, elastic_alpha=34)
COUNT = 300
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)
INDICES = np.arange(COUNT)
CENTRED = np.arange(28) - 13.5


def one(**wanted: float) -> np.ndarray:
    """The map of one image with these numbers, the others at rest."""
    numbers = {"rotation": 0.0, "width": 1.0, "height": 1.0, "shear": 0.0, "right": 0.0, "down": 0.0} | wanted
    return source_maps(**{name: np.array([value]) for name, value in numbers.items()})


def moved(images: np.ndarray, **wanted: float) -> np.ndarray:
    """Images after a known affine map."""
    y, x = np.meshgrid(CENTRED, CENTRED, indexing="ij")
    sources = np.einsum("brc,chw->brhw", one(**wanted), np.stack([y, x, np.ones_like(y)])) + 13.5
    return sample(images, np.repeat(sources.astype(np.float32), len(images), axis=0))


@pytest.mark.parametrize("distortions", [AFFINE, ALL], ids=["affine", "elastic"])
def test_an_image_depends_on_seed_pass_and_its_number_alone(distortions: Distortions) -> None:
    together = Distorter(distortions, 1, 2, COUNT)(IMAGES, INDICES)
    order = np.random.default_rng(1).permutation(COUNT)
    start = 0
    for size in (1, 2, 3, 7, 31, 128, 128):  # a new one each time, as after a resumption
        chosen = order[start : start + size]
        alone = Distorter(distortions, 1, 2, COUNT)(IMAGES[chosen], chosen)
        np.testing.assert_array_equal(alone, together[chosen])
        start += size
    assert start == COUNT
    larger = Distorter(distortions, 1, 2, 10 * COUNT)
    np.testing.assert_array_equal(larger(IMAGES, INDICES), together)


def test_seeds_passes_and_images_get_numbers_of_their_own() -> None:
    same = np.repeat(IMAGES[:1], COUNT, axis=0)
    results = [Distorter(ALL, seed, number, COUNT)(same, INDICES) for seed, number in ((1, 1), (1, 2), (2, 1), (0, 0))]
    distinct = {image.tobytes() for result in results for image in result}
    assert len(distinct) == 4 * COUNT


def test_an_elastic_field_leaves_the_affine_numbers_alone() -> None:
    affine, both, field = (Distorter(d, 1, 1, COUNT).sources(INDICES) for d in (AFFINE, ALL, ELASTIC))
    still = Distorter(STILL, 1, 1, COUNT).sources(INDICES)
    np.testing.assert_allclose(both - affine, field - still, atol=1e-5)


def test_ranges_of_zero_change_no_bit() -> None:
    np.testing.assert_array_equal(Distorter(STILL, 1, 1, COUNT)(IMAGES, INDICES), IMAGES)


def test_bytes_in_bytes_out_and_the_images_are_left_alone() -> None:
    images = IMAGES.copy()
    images.setflags(write=False)
    result = Distorter(ALL, 1, 1, COUNT)(images, INDICES)
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    np.testing.assert_array_equal(images, IMAGES)
    assert Distorter(ALL, 1, 1, COUNT)(images[:0], INDICES[:0]).shape == (0, 28, 28)


def test_sampling_agrees_with_scipy_also_far_outside() -> None:
    random = np.random.default_rng(2)
    sources = random.uniform(-40, 68, (COUNT, 2, 28, 28)).astype(np.float32)
    sources[::2] = random.uniform(-1.5, 28.5, (COUNT // 2, 2, 28, 28))
    sources[0] = np.round(sources[0])
    got = sample(IMAGES, sources)
    for image, source, pixels in zip(IMAGES, sources, got, strict=True):
        exact = ndimage.map_coordinates(
            image, source.astype(np.float64), output=np.float64, order=1, mode="grid-constant", cval=0
        )
        assert np.abs(pixels - exact).max() <= 0.501


def test_nothing_comes_in_from_the_other_side_or_another_image() -> None:
    full = np.full((3, 28, 28), 255, np.uint8)
    full[1] = 0
    right = moved(full, right=5.0, down=-3.0)
    expected = np.zeros_like(full)
    expected[:, :25, 5:] = full[:, :25, 5:]
    np.testing.assert_array_equal(right, expected)
    assert not moved(full, right=28.0).any()
    assert not moved(full, down=-1000.0).any()


def test_signs_and_the_fixed_point() -> None:
    some = IMAGES[:5]
    np.testing.assert_array_equal(moved(some, rotation=90), np.rot90(some, axes=(1, 2)))
    np.testing.assert_array_equal(moved(some, rotation=180), some[:, ::-1, ::-1])
    np.testing.assert_array_equal(moved(some, right=1)[:, :, 1:], some[:, :, :-1])
    np.testing.assert_array_equal(moved(some, down=1)[:, 1:], some[:, :-1])
    dot = np.zeros((1, 28, 28), np.uint8)
    dot[0, 3:5, 13:15] = 255  # 10 pixels above the centre

    def centre_of(images: np.ndarray) -> tuple[float, float]:
        down, right = ndimage.center_of_mass(images[0])
        return down - 13.5, right - 13.5

    assert centre_of(moved(dot, shear=0.3)) == pytest.approx((-10, 3), abs=0.05)
    assert centre_of(moved(dot, height=1.2)) == pytest.approx((-12, 0), abs=0.05)
    assert centre_of(moved(dot, width=1.2)) == pytest.approx((-10, 0), abs=0.05)
    assert centre_of(moved(dot, rotation=30)) == pytest.approx((-10 * math.cos(math.pi / 6), -5), abs=0.05)
    assert moved(dot, width=1.5).sum() == pytest.approx(1.5 * dot.sum(), rel=0.02)


def test_rotation_is_that_of_pillow(mnist: Mnist) -> None:
    digits = mnist.train_images[:50]
    for got, digit in zip(moved(digits, rotation=12), digits, strict=True):
        expected = np.asarray(Image.fromarray(digit).rotate(12, Image.Resampling.BILINEAR), dtype=int)
        assert np.abs(got[2:-2, 2:-2] - expected[2:-2, 2:-2]).max() <= 1  # Pillow treats the borders otherwise


def test_the_way_back_undoes_stretch_slant_turn_and_shift() -> None:
    turn, shift = math.radians(20), np.array([-2.0, 1.5])
    rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    slant, stretch = np.array([[1, 0], [-0.2, 1]]), np.diag([0.9, 1.1])
    there = rotate @ slant @ stretch
    back = one(rotation=20, width=1.1, height=0.9, shear=0.2, right=1.5, down=-2)[0]
    np.testing.assert_allclose(back[:, :2] @ there, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(back[:, :2] @ shift + back[:, 2], 0, atol=1e-6)


def affine_parts(distortions: Distortions) -> tuple[np.ndarray, np.ndarray]:
    """Forward matrices [N, 2, 2] over (y, x) and shifts [N, 2] of 5,000 images, read off where their pixels come from.

    Also checks that they are affine.
    """
    sources = Distorter(distortions, 3, 1, 5000).sources(np.arange(5000)).astype(np.float64) - 13.5
    back = np.stack([sources[:, :, 27, 0] - sources[:, :, 0, 0], sources[:, :, 0, 27] - sources[:, :, 0, 0]], -1) / 27
    offset = sources.mean(axis=(2, 3))
    y, x = np.meshgrid(CENTRED, CENTRED, indexing="ij")
    plane = np.einsum("brc,chw->brhw", back, np.stack([y, x])) + offset[:, :, np.newaxis, np.newaxis]
    np.testing.assert_allclose(sources, plane, atol=1e-4)
    there = np.linalg.inv(back)
    return there, -(there @ offset[..., np.newaxis])[..., 0]


def assert_even(values: np.ndarray, limit: float) -> None:
    """Values fill ±limit evenly."""
    assert np.abs(values).max() <= limit * (1 + 1e-4)
    counts, _ = np.histogram(values, bins=10, range=(-limit, limit))
    assert np.abs(counts - len(values) / 10).max() < 5 * math.sqrt(len(values) / 10)


def test_each_range_is_filled_evenly_and_kept() -> None:
    there, shift = affine_parts(Distortions(rotation=25, scale=0, shear=0, shift=0))
    angle = np.degrees(np.arctan2(there[:, 1, 0], there[:, 0, 0]))
    assert_even(angle, 25)
    np.testing.assert_allclose(there @ there.transpose(0, 2, 1), np.broadcast_to(np.eye(2), there.shape), atol=1e-5)
    np.testing.assert_allclose(shift, 0, atol=1e-4)

    there, shift = affine_parts(Distortions(rotation=0, scale=0.3, shear=0, shift=0))
    assert_even(there[:, 0, 0] - 1, 0.3)
    assert_even(there[:, 1, 1] - 1, 0.3)
    assert abs(np.corrcoef(there[:, 0, 0], there[:, 1, 1])[0, 1]) < 0.06
    np.testing.assert_allclose(there[:, [0, 1], [1, 0]], 0, atol=1e-5)
    np.testing.assert_allclose(shift, 0, atol=1e-4)

    there, shift = affine_parts(Distortions(rotation=0, scale=0, shear=0.4, shift=0))
    assert_even(there[:, 1, 0], 0.4)
    np.testing.assert_allclose(there[:, [0, 0, 1], [0, 1, 1]], [[1, 0, 1]] * 5000, atol=1e-5)
    np.testing.assert_allclose(shift, 0, atol=1e-4)

    there, shift = affine_parts(Distortions(rotation=0, scale=0, shear=0, shift=3))
    assert_even(shift[:, 0], 3)
    assert_even(shift[:, 1], 3)
    assert abs(np.corrcoef(shift.T)[0, 1]) < 0.06
    np.testing.assert_allclose(there, np.broadcast_to(np.eye(2), there.shape), atol=1e-5)


@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
def test_the_elastic_field_is_even_noise_smoothed_by_a_gaussian(sigma: float) -> None:
    """Against SciPy's filter in the middle of a picture large enough: covariance of the pixels along a line."""
    line = 400
    kernel = ndimage.gaussian_filter1d(np.eye(line), sigma, truncate=8)
    middle = slice((line - 28) // 2, (line + 28) // 2)
    # Independent in both directions, so a line's covariance is the square root of Simard's 1/3 times its own.
    expected = (kernel @ kernel.T)[middle, middle] / math.sqrt(3)
    modes = smooth_modes(sigma).astype(np.float64)
    inner = slice(4, 24)  # where MNIST's digits are; the mirrors are beyond it
    np.testing.assert_allclose((modes @ modes.T)[inner, inner], expected[inner, inner], atol=0.1 * expected.max())
    np.testing.assert_allclose(modes @ modes.T, expected, atol=0.4 * expected.max())


def test_elastic_fields_have_mean_zero_the_asked_strength_and_bend_smoothly() -> None:
    count = 4000
    grid = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"))
    fields = Distorter(ELASTIC, 1, 1, count).sources(np.arange(count)) - grid
    strength = 34 / (math.sqrt(3) * 2 * math.sqrt(math.pi) * 4)
    inner = fields[:, :, 4:24, 4:24]
    assert np.abs(inner.mean(axis=0)).max() < 5 * strength / math.sqrt(count)
    np.testing.assert_allclose(inner.std(axis=0), strength, rtol=0.08)
    # Neighbours in a field smoothed by σ correlate by exp(-1 / 4σ²): here they differ by 0.18 of the strength.
    for steps in (np.diff(inner, axis=2), np.diff(inner, axis=3)):
        assert steps.std() == pytest.approx(strength * math.sqrt(2 - 2 * math.exp(-1 / 64)), rel=0.05)
    assert abs(np.corrcoef(fields[:, 0, 14, 14], fields[:, 1, 14, 14])[0, 1]) < 0.08
    stronger = Distorter(Distortions(0, 0, 0, 0, elastic_alpha=68), 1, 1, count).sources(np.arange(count)) - grid
    np.testing.assert_allclose(stronger, 2 * fields, atol=1e-4)


def test_digits_keep_their_ink_and_their_strokes(mnist: Mnist) -> None:
    digits = mnist.train_images[:2000]
    for distortions in (AFFINE, ELASTIC):
        result = Distorter(distortions, 1, 1, 2000)(digits, np.arange(2000))
        assert result.mean() == pytest.approx(digits.mean(), rel=0.02)
        assert (result > 127).mean() == pytest.approx((digits > 127).mean(), rel=0.03)
        assert result.max(axis=(1, 2)).mean() > 250


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rotation": -1}, "rotation: expected 0 to 180, got -1"),
        ({"rotation": math.nan}, "rotation: expected 0 to 180, got nan"),
        ({"scale": 1}, "scale: expected 0 to 0.9, got 1"),
        ({"shear": math.inf}, "shear: expected 0 to 2, got inf"),
        ({"shift": 29}, "shift: expected 0 to 28, got 29"),
        ({"elastic_alpha": -34}, "elastic-alpha: expected 0 to 1000, got -34"),
        ({"elastic_sigma": 0}, "elastic-sigma: expected 2 to 28, got 0"),
    ],
)
def test_ranges_without_sense_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=f"^--{said}$"):
        Distortions(**wrong)


def test_images_that_do_not_fit_their_numbers_are_refused() -> None:
    distorter = Distorter(AFFINE, 1, 1, COUNT)
    with pytest.raises(ValueError, match="2 indices for images of shape"):
        distorter(IMAGES[:3], INDICES[:2])
    with pytest.raises(ValueError, match="shape"):
        distorter(np.zeros((2, 32, 32), np.uint8), INDICES[:2])
    with pytest.raises(IndexError):
        distorter(IMAGES[:1], np.array([COUNT]))
