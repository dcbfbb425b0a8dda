"""Ranges of the distortions of training images; without NumPy, which the options do not wait for."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UsageError
from common.ranges import Range

SIDE = 28

RANGES = {
    "rotation": Range(0, 180),
    "scale": Range(0, 0.9),
    "shear": Range(0, 2),
    "shift": Range(0, SIDE),
    "elastic_alpha": Range(0, 1000),
    "elastic_sigma": Range(2, SIDE),  # less smooth than 2 pixels, a field tears strokes apart instead of bending them
}


@dataclass(frozen=True)
class Distortions:
    """Ranges of the distortions; each number is drawn uniformly from ± its range, and a range of 0 is off.

    The digit is scaled, then sheared, rotated and shifted, the first three about the centre of the picture.

    Raises:
        UsageError: a range that makes no sense.
    """

    rotation: float = 0.0
    """Degrees."""
    scale: float = 0.0
    """Share by which width and height, each on its own, grow or shrink: scaling and squeezing."""
    shear: float = 0.0
    """Pixels to the side for each pixel of height."""
    shift: float = 0.0
    """Pixels, across and down."""
    elastic_alpha: float = 0.0
    """Strength of the elastic field, α of Simard et al., who took 34 for digits of 29×29."""
    elastic_sigma: float = 4.0
    """Its smoothness, pixels, σ of Simard et al., who took 4."""

    def __post_init__(self) -> None:
        for name, expected in RANGES.items():
            if getattr(self, name) not in expected:
                raise UsageError(f"--{name.replace('_', '-')}: expected {expected}, got {getattr(self, name)}")

    def __str__(self) -> str:
        ranges = {name: value for name, value in vars(self).items() if value}
        if not self.elastic_alpha:
            ranges.pop("elastic_sigma", None)  # of a field of no strength
        words = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in ranges.items())
        return f"distorted by up to: {words}" if words else "not distorted"
