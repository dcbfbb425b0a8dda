"""Detector of pictures without a digit: a network names a digit for any picture; this finds those unlike every digit.

A picture is described by the widths of its strokes and gaps: how much ink is left after openings with squares and
lines of growing size, and how much is added by closings (granulometry: Matheron, "Random Sets and Integral Geometry",
1975; Maragos, "Pattern Spectrum and Multiscale Shape Representation", IEEE PAMI 11(7), 1989). The description of each
digit's training images is taken for normally distributed, as in quadratic discriminant analysis; so is that of random
blobs, which stand for everything else. No network is asked, and no picture of anything real is needed.

So things are found, but not letters, whose strokes are as wide as digits'. For them, the network's probability and the
distance from the digits' shapes (`recognition.directions`, in the same file) count too: a letter is seldom read surely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import safetensors.numpy

from common.errors import UserError
from common.project import __version__
from data.formats.idx import Bytes
from model.calibration import tempered
from recognition import directions
from recognition.directions import ClassShapes, is_array

SQUARES = {"opened": (2, 3, 4, 5, 6, 8, 10), "closed": (2, 3, 4, 5, 7, 9)}  # sides, pixels
LINES = {"opened": (3, 5, 8, 12, 16), "closed": (3, 5, 8, 12)}  # lengths, across and down
PAPER, INK = 0.3, 0.8  # grey levels up to which a pixel counts as paper, from which as ink: a blurred digit is one too
FEATURES = 5 + sum(map(len, SQUARES.values())) + 2 * sum(map(len, LINES.values()))

# Measured on shapes, textures, scribbles and letters made for it, never on pictures of another data set.
BLOB_WEIGHT = 0.2  # of the likelihood as a blob; 0 lets more solid shapes pass, 0.5 more letters and textures
ACCEPTED = 0.985  # share of the validation images that count as digits

# Chosen on the letters and clothes that docs/reading.md lists.
UNLIKE = 10.0  # novelty beyond the threshold, or distance, that divides the odds of being a digit by e
SURELY = 12.0  # novelty beyond the threshold from which on a picture shows no digit, however sure the network is
HALF_SURE = 0.5  # probability of the likeliest digit
WITH_ODDS = 0.99  # as ACCEPTED, if the network's probability counts; of the test images more are unusual
MOST_JUDGED = 10_000  # validation images whose odds are looked at

MOST_FITTED = 3_000  # training images, and validation images; more change nothing, and take seconds
BLOBS = 500
SHRINKAGE = 0.02  # part of all images' variance that is added to each digit's, so that few images are enough
FLOOR = 1e-4  # variance of a feature that never varies

CHUNK = 1000  # images at a time; bounds the memory


class NoveltyError(UserError):
    """A file does not hold a novelty detector."""


@dataclass(frozen=True)
class NoveltyDetector:
    """Normal distributions of descriptions: one for each digit, and a last one for blobs.

    Attributes:
        means: [K, FEATURES] float32.
        precisions: [K, FEATURES, FEATURES] float32, inverse covariances.
        spreads: [K] float32, logarithms of the covariances' determinants.
        threshold: [1] float32, score from which on a picture holds no digit.
        shapes: of each digit's outlines; None in the file of a release that had none.
        judged: [M], unlikeness of the validation images; None in a detector that was loaded, or fitted without them.
    """

    means: np.ndarray
    precisions: np.ndarray
    spreads: np.ndarray
    threshold: np.ndarray
    shapes: ClassShapes | None = None
    judged: np.ndarray | None = None

    def scores(self, images: Bytes) -> np.ndarray:
        """Novelty score of each image of [N, 28, 28] uint8, [N]; higher is less like a digit.

        -2 log of the likelihood as the likeliest digit, less `BLOB_WEIGHT` times the same of that as a blob.
        """
        described = _described(images)
        unlikely = np.stack(
            [
                np.einsum("nf,fg,ng->n", described - mean, precision, described - mean, optimize=True) + spread
                for mean, precision, spread in zip(self.means, self.precisions, self.spreads, strict=True)
            ]
        )
        return np.asarray(unlikely[:-1].min(axis=0) - BLOB_WEIGHT * unlikely[-1])

    def holds_no_digit(self, images: Bytes, scores: np.ndarray | None = None) -> np.ndarray:
        """Which of [N, 28, 28] uint8, made by `recognition.digit.to_mnist`, are no digits, [N] bool."""
        return (self.scores(images) if scores is None else scores) > self.threshold

    def shows_none(
        self, images: Bytes, probabilities: np.ndarray, least_odds: float, scores: np.ndarray | None = None
    ) -> np.ndarray:
        """Which images are no digits by the network's calibrated probabilities [N, K] too, [N] bool; needs `shapes`."""
        scores = self.scores(images) if scores is None else scores
        low = odds(self.unlikeness(images, scores), probabilities) < least_odds
        return np.asarray(low | (scores > self.threshold + SURELY))

    def unlikeness(self, images: Bytes, scores: np.ndarray | None = None) -> np.ndarray:
        """Part of the odds that the images' strokes and shapes take away, [N]; needs `shapes`."""
        assert self.shapes
        scores = self.scores(images) if scores is None else scores
        return np.asarray((scores - self.threshold + self.shapes.distances(images)) / UNLIKE)

    def add_entry(self, entries: dict[str, Any], log_probabilities: np.ndarray) -> None:
        """Add "no_digit" to the card's entries, from the network's answers [M, K] for the validation images.

        Its "least_odds" are those that `WITH_ODDS` of these images have at the entries' temperature. A network that
        doubts as many digits gets no entry: the widths of strokes alone decide.
        """
        if self.judged is None:
            return
        answers = tempered(log_probabilities[: len(self.judged)], entries["temperature"])
        if np.quantile(answers.max(axis=1), 1 - WITH_ODDS) >= HALF_SURE:
            least = float(np.quantile(odds(self.judged, answers), 1 - WITH_ODDS))
            entries["no_digit"] = {"least_odds": least}

    def to_bytes(self) -> bytes:
        """The detector as a safetensors file."""
        parts = [self] if self.shapes is None else [self, self.shapes]
        return safetensors.numpy.save(
            {
                name: np.ascontiguousarray(value)  # of another order, safetensors would write the bytes as they lie
                for part in parts
                for name, value in vars(part).items()
                if isinstance(value, np.ndarray) and name != "judged"
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> NoveltyDetector:
        """Read what `to_bytes` wrote.

        Raises:
            NoveltyError: it is something else.
        """
        try:
            arrays = safetensors.numpy.load(data)
            own = {name: arrays.pop(name) for name in ("means", "precisions", "spreads", "threshold")}
            detector = cls(**own, shapes=ClassShapes(**arrays) if arrays else None)
        except Exception as error:  # safetensors raises its own class, the dataclass TypeError
            raise NoveltyError("expected a novelty detector, got a file of another form; train again") from error
        if not detector._is_whole():
            raise NoveltyError(
                f"expected a novelty detector of release {__version__}, got arrays of other shapes; train again"
            )
        return detector

    def _is_whole(self) -> bool:
        """True for arrays of the shapes and the type that the class states, and finite."""
        count = len(self.spreads)
        shapes = (count, FEATURES), (count, FEATURES, FEATURES), (count,), (1,)
        arrays = self.means, self.precisions, self.spreads, self.threshold
        return (
            count >= 2
            and all(is_array(*each) for each in zip(arrays, shapes, strict=True))
            and (self.shapes is None or self.shapes.is_whole())
        )


def odds(unlikeness: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Logarithm of the odds that images of this unlikeness [N] show a digit, [N], by their probabilities [N, K]."""
    ordered = np.maximum(np.sort(probabilities, axis=1), np.finfo(np.float32).tiny)
    return np.asarray(np.log(ordered[:, -1]) - np.log(ordered[:, :-1].sum(axis=1)) - unlikeness)


def fit(images: Bytes, labels: Bytes, validation: Bytes) -> NoveltyDetector:
    """Fit a detector to images of digits.

    Args:
        images: [N, 28, 28] uint8, of which up to `MOST_FITTED` are looked at.
        labels: [N], which digit each one is.
        validation: [M, 28, 28] uint8, other images of digits, from which the threshold comes; if there are none, it
            comes from the first ones.
    """
    some = slice(None, None, -(-len(labels) // MOST_FITTED))
    described, digits = _described(images[some]), labels[some]
    usual = described.var(axis=0)
    groups = [described[digits == digit] for digit in np.unique(digits)]
    fitted = [_normal(group, usual) for group in [*groups, described_blobs()]]
    means, precisions, spreads = (np.stack(part).astype(np.float32) for part in zip(*fitted, strict=True))
    shapes = directions.fit(images[some], digits)
    detector = NoveltyDetector(means, precisions, spreads, np.zeros(1, np.float32))
    held_out = validation[:MOST_JUDGED] if len(validation) else images[some]
    scores = detector.scores(held_out)
    threshold = np.quantile(scores[:MOST_FITTED], ACCEPTED)
    detector = replace(detector, threshold=np.array([threshold], np.float32), shapes=shapes)
    return replace(detector, judged=detector.unlikeness(held_out, scores)) if len(validation) else detector


def _normal(described: np.ndarray, usual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, inverse covariance, and logarithm of the covariance's determinant."""
    away = described - described.mean(axis=0)
    covariance = away.T @ away / len(away) + np.diag(SHRINKAGE * usual + FLOOR)
    return described.mean(axis=0), np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]


@cache
def described_blobs() -> np.ndarray:
    """Descriptions [BLOBS, FEATURES] float32 of the blobs that stand for everything else."""
    return _described(blobs(BLOBS))


def blobs(count: int) -> Bytes:
    """Parts of smooth random fields above a level, every other one with a texture, sized as digits are.

    Returns:
        [count, 28, 28] uint8, the same for each call.
    """
    from scipy import ndimage

    from recognition.digit import centred

    random = np.random.default_rng(1998)

    def field(smoothness: float) -> np.ndarray:
        smooth = ndimage.gaussian_filter(random.normal(size=(40, 40)), smoothness, mode="wrap")
        return np.asarray(smooth / smooth.std())

    made: list[np.ndarray] = []
    while len(made) < count:
        labels, pieces = ndimage.label(field(random.uniform(1.5, 5)) > random.uniform(-0.5, 1))
        if pieces:
            largest = 1 + int(np.bincount(labels.ravel())[1:].argmax())
            texture = random.uniform(0.1, 0.5) * field(random.uniform(0.5, 2)) if len(made) % 2 else 0
            blob = (labels == largest) * np.clip(1 + texture, 0, 1)
            made.append(centred(blob[ndimage.find_objects(labels)[largest - 1]]))
    return np.stack(made)


def _described(images: Bytes) -> np.ndarray:
    """Descriptions [N, FEATURES] float32 of [N, 28, 28] uint8."""
    chunks = [_describe(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
    return np.concatenate([np.empty((0, FEATURES), np.float32), *chunks])


def _describe(images: Bytes) -> np.ndarray:
    levels = np.clip((images / np.float32(255) - PAPER) / (INK - PAPER), 0, 1)
    sharp = (255 * levels).astype(np.uint8)  # of bytes, minima and maxima are found fastest
    ink = levels.sum(axis=(1, 2)) + 1e-6

    def of_ink(changed: np.ndarray) -> np.ndarray:
        return np.asarray(changed.sum(axis=(1, 2), dtype=np.float32) / 255 / ink)

    features = [of_ink(_opened(sharp, height, width)) for height, width in _sizes("opened")]
    features += [of_ink(_closed(sharp, height, width)) - 1 for height, width in _sizes("closed")]
    inked = sharp > 64
    features += [np.log1p(inked.any(axis=other).sum(axis=1)) for other in (1, 2)]  # width and height
    features.append(((sharp > 40) & (sharp < 215)).sum(axis=(1, 2)) / ink)  # neither ink nor paper
    features.append(sum(np.abs(np.diff(levels, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2)) / ink)  # outline
    features.append(np.log(ink))
    # Shares near 0 differ more than their numbers do: the root makes their distribution more like a normal one.
    return np.sqrt(np.maximum(np.stack(features, axis=1), 0)).astype(np.float32)


def _sizes(change: str) -> list[tuple[int, int]]:
    """Height and width of the squares and lines."""
    squares = [(side, side) for side in SQUARES[change]]
    return squares + [size for length in LINES[change] for size in ((1, length), (length, 1))]


def _opened(images: Bytes, height: int, width: int) -> np.ndarray:
    """Opening: the ink that holds a rectangle of that size."""
    eroded = _extreme(np.minimum, images, height, width)
    return _extreme(np.maximum, _framed(eroded, height, width), height, width)


def _closed(images: Bytes, height: int, width: int) -> np.ndarray:
    """Closing: the ink, and the paper that holds no rectangle of that size, beyond the picture too."""
    dilated = _extreme(np.maximum, _framed(images, height, width), height, width)
    return _extreme(np.minimum, dilated, height, width)


def _framed(images: Bytes, height: int, width: int) -> Bytes:
    return np.pad(images, ((0, 0), (height - 1, height - 1), (width - 1, width - 1)))


def _extreme(choose: Callable[..., np.ndarray], images: Bytes, height: int, width: int) -> np.ndarray:
    """Least or largest value of each rectangle that lies in the picture: the result is smaller by its size less 1."""
    for axis, length in ((1, height), (2, width)):
        lines = np.moveaxis(images, axis, 1)
        reached = 1  # pixels that each value stands for; doubled, and then what is missing
        while reached < length:
            step = min(reached, length - reached)
            lines = choose(lines[:, :-step], lines[:, step:])
            reached += step
        images = np.moveaxis(lines, 1, axis)
    return images
