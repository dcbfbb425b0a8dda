"""The network of the PyTorch notebook's code: LeNet-5's sizes, but two second convolutions whose outputs are added."""

from __future__ import annotations

import paddle
from paddle.nn import functional

from model.image import ImageSpec
from model.networks.layers import ConvPool, FullyConnected, KernelSize, WholeMapConv, pooled_twice, two_sizes
from model.networks.network import Network
from model.ops.conv_pool import Pooling


class TwoBranch(Network):
    """LeNet-5 with two second convolutions; 64,122 parameters.

    conv 6@5 → ReLU → max-pool → two times (conv 16@5 → ReLU → max-pool) side by side, added → conv 120@5 → ReLU →
    FC 84 → ReLU → FC 10 → softmax.

    The document puts a cross-entropy, which contains a log-softmax, on top of a log-softmax layer. A second log-softmax
    changes nothing, so there is one here. Initial values are PyTorch's (`torch_default`).
    """

    image = ImageSpec(size=32, low=0.0, high=1.0, fit="resize")

    def __init__(
        self,
        maps: tuple[int, int] = (6, 16),
        kernel_size: KernelSize = 5,
        pooling: Pooling = "max",
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.classes = classes
        first, second = maps
        first_size, second_size = two_sizes(kernel_size)
        side = pooled_twice(self.image.size, kernel_size)
        self.conv1 = ConvPool(1, first, first_size, "relu", pooling)
        self.conv2a = ConvPool(first, second, second_size, "relu", pooling)
        self.conv2b = ConvPool(first, second, second_size, "relu", pooling)
        self.conv3 = WholeMapConv(second, 120, side)
        self.full1 = FullyConnected(120, 84)
        self.output = FullyConnected(84, classes)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = self.conv1(image)  # 6 × 14 × 14
        x = paddle.add(self.conv2a(x), self.conv2b(x))  # 16 × 5 × 5
        x = functional.relu(self.conv3(x))
        x = functional.relu(self.full1(x))
        return self.output(x)
