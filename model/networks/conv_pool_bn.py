"""The network of document 001: two convolution-pooling layers with batch normalisation between, and a softmax layer."""

from __future__ import annotations

import paddle
from paddle import nn

from model.networks.network import ConvPool, ImageSpec, Kernel, Network, Pooling, fan_in_uniform, pooled_size


class ConvPoolBN(Network):
    """conv 20@5 → ReLU → max-pool → batch norm → conv 50@5 → ReLU → max-pool → FC 10 → softmax; 33,620 parameters.

    Document 001 calls it LeNet-5; it is the LeNet of the Caffe and deeplearning.net tutorials with batch
    normalisation in and the hidden dense layer out.

    The document states no initialisation. Its framework's default, He's normal one, left the validation loss of the
    chosen pass near 0.045 (10 passes, 55,000 images); uniform ±1/√fan_in brings it to 0.031 and so is used here.
    """

    image = ImageSpec(size=28, low=-1.0, high=1.0)

    def __init__(
        self,
        maps: tuple[int, int] = (20, 50),
        kernel_size: int = 5,
        pooling: Pooling = "max",
        kernel: Kernel = "stock",
    ) -> None:
        super().__init__()
        first, second = maps
        side = pooled_size(pooled_size(self.image.size, kernel_size), kernel_size)
        features = second * side * side
        init1, init2 = fan_in_uniform(kernel_size**2), fan_in_uniform(first * kernel_size**2)
        init3 = fan_in_uniform(features)
        self.conv1 = ConvPool(1, first, kernel_size, "relu", pooling, kernel, init1, init1)
        self.norm = nn.BatchNorm2D(first)
        self.conv2 = ConvPool(first, second, kernel_size, "relu", pooling, kernel, init2, init2)
        self.output = nn.Linear(features, 10, init3, init3)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """See the class."""
        x = self.norm(self.conv1(image))  # 20 × 12 × 12
        x = self.conv2(x)  # 50 × 4 × 4
        return self.output(paddle.flatten(x, 1))
