"""LeNet-5 of LeCun, Bottou, Bengio and Haffner (1998).

"Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 86, section II.B; the PyTorch
notebook, the fluid tutorial and the NumPy report describe it (docs/networks.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from model.image import ImageSpec
from model.networks.bitmaps import HEIGHT, WIDTH, digit_bitmaps
from model.networks.layers import FullyConnected, WholeMapConv, uniform
from model.networks.network import Network
from model.ops.activations import tanh
from model.ops.backend import backend, is_fused
from model.ops.conv_pool import conv_pool
from model.ops.custom_op import fused_op
from model.ops.linear import linear


@dataclass(frozen=True)
class Squashing:
    """The function f(a) = amplitude · tanh(slope · a) + offset."""

    slope: float
    amplitude: float
    offset: float

    def __call__(self, a: paddle.Tensor) -> paddle.Tensor:
        """f(a), elementwise."""
        return self.rest(tanh(self.slope * a))

    def rest(self, t: paddle.Tensor) -> paddle.Tensor:
        """The rest of f, given t = tanh(slope · a) or a mean of such values."""
        return self.amplitude * t + self.offset

    def initial(self, fan_in: int) -> Initializer:
        """Initial weights of units with this function: the paper's ±2.4 / fan-in, uniform, for the paper's function.

        A function that is flatter at 0 has larger ones, by the same factor; with the paper's own bound, six layers of
        sigmoids let nothing of an image through.
        """
        return uniform(2.4 / fan_in * _PAPERS_STEEPNESS / (self.amplitude * self.slope))


# "tanh" is the paper's equation 6 with the constants of its appendix A, by which f(±1) = ±1. "sigmoid", which the
# documents speak of, is 1 / (1 + e^-a) = (1 + tanh(a / 2)) / 2.
SQUASHINGS = {"tanh": Squashing(2 / 3, 1.7159, 0.0), "sigmoid": Squashing(0.5, 0.5, 0.5)}
_PAPERS_STEEPNESS = SQUASHINGS["tanh"].amplitude * SQUASHINGS["tanh"].slope

# The maps of S2 that each map of C3 reads: the paper's table I (the NumPy report prints it damaged).
C3_READS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# The paper's j, the penalty of the rubbish class; the paper gives no value. Beyond this distance a digit is pulled to
# its bitmap with full force, and smaller is better: after 3 passes 98.50 % on validation for j = 1, 98.20 % for 10,
# 97.04 % for 30 (Adam 1e-3, batch 32, seed 1).
RUBBISH_PENALTY = 1.0


class PartialConv(nn.Layer):
    """C1 and C3: convolution → squashing → mean of 2×2, with which the subsampling layer behind it begins.

    maps [N, inputs, H, W] -> [N, len(reads), (H - size + 1) // 2, (W - size + 1) // 2].

    Only the connections in `reads` have weights. Each run of maps that read equally many has one parameter, `weight1`
    and so on: [maps · inputs read, size, size], kernel by kernel in the order of `reads`. The dense weight is gathered
    from them and from a constant 0, so that outside the table there is nothing that an optimizer could change.
    """

    def __init__(self, inputs: int, reads: Sequence[Sequence[int]], size: int, squashing: Squashing) -> None:
        super().__init__()
        runs = [(count, len(list(run))) for count, run in groupby(map(len, reads))]
        # A plain list beside the parameters' names: Paddle 3.3's ParameterList takes none of a static program.
        self.weights = []
        for number, (count, maps) in enumerate(runs, start=1):
            init = squashing.initial(count * size * size)
            self.weights.append(self.create_parameter([maps * count, size, size], default_initializer=init))
            self.add_parameter(f"weight{number}", self.weights[-1])
        self.bias = self.create_parameter([len(reads)], is_bias=True)
        self.dense_shape = [len(reads), inputs, size, size]
        self.squashing = squashing
        connections = [(map_number, read) for map_number, maps in enumerate(reads) for read in maps]
        # Where each kernel of the dense weight comes from; the constant 0 lies behind the last connection.
        self.sources = np.full(len(reads) * inputs, len(connections), np.int32)
        for place, (map_number, read) in enumerate(connections):
            self.sources[map_number * inputs + read] = place

    def dense_weight(self) -> paddle.Tensor:
        """The kernels, [len(reads), inputs, size, size], 0 for pairs without a connection."""
        kernels = paddle.concat([*self.weights, paddle.zeros([1, *self.dense_shape[2:]])])
        return paddle.reshape(paddle.gather(kernels, paddle.assign(self.sources)), self.dense_shape)

    def forward(self, maps: paddle.Tensor) -> paddle.Tensor:
        slope = self.squashing.slope
        return self.squashing.rest(conv_pool(maps, slope * self.dense_weight(), slope * self.bias, "tanh", "mean"))


class Subsampling(nn.Layer):
    """S2 and S4: squashing of (sum of 2×2 inputs · coefficient + bias), one coefficient and bias for each map.

    means of 2×2 inputs [N, maps, H, W] -> [N, maps, H, W]; the sum is four times the mean.
    """

    def __init__(self, maps: int, squashing: Squashing) -> None:
        super().__init__()
        self.coefficient = self.create_parameter([maps], default_initializer=squashing.initial(4))
        self.bias = self.create_parameter([maps], is_bias=True)
        self.squashing = squashing

    def forward(self, means: paddle.Tensor) -> paddle.Tensor:
        if is_fused():
            inputs = {"X": means, "Coefficient": 4.0 * self.coefficient, "Bias": self.bias}
            return fused_op("fused_squash", inputs, {"Y": "float32"}, asdict(self.squashing))[0]
        coefficient, bias = (paddle.reshape(p, [1, -1, 1, 1]) for p in (self.coefficient, self.bias))
        return self.squashing(means * (4.0 * coefficient) + bias)


class RBF(nn.Layer):
    """Euclidean radial basis functions, the paper's equation 7: x [N, 84] -> y_i = Σ_j (x_j - w_ij)², [N, 10].

    w_i is the bitmap of digit i, and stays it unless `trainable`.
    """

    def __init__(self, trainable: bool) -> None:
        super().__init__()
        bitmaps = paddle.ParamAttr(initializer=nn.initializer.Assign(digit_bitmaps()), trainable=trainable)
        self.weight = self.create_parameter([10, WIDTH * HEIGHT], attr=bitmaps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        # As |x|² - 2 x·w + |w|²: the square of each difference alone would be ten times the memory. The sums are means
        # times 84, since paddle.sum of Paddle 3.3 refuses the old representation of programs.
        squares = [
            float(WIDTH * HEIGHT) * paddle.mean(paddle.square(v), axis=1, keepdim=keep)
            for v, keep in ((x, True), (self.weight, False))
        ]
        # Paddle 2.6 cannot leave out one gradient of a custom operator, as that of fixed bitmaps.
        with backend("stock") if self.weight.stop_gradient else nullcontext():
            products = linear(x, -2.0 * self.weight, squares[1], transposed=True)
        return paddle.add(squares[0], products)  # "+" between these shapes warns under the old representation


class LeNet51998(Network):
    """The original; 60,840 parameters, of them 840 fixed, and 340,908 connections.

    C1 conv 6@5 → S2 subsampling → C3 conv 16@5, partially connected → S4 subsampling → C5 conv 120@5 → F6 FC 84 → RBF
    10. Every unit up to F6 is squashed, a convolution's too: "units in layers up to F6 compute a dot product" that "is
    then passed through a sigmoid squashing function". The paper means its scaled tanh. `squashing="sigmoid"` gives the
    logistic function to all layers but F6, where it could not meet the bitmaps' -1.

    A score is minus the penalty y of an RBF unit; the smallest penalty is the answer. The loss is the paper's maximum a
    posteriori criterion (equation 9), y_label + log(e^-j + Σ_i e^-y_i): minus the logarithm of the probability that a
    softmax over the ten scores and the score -j of a rubbish class gives the label. An image's ten probabilities
    therefore add up to less than 1. A digit that is far from its bitmap has a small one even if it is the answer.

    Weights start as in the paper, uniform within ±2.4 / fan-in (`Squashing.initial`), a subsampling unit's fan-in being
    4; biases start at 0. The counts are the documents'. The paper's own, 60,000 trainable parameters, leaves out the
    fixed 840 of the RBF units.
    """

    image = ImageSpec(size=32, low=-0.1, high=1.175, fit="pad")
    undecayed = ("output.weight",)  # bitmaps are not to fade

    def __init__(self, squashing: Literal["tanh", "sigmoid"] = "tanh", train_rbf: bool = False) -> None:
        super().__init__()
        self.squashing, self.last_squashing = SQUASHINGS[squashing], SQUASHINGS["tanh"]
        zero = nn.initializer.Constant(0.0)
        self.c1 = PartialConv(1, [(0,)] * 6, 5, self.squashing)
        self.s2 = Subsampling(6, self.squashing)
        self.c3 = PartialConv(6, C3_READS, 5, self.squashing)
        self.s4 = Subsampling(16, self.squashing)
        self.c5 = WholeMapConv(16, 120, 5, self.squashing.initial(16 * 5 * 5), zero)
        self.f6 = FullyConnected(120, WIDTH * HEIGHT, self.last_squashing.initial(120), zero)
        self.output = RBF(train_rbf)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = self.s2(self.c1(image))  # 6 × 14 × 14
        x = self.s4(self.c3(x))  # 16 × 5 × 5
        x = self.squashing(self.c5(x))
        x = self.last_squashing(self.f6(x))
        return -self.output(x)

    def logits(self, scores: paddle.Tensor) -> paddle.Tensor:
        """See Network; with the rubbish class of the criterion that this class describes."""
        return paddle.concat([scores, paddle.full_like(scores[:, :1], -RUBBISH_PENALTY)], axis=1)
