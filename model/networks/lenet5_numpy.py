"""The network of the NumPy report's code, which the document writes in NumPy alone, as the package `reference` does."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional
from paddle.nn.initializer import Initializer

from model.image import ImageSpec
from model.networks.layers import ConvPool, FullyConnected, KernelSize, pooled_twice, two_sizes
from model.networks.network import Network
from model.ops.conv_pool import Pooling

# Mean of byte / 255 over MNIST's 60,000 training images: their bytes add up to 1,567,298,545. The document subtracts
# it from the training images, but from the test images their own mean; a network in use knows the former only.
TRAINING_MEAN = 1_567_298_545 / (60_000 * 28 * 28 * 255)


class LeNet5NumPy(Network):
    """LeNet-5 for 28×28 pixels; 44,426 parameters.

    conv 6@5 → ReLU → max-pool → conv 16@5 → ReLU → max-pool → FC 120 → ReLU → FC 84 → ReLU → FC 10 → softmax.

    Initial values are the document's: the weights of convolutions are normal with σ = √(2 / channels), He's without the
    kernel's area, so five times too large. Those of fully connected layers have σ = √(2 / inputs), all biases σ = 1.
    """

    image = ImageSpec(size=28, low=-TRAINING_MEAN, high=1.0 - TRAINING_MEAN)

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
        unit = nn.initializer.Normal(0.0, 1.0)

        def conv(inputs: int, outputs: int, size: int) -> ConvPool:
            return ConvPool(inputs, outputs, size, "relu", pooling, _normal(inputs), unit)

        def full(inputs: int, outputs: int) -> nn.Linear:
            return FullyConnected(inputs, outputs, _normal(inputs), unit)

        self.conv1 = conv(1, first, first_size)
        self.conv2 = conv(first, second, second_size)
        self.full1 = full(second * side * side, 120)
        self.full2 = full(120, 84)
        self.output = full(84, classes)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = self.conv1(image)  # 6 × 12 × 12
        x = self.conv2(x)  # 16 × 4 × 4
        x = functional.relu(self.full1(x))
        x = functional.relu(self.full2(x))
        return self.output(x)


def _normal(fan_in: int) -> Initializer:
    return nn.initializer.Normal(0.0, (2 / fan_in) ** 0.5)
