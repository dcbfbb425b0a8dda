"""Networks: layers in a row, under the names that the same network has as a Paddle program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from reference.layers import Array, BatchNorm, Conv, FullyConnected, Layer, MaxPool, MeanPool, ReLU

KernelSize = int | tuple[int, int]  # one size for both convolutions, or each its own
Pooling = Literal["max", "mean"]
POOLINGS: dict[Pooling, type[MaxPool | MeanPool]] = {"max": MaxPool, "mean": MeanPool}


class Network:
    """Layers, each fed with the output of the one before: images [N, 1, S, S] -> logits [classes, N].

    Attributes:
        layers: name -> layer, in order.
        parameters: "conv1.weight" -> array, what training changes; the layers' own arrays, to be changed in place.
        statistics: "norm._mean" -> array, the running statistics of batch normalisation, likewise.
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.layers = dict(layers)
        self.parameters = {f"{n}.{p}": a for n, layer in layers.items() for p, a in layer.parameters.items()}
        self.statistics = {f"{n}.{p}": a for n, layer in layers.items() for p, a in layer.statistics.items()}

    def forward(self, images: Array, training: bool = False) -> Array:
        """Logits [classes, N] of images [N, 1, S, S]; inside, the images come last (see `layers`)."""
        x = np.ascontiguousarray(images.transpose(1, 2, 3, 0))
        for layer in self.layers.values():
            x = layer.forward(x, training)
        return x

    def backward(self, gradient: Array) -> dict[str, Array]:
        """Gradient of every parameter by name, from that of the last training forward's logits, [classes, N].

        The gradient of the images themselves is not computed.
        """
        gradients: dict[str, Array] = {}
        first = next(iter(self.layers))
        for name, layer in reversed(self.layers.items()):
            for parameter, value in layer.parameter_gradients(gradient).items():
                gradients[f"{name}.{parameter}"] = value
            if name != first:
                gradient = layer.input_gradient(gradient)
        return gradients


def lenet5_numpy(
    seed: int,
    *,
    maps: tuple[int, int] = (6, 16),
    kernel_size: KernelSize = 5,
    pooling: Pooling = "max",
    classes: int = 10,
    initialisation: Literal["published", "he"] = "published",
    dtype: type[np.floating] = np.float32,
) -> Network:
    """The network of the NumPy report, 44,426 parameters, for 1×28×28 images centred with the training mean.

    conv 6@5 → ReLU → max-pool 2 → conv 16@5 → ReLU → max-pool 2 → FC 256→120 → ReLU → FC 84 → ReLU → FC 10.

    "published" starts as the document does: weights normal with σ = √(2 / channels) for convolutions and √(2 / D_in)
    for fully connected layers, biases normal with σ = 1. The document calls that Xavier's; it is He's with the k² of
    a convolution's fan-in forgotten, so kernels start five times too large. "he" is He et al. 2015: σ =
    √(2 / (k² · channels)) and √(2 / D_in), biases 0.
    """
    random = np.random.Generator(np.random.Philox(seed))
    published = initialisation == "published"

    def bias(size: int) -> Array:
        return random.normal(0, 1, size).astype(dtype) if published else np.zeros(size, dtype)

    def conv(channels: int, filters: int, k: int) -> Conv:
        sigma = np.sqrt(2 / (channels if published else k * k * channels))
        return Conv(random.normal(0, sigma, (filters, channels, k, k)).astype(dtype), bias(filters))

    def full(d_in: int, d_out: int) -> FullyConnected:
        return FullyConnected(random.normal(0, np.sqrt(2 / d_in), (d_in, d_out)).astype(dtype), bias(d_out))

    (first, second), (k1, k2) = maps, _two(kernel_size)
    return Network(
        {
            "conv1": conv(1, first, k1),  # 6 × 24 × 24
            "relu1": ReLU(),
            "pool1": POOLINGS[pooling](2),  # 6 × 12 × 12
            "conv2": conv(first, second, k2),  # 16 × 8 × 8
            "relu2": ReLU(),
            "pool2": POOLINGS[pooling](2),  # 16 × 4 × 4
            "full1": full(second * _pooled_side(k1, k2) ** 2, 120),
            "relu3": ReLU(),
            "full2": full(120, 84),
            "relu4": ReLU(),
            "output": full(84, classes),
        }
    )


def conv_pool_bn(
    seed: int,
    *,
    maps: tuple[int, int] = (20, 50),
    kernel_size: KernelSize = 5,
    pooling: Pooling = "max",
    classes: int = 10,
    dtype: type[np.floating] = np.float32,
) -> Network:
    """The network of the fluid tutorial, 33,620 parameters, for 1×28×28 images in [-1, 1].

    conv 20@5 → ReLU → max-pool 2 → batch norm → conv 50@5 → ReLU → max-pool 2 → FC 10.

    The document states no initialisation; weights and biases start uniform within ±1/√fan_in, as the same network in
    `model` does; the normalisation's scales start at 1, its shifts at 0.
    """
    random = np.random.Generator(np.random.Philox(seed))

    def uniform(fan_in: int, *shape: int) -> Array:
        return random.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(dtype)

    def conv(channels: int, filters: int, k: int) -> Conv:
        fan_in = channels * k * k
        return Conv(uniform(fan_in, filters, channels, k, k), uniform(fan_in, filters))

    (first, second), (k1, k2) = maps, _two(kernel_size)
    d_in = second * _pooled_side(k1, k2) ** 2
    return Network(
        {
            "conv1": conv(1, first, k1),  # 20 × 24 × 24
            "relu1": ReLU(),
            "pool1": POOLINGS[pooling](2),  # 20 × 12 × 12
            "norm": BatchNorm(np.ones(first, dtype), np.zeros(first, dtype)),
            "conv2": conv(first, second, k2),  # 50 × 8 × 8
            "relu2": ReLU(),
            "pool2": POOLINGS[pooling](2),  # 50 × 4 × 4
            "output": FullyConnected(uniform(d_in, d_in, classes), uniform(d_in, classes)),
        }
    )


def _two(kernel_size: KernelSize) -> tuple[int, int]:
    return (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size


def _pooled_side(k1: int, k2: int) -> int:
    """Side of the maps after both convolutions and poolings of a 28×28 image."""
    return ((28 - k1 + 1) // 2 - k2 + 1) // 2


NETWORKS: dict[str, Callable[..., Network]] = {"lenet5_numpy": lenet5_numpy, "conv_pool_bn": conv_pool_bn}
