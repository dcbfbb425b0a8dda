"""The network of the PyTorch note: LeNet-5 as most people write it today."""

from __future__ import annotations

import paddle
from paddle.nn import functional

from model.image import ImageSpec
from model.networks.layers import ConvPool, FullyConnected, KernelSize, WholeMapConv, pooled_twice, two_sizes
from model.networks.network import Network
from model.ops.conv_pool import Pooling


class LeNet5ReLU(Network):
    """LeNet-5 with ReLU, maximum pooling and a full C3; 61,706 parameters.

    conv 6@5 → ReLU → max-pool → conv 16@5 → ReLU → max-pool → conv 120@5 → FC 84 → ReLU → FC 10 → softmax.

    Nothing stands between the third convolution and the fully connected layer, as in the document; the two are one
    linear map of rank 84. Initial values are PyTorch's (`torch_default`).
    """

    image = ImageSpec(size=32, low=-1.0, high=1.0, fit="resize")

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
        self.conv2 = ConvPool(first, second, second_size, "relu", pooling)
        self.conv3 = WholeMapConv(second, 120, side)
        self.full1 = FullyConnected(120, 84)
        self.output = FullyConnected(84, classes)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = self.conv1(image)  # 6 × 14 × 14
        x = self.conv2(x)  # 16 × 5 × 5
        x = functional.relu(self.full1(self.conv3(x)))
        return self.output(x)
