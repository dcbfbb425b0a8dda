"""The kind of picture that a data set holds: dark or light ink, size and place of the digit.

MNIST's digits are light on black; their longest side is 20 of 28 pixels, and their centre of mass is in the middle
(LeCun et al. 1998, section III.A). A network that was trained on other pictures reads only pictures like those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.plausibility import NARROW
from recognition.digit import BOX, SIDE, centre_of_mass, place

Images = npt.NDArray[np.uint8]

SAMPLE = 2000  # images that are measured; evenly spaced
INK = 0.2  # of an image's brightest pixel: what is fainter does not count for the digit's size
SPREAD = 3  # pixels between the quartiles of the sizes above which a data set has no usual size
ALIKE = 2  # pixels by which the usual sizes of two parts of one data set may differ
STRETCHED = 0.9  # of images whose shorter side is nearly as long as the longer one


@dataclass(frozen=True)
class PictureKind:
    """Differences of a data set's pictures from MNIST's.

    Attributes:
        inverted: dark ink on a light background.
        box: the digit's usual longest side, pixels of 28.
        placed: which middle of the digit is in the middle of the picture: its centre of mass or that of its box.
        stretched: both sides of the digit have that length.
        sizes_vary: the digits have no usual size and place; then those of MNIST stand here.
        values: lowest and highest pixel, if they are implausibly near each other; else 0 and 255.
    """

    inverted: bool = False
    box: int = BOX
    placed: Literal["mass", "box"] = "mass"
    stretched: bool = False
    sizes_vary: bool = False
    values: tuple[int, int] = (0, 255)

    @classmethod
    def measure(cls, images: Images) -> PictureKind | None:
        """Measure a sample of images [N, 28, 28] uint8; None if there is nothing in them."""
        sample = images[:: max(1, len(images) // SAMPLE)]
        values = (int(sample.min()), int(sample.max())) if sample.size else (0, 255)
        if 0 < values[1] - values[0] < NARROW:
            sample = _rescaled(sample, values, (0, 255))
        else:
            values = (0, 255)
        rim = np.concatenate([sample[:, 0], sample[:, -1], sample[:, :, 0], sample[:, :, -1]], axis=1)
        inverted = bool(np.median(rim, axis=1).mean() > 127)
        if inverted:
            sample = 255 - sample
        sample = sample[sample.max(axis=(1, 2)) > 0]
        if not len(sample):
            return None
        ink = sample > INK * sample.max(axis=(1, 2), keepdims=True)
        heights, middles_y = _extent(ink.any(axis=2))
        widths, middles_x = _extent(ink.any(axis=1))
        longest = np.maximum(heights, widths)
        if np.subtract(*np.percentile(longest, [75, 25])) > SPREAD:
            return cls(inverted, sizes_vary=True, values=values)
        middle = (SIDE - 1) / 2
        boxes_off = np.hypot(middles_y - middle, middles_x - middle).mean()
        masses_off = np.mean([np.hypot(*(centre_of_mass(image) - SIDE / 2)) for image in sample.astype(np.float32)])
        box = int(np.median(longest))
        return cls(
            inverted,
            BOX if abs(box - BOX) <= 1 else box,
            "mass" if masses_off <= boxes_off else "box",
            bool(np.quantile(np.minimum(heights, widths) / longest, 1 - STRETCHED) > 0.85),
            values=values,
        )

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> PictureKind:
        """The kind that a model's card records; MNIST's if it records none or one of another form."""
        recorded = card.get("pictures")
        try:
            recorded = dict(recorded) if isinstance(recorded, Mapping) else {}
            kind = cls(**recorded | {"values": tuple(recorded.get("values", (0, 255)))})
        except TypeError:
            return cls()
        sound = type(kind.box) is int and 4 <= kind.box <= SIDE and kind.placed in ("mass", "box")
        sound = sound and [type(value) for value in kind.values] == [int, int]
        sound = sound and 0 <= kind.values[0] < kind.values[1] <= 255
        return kind if sound else cls()

    def to_json(self) -> dict[str, Any]:
        """As it stands in a card."""
        return {**asdict(self), "values": list(self.values)}

    @property
    def is_mnist(self) -> bool:
        """True for pictures like MNIST's."""
        return self == PictureKind()

    def differs(self, other: PictureKind) -> bool:
        """True if pictures of the other kind are plainly unlike these: ink, range of the pixels, or size."""
        whole = (0, 255)
        if self.inverted != other.inverted or (self.values == whole) != (other.values == whole):
            return True
        return abs(self.box - other.box) > ALIKE and not (self.sizes_vary or other.sizes_vary)

    def describe(self) -> str:
        """The kind in words."""
        ink = "dark on light" if self.inverted else "light on dark"
        sides = "both sides" if self.stretched else "longest side"
        where = "centre of mass" if self.placed == "mass" else "box"
        pixels = "" if self.values == (0, 255) else ", pixels of {} to {}".format(*self.values)
        if self.sizes_vary:
            return f"digits {ink}, of no usual size and place{pixels}"
        return f"digits {ink}, {sides} {self.box} of {SIDE} pixels, {where} in the middle{pixels}"

    def apply(self, images: Images) -> Images:
        """Make pictures of this kind out of pictures of MNIST's kind; both [N, 28, 28] uint8."""
        if self.box != BOX or self.placed != "mass" or self.stretched:
            images = np.stack([self._framed(image) for image in images]) if len(images) else images
        if self.inverted:
            images = 255 - images
        return images if self.values == (0, 255) else _rescaled(images, (0, 255), self.values)

    def _framed(self, image: Images) -> Images:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        if not len(rows):
            return image
        digit = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = digit.shape
        scale_y = scale_x = self.box / max(height, width)
        if self.stretched:
            scale_y, scale_x = self.box / height, self.box / width
        size = max(1, round(width * scale_x)), max(1, round(height * scale_y))
        scaled = np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BILINEAR))
        if self.placed == "mass":
            return place(scaled, centre_of_mass(scaled.astype(np.float32)), SIDE // 2)
        middle = (np.array(scaled.shape) - 1) / 2
        return place(scaled, middle, (SIDE - 1) / 2 - 0.01)  # an odd pixel goes to the right and below


def kind_doubts(kind: PictureKind | None, test_images: Images, framed: bool = True) -> Iterator[str]:
    """One line for each thing about the pictures of a data set by which its scores or answers may be wrong.

    Args:
        kind: of the training images; None if nothing is in them.
        test_images: [N, 28, 28] uint8.
        framed: pictures that are read are framed as that kind.
    """
    tested = PictureKind.measure(test_images)
    if kind and tested and kind.differs(tested):
        yield f"test images: {tested.describe()}, but the training images have {kind.describe()}; scores may be wrong"
    if framed and (kind is None or kind.sizes_vary):
        yield (
            f"training images: {kind.describe() if kind else 'nothing is in them'}; pictures are framed as MNIST's "
            "when they are read, which may be wrong"
        )


def kind_notes(kind: PictureKind | None) -> Iterator[str]:
    """A line for training images that are not like MNIST's, which is no fault."""
    if kind and not kind.is_mnist and not kind.sizes_vary:
        yield f"training images: {kind.describe()}; recorded in card.json, and pictures are made alike when read"


def _rescaled(images: Images, found: tuple[int, int], wanted: tuple[int, int]) -> Images:
    """The same pictures with `wanted` as lowest and highest pixel in place of `found`."""
    scale = (wanted[1] - wanted[0]) / (found[1] - found[0])
    return np.rint(wanted[0] + (images - np.float32(found[0])) * np.float32(scale)).astype(np.uint8)


def _extent(lines: npt.NDArray[np.bool_]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and middles of what is true in each line, [N] of [N, 28]."""
    first = lines.argmax(axis=1)
    last = lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
    return last - first + 1, (first + last) / 2
