"""The fluid tutorial's network: two convolution-pooling layers with batch normalisation between, a softmax layer."""

from __future__ import annotations

import paddle

from model.image import ImageSpec
from model.networks.layers import ConvPool, FullyConnected, KernelSize, pooled_twice, two_sizes
from model.networks.network import Network
from model.ops.batch_norm import BatchNorm
from model.ops.conv_pool import Pooling


class ConvPoolBN(Network):
    """conv 20@5 → ReLU → max-pool → batch norm → conv 50@5 → ReLU → max-pool → FC 10 → softmax; 33,620 parameters.

    The fluid tutorial calls it LeNet-5; it is the LeNet of the Caffe and deeplearning.net tutorials with batch
    normalisation added and the hidden dense layer left out.

    The document states no initialisation. Its framework's default, He's normal one, left the chosen pass's validation
    loss at 0.044 to 0.047 (seeds 1 to 3, 10 passes of 55,000 images); PyTorch's default brings it to 0.035 to 0.036 and
    so is used here.
    """

    image = ImageSpec(size=28, low=-1.0, high=1.0)

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
        self.conv1 = ConvPool(1, first, first_size, "relu", pooling)
        self.norm = BatchNorm(first)
        self.conv2 = ConvPool(first, second, second_size, "relu", pooling)
        self.output = FullyConnected(second * side * side, classes)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = self.norm(self.conv1(image))  # 20 × 12 × 12
        x = self.conv2(x)  # 50 × 4 × 4
        return self.output(x)
