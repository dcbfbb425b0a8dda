"""What every network of the project has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import paddle
from paddle import nn


@dataclass(frozen=True)
class ImageSpec:
    """The picture that a network takes: 1 × size × size, float32.

    Attributes:
        size: pixels a side; MNIST has 28.
        low: value of the background (byte 0).
        high: value of full ink (byte 255).
        fit: how 28×28 becomes size×size: not at all, with background around it, or resized bilinearly.
    """

    size: int = 28
    low: float = -1.0
    high: float = 1.0
    fit: Literal["none", "pad", "resize"] = "none"


class Network(nn.Layer):
    """A LeNet: image [N, 1, size, size] -> scores [N, 10], larger is likelier.

    A subclass states the picture it takes and builds its layers in its constructor, whose keyword arguments are the
    network's options. Scores become log-probabilities by a softmax unless the subclass says otherwise.
    """

    image: ClassVar[ImageSpec]

    def log_probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, 10] -> natural logarithm of each digit's probability [N, 10].

        Paddle's own log_softmax has a floor of -64 on the CPU, which an untrained `lenet5_numpy` is far below.
        """
        return paddle.subtract(scores, paddle.logsumexp(scores, axis=1, keepdim=True))

    def probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, 10] -> each digit's probability [N, 10]; Paddle 3's exp refuses the old IR."""
        return nn.functional.softmax(scores, axis=1)
