"""What every network of the project has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import paddle
from paddle import nn

from model.conv_pool import conv_pool

Pooling = Literal["max", "mean"]
Kernel = Literal["stock", "fused"]


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
        """Scores [N, 10] -> natural logarithm of each digit's probability [N, 10]."""
        return nn.functional.log_softmax(scores, axis=1)

    def probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, 10] -> each digit's probability [N, 10]; Paddle 3's exp refuses the old IR."""
        return nn.functional.softmax(scores, axis=1)


class ConvPool(nn.Layer):
    """Convolution (stride 1, no padding) → activation → 2×2 pooling, stride 2: the building block of every LeNet.

    image [N, inputs, H, W] -> maps [N, maps, (H - size + 1) // 2, (W - size + 1) // 2].

    Weights start as paddle.nn.Conv2D's do: normal, σ = √(2 / (size² · inputs)) (He et al. 2015), which is also what
    `fluid.nets.simple_img_conv_pool` of document 001 used; biases at 0.
    """

    def __init__(
        self,
        inputs: int,
        maps: int,
        size: int,
        activation: Literal["relu", "tanh", "none"] = "relu",
        pooling: Pooling = "max",
        kernel: Kernel = "stock",
        weight_init: nn.initializer.Initializer | None = None,
        bias_init: nn.initializer.Initializer | None = None,
    ) -> None:
        super().__init__()
        he = nn.initializer.Normal(0.0, (2.0 / (size * size * inputs)) ** 0.5)
        self.weight = self.create_parameter([maps, inputs, size, size], default_initializer=weight_init or he)
        self.bias = self.create_parameter([maps], is_bias=True, default_initializer=bias_init)
        self.activation = activation
        self.pooling = pooling
        self.kernel = kernel

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        return conv_pool(image, self.weight, self.bias, self.activation, self.pooling, self.kernel)


def fan_in_uniform(fan_in: int) -> nn.initializer.Initializer:
    """Uniform within ±1/√fan_in, for weights and biases alike: PyTorch's default for convolutions and dense layers."""
    bound = fan_in**-0.5
    return nn.initializer.Uniform(-bound, bound)


def pooled_size(size: int, kernel_size: int) -> int:
    """Side of a map after a convolution without padding and a 2×2 pooling, in pixels."""
    return (size - kernel_size + 1) // 2
