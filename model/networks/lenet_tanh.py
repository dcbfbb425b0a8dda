"""The network of the Theano tutorial, from the deeplearning.net tutorial that it follows."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from model.image import ImageSpec
from model.networks.layers import ConvPool, FullyConnected, KernelSize, pooled_twice, two_sizes, uniform
from model.networks.network import Network
from model.ops.activations import tanh
from model.ops.conv_pool import Pooling


class LeNetTanh(Network):
    """A wide LeNet with tanh; 431,080 parameters.

    conv 20@5 → max-pool → + bias → tanh → conv 50@5 → max-pool → + bias → tanh → FC 500 → tanh → FC 10 → softmax.

    Here the activation comes after the pooling: with the maximum, tanh being monotone, that makes no difference; with
    the mean it does, and the document's order is kept. A pixel is byte / 256, as in the document's mnist.pkl.gz.

    Weights start uniform within ±√(6 / (fan_in + fan_out)), as Glorot and Bengio (2010) have it for tanh. A
    convolution's fan_out is divided by the 4 places of its pooling; biases and the whole last layer at 0.
    """

    image = ImageSpec(size=28, low=0.0, high=255 / 256)

    def __init__(
        self,
        maps: tuple[int, int] = (20, 50),
        kernel_size: KernelSize = 5,
        pooling: Pooling = "max",
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.classes = classes
        first, second = maps
        first_size, second_size = two_sizes(kernel_size)
        side = pooled_twice(self.image.size, kernel_size)
        zero = nn.initializer.Constant(0.0)

        def conv(inputs: int, outputs: int, size: int) -> ConvPool:
            init = _glorot(inputs * size * size, outputs * size * size / 4)
            return ConvPool(inputs, outputs, size, "none", pooling, init, zero)

        self.conv1 = conv(1, first, first_size)
        self.conv2 = conv(first, second, second_size)
        inputs = second * side * side
        self.full1 = FullyConnected(inputs, 500, _glorot(inputs, 500), zero)
        self.output = FullyConnected(500, classes, zero, zero)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = tanh(self.conv1(image))  # 20 × 12 × 12
        x = tanh(self.conv2(x))  # 50 × 4 × 4
        x = tanh(self.full1(x))
        return self.output(x)


def _glorot(fan_in: float, fan_out: float) -> Initializer:
    return uniform((6 / (fan_in + fan_out)) ** 0.5)
