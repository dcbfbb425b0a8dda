"""PyTorch twins of the project's networks, as one writes them in PyTorch; names of parameters are the project's."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, max_pool2d, relu

from benchmarks.protocol import initial


class Twin(nn.Module):
    """Scores [N, 10] of images [N, 1, S, S]."""

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Mean negative log-probability of the labels, nats."""
        return cross_entropy(scores, labels)


class ConvPoolBN(Twin):
    """The fluid tutorial's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv2d(1, 20, 5), nn.BatchNorm2d(20), nn.Conv2d(20, 50, 5)
        self.output = nn.Linear(800, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(max_pool2d(relu(self.conv1(x)), 2))
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.output(x.flatten(1))


class TwoBranch(Twin):
    """The PyTorch notebook's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2a, self.conv2b = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Conv2d(6, 16, 5)
        self.conv3, self.full1, self.output = nn.Conv2d(16, 120, 5), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2a(x)), 2) + max_pool2d(relu(self.conv2b(x)), 2)
        x = relu(self.conv3(x)).flatten(1)
        return self.output(relu(self.full1(x)))


class LeNet5ReLU(Twin):
    """The PyTorch note's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 120, 5)
        self.full1, self.output = nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.output(relu(self.full1(self.conv3(x).flatten(1))))


class LeNetTanh(Twin):
    """The Theano tutorial's; tanh after the pooling, as there."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.full1, self.output = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(max_pool2d(self.conv1(x), 2))
        x = torch.tanh(max_pool2d(self.conv2(x), 2))
        return self.output(torch.tanh(self.full1(x.flatten(1))))


class LeNet5NumPy(Twin):
    """The NumPy report's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.full1, self.full2, self.output = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.output(relu(self.full2(relu(self.full1(x.flatten(1))))))


C3_READS = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5]]
C3_READS += [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5]]
C3_READS += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


def squash(x: Tensor) -> Tensor:
    """The 1998 paper's equation 6."""
    return 1.7159 * torch.tanh(2 / 3 * x)


class PartialConv(nn.Module):
    """Convolution with a connection table; the kernels there are, `weight1` and on, are scattered into a dense one."""

    def __init__(self, reads: list[list[int]], inputs: int) -> None:
        super().__init__()
        runs = [(count, len(list(run))) for count, run in groupby(map(len, reads))]
        self.names = [f"weight{number}" for number, _ in enumerate(runs, 1)]
        for name, (count, maps) in zip(self.names, runs, strict=True):
            self.register_parameter(name, nn.Parameter(torch.empty(count * maps, 5, 5)))
        self.bias = nn.Parameter(torch.empty(len(reads)))
        self.places = torch.tensor([row * inputs + read for row, maps in enumerate(reads) for read in maps])
        self.shape = len(reads), inputs

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, inputs, H, W] -> [N, len(reads), H - 4, W - 4]."""
        kernels = torch.cat([getattr(self, name) for name in self.names])
        dense = torch.zeros(self.shape[0] * self.shape[1], 5, 5).index_copy(0, self.places, kernels)
        return nn.functional.conv2d(x, dense.view(*self.shape, 5, 5), self.bias)


class Subsampling(nn.Module):
    """Sum of 2×2 · coefficient + bias."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient, self.bias = nn.Parameter(torch.empty(maps)), nn.Parameter(torch.empty(maps))

    def forward(self, x: Tensor) -> Tensor:
        """Maps of half the side."""
        coefficient, bias = self.coefficient.view(-1, 1, 1), self.bias.view(-1, 1, 1)
        return 4 * avg_pool2d(x, 2) * coefficient + bias


class LeNet51998(Twin):
    """The original; every layer up to F6 is squashed, the answer is the nearest of ten bitmaps."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.s2 = PartialConv([[0]] * 6, 1), Subsampling(6)
        self.c3, self.s4 = PartialConv(C3_READS, 6), Subsampling(16)
        self.c5, self.f6 = nn.Conv2d(16, 120, 5), nn.Linear(120, 84)
        self.output = nn.Module()
        self.output.register_buffer("weight", torch.empty(10, 84))

    def forward(self, x: Tensor) -> Tensor:
        x = squash(self.s2(squash(self.c1(x))))
        x = squash(self.s4(squash(self.c3(x))))
        x = squash(self.f6(squash(self.c5(x)).flatten(1)))
        return -(x.unsqueeze(1) - self.output.weight).square().sum(2)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The paper's equation 9; 1 is the penalty of the rubbish class."""
        return cross_entropy(torch.cat([scores, torch.full_like(scores[:, :1], -1.0)], 1), labels)


TWINS = {
    "conv_pool_bn": ConvPoolBN,
    "lenet5_1998": LeNet51998,
    "two_branch": TwoBranch,
    "lenet5_relu": LeNet5ReLU,
    "lenet_tanh": LeNetTanh,
    "lenet5_numpy": LeNet5NumPy,
}


def build(name: str) -> Twin:
    """A twin with the competitors' common initial values."""
    twin = TWINS[name]()
    renamed = {"running_mean": "_mean", "running_var": "_variance"}
    with torch.no_grad():
        for prefix, module in twin.named_modules():
            own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
            for inner, tensor in own.items():
                name = f"{prefix}.{renamed.get(inner, inner)}"
                if isinstance(module, nn.Linear) and inner == "weight":
                    tensor.copy_(torch.from_numpy(initial(name, tuple(tensor.shape[::-1]))).T)
                elif tensor.is_floating_point():
                    tensor.copy_(torch.from_numpy(initial(name, tuple(tensor.shape))))
    return twin
