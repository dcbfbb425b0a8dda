"""The layers that the networks are made of, beside those of paddle.nn; initial values are PyTorch's unless given."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from model.ops.conv_pool import Activation, Pooling, conv_pool
from model.ops.linear import linear

KernelSize = int | tuple[int, int]


class Convolution(nn.Layer):
    """Weights [maps, inputs, size, size] and biases [maps] of a convolution."""

    def __init__(
        self,
        inputs: int,
        maps: int,
        size: int,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__()
        default = torch_default(inputs * size * size)
        self.weight = self.create_parameter([maps, inputs, size, size], default_initializer=weight_init or default)
        self.bias = self.create_parameter([maps], is_bias=True, default_initializer=bias_init or default)


class ConvPool(Convolution):
    """Convolution (stride 1, no padding) → activation → 2×2 pooling, stride 2: the building block of every LeNet.

    image [N, inputs, H, W] -> maps [N, maps, (H - size + 1) // 2, (W - size + 1) // 2].
    """

    def __init__(
        self,
        inputs: int,
        maps: int,
        size: int,
        activation: Activation,
        pooling: Pooling,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__(inputs, maps, size, weight_init, bias_init)
        self.activation = activation
        self.pooling = pooling

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return conv_pool(image, self.weight, self.bias, self.activation, self.pooling)


class WholeMapConv(Convolution):
    """Convolution whose kernel is as large as its input, as LeNet-5's C5: maps [N, inputs, size, size] -> [N, maps].

    A kernel with one place is a matrix product: a training step of the layer takes 3.4 ms, of paddle.nn.Conv2D 7.5 ms
    (stock backend, 16 maps of 5×5 to 120, 128 images; 2 busy cores, AMD EPYC, Paddle 3.3.1).
    """

    def forward(self, maps: paddle.Tensor) -> paddle.Tensor:
        return linear(maps, self.weight, self.bias, transposed=True)


class FullyConnected(nn.Linear):
    """Dense layer: [N, inputs], or maps that come to as many inputs, -> [N, outputs]; weight [inputs, outputs]."""

    def __init__(
        self, inputs: int, outputs: int, weight_init: Initializer | None = None, bias_init: Initializer | None = None
    ) -> None:
        default = torch_default(inputs)
        weight, bias = (paddle.ParamAttr(initializer=init or default) for init in (weight_init, bias_init))
        super().__init__(inputs, outputs, weight_attr=weight, bias_attr=bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return linear(x, self.weight, self.bias)


def uniform(bound: float) -> Initializer:
    """Uniform within ±bound."""
    return nn.initializer.Uniform(-bound, bound)


def torch_default(fan_in: int) -> Initializer:
    """PyTorch's default initializer of convolutions and linear layers: uniform within ±1/√fan_in.

    The PyTorch notebook and note are PyTorch programs and name no initialisation of their own.
    """
    return uniform(fan_in**-0.5)


def two_sizes(kernel_size: KernelSize) -> tuple[int, int]:
    """Kernel sides of the first and the second convolution: one number stands for both."""
    return (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size


def pooled_size(size: int, kernel_size: int) -> int:
    """Side of a map after a convolution without padding and a 2×2 pooling, in pixels."""
    return (size - kernel_size + 1) // 2


def pooled_twice(size: int, kernel_size: KernelSize) -> int:
    """Side of a map after two such convolutions and poolings, in pixels."""
    first, second = two_sizes(kernel_size)
    return pooled_size(pooled_size(size, first), second)
