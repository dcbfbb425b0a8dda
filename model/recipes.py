"""Training settings per network: as published, and the best known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["adam", "adamw", "momentum", "sgd"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; each default is Adam's plain use, as in document 001.

    Attributes:
        optimizer: which update rule.
        learning_rate: step size at its largest.
        batch_size: images per step.
        passes: times through the training images.
        shuffle_buffer: "all": the images are shuffled together before each pass; N: in a buffer of N, as in document
            001; 1: file order.
        validation_size: images held out of the 60,000, the last ones in file order.
    """

    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    passes: int = 10
    shuffle_buffer: int | Literal["all"] = "all"
    validation_size: int = 5000


# As each source states them (shared/networks.md, second table). Document 001 shuffles in a buffer of 512; the full
# shuffle is the default here and `--shuffle-buffer 512` gives the document's.
PUBLISHED: dict[str, Recipe] = {
    "conv_pool_bn": Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128, passes=10),
}
