"""LeNet-5 slid along a row of digits, trained end to end on whole rows."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional

from model.image import ImageSpec
from model.networks.layers import ConvPool, torch_default
from model.networks.network import Network
from model.ops.batch_norm import BatchNorm
from model.ops.ctc import ctc_loss


class LeNetRow(Network):
    """A row of digits in, scores of each of its columns out; 444,737 parameters.

    conv 20@5 → ReLU → max-pool 2×2 → batch norm → conv 50@5 → ReLU → max-pool 2×1 → batch norm → conv 120@5 → ReLU →
    batch norm → three times conv 120@1×5 → ReLU → batch norm → conv 84@1×5 → ReLU → batch norm → conv 11@1 → softmax
    over the ten digits and "no digit here".

    It is the space displacement network of LeCun et al. 1998, section VII: LeNet-5 whose fully connected layers are
    convolutions, so that it answers at every place of a row at once. The second pooling halves the height alone, for
    a score every 2 pixels. Four layers look along the row, by which a score depends on 54 pixels: enough to know a 1
    from the edge of a box, and a digit's size from its neighbours'. Two of them add what they find to what they read
    (He et al., "Deep Residual Learning for Image Recognition", 2016), nothing at first. The paper trains by a lattice
    over the columns; here that is connectionist temporal classification (Graves et al. 2006), which sums over all
    ways to place a row's digits.
    """

    image = ImageSpec(size=32, low=-1.0, high=1.0, fit="row")

    def __init__(self, maps: tuple[int, int] = (20, 50)) -> None:
        super().__init__()
        first, second = maps
        self.conv1 = ConvPool(1, first, 5, "relu", "max")
        self.norm1 = BatchNorm(first)
        self.conv2 = _conv(first, second, (5, 5))
        self.pool2 = nn.MaxPool2D((2, 1), (2, 1))
        self.norm2 = BatchNorm(second)
        self.conv3 = _conv(second, 120, (5, 5))
        self.norm3 = BatchNorm(120)
        self.conv4 = _conv(120, 120, (1, 5))
        self.norm4 = BatchNorm(120)
        self.conv5 = _conv(120, 120, (1, 5))
        self.norm5 = BatchNorm(120, weight_attr=_nothing())
        self.conv6 = _conv(120, 120, (1, 5))
        self.norm6 = BatchNorm(120, weight_attr=_nothing())
        self.conv7 = _conv(120, 84, (1, 5))
        self.norm7 = BatchNorm(84)
        self.output = _conv(84, self.classes + 1, (1, 1))

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """Row [N, 1, 32, W] -> scores [N, (W - 20) / 2, 11]; the last of a column is that of no digit."""
        x = self.norm1(self.conv1(image))  # 20 × 14 × W/2
        x = self.norm2(self.pool2(functional.relu(self.conv2(x))))  # 50 × 5 × W/2
        x = self.norm3(functional.relu(self.conv3(x)))  # 120 × 1 × W/2
        x = self.norm4(functional.relu(self.conv4(x)))
        x = paddle.add(x, self.norm5(functional.relu(self.conv5(x))))
        x = paddle.add(x, self.norm6(functional.relu(self.conv6(x))))
        x = self.norm7(functional.relu(self.conv7(x)))  # 84 × 1 × W/2
        return paddle.transpose(self.output(x)[:, :, 0], [0, 2, 1])

    def loss(
        self, scores: paddle.Tensor, label: paddle.Tensor, smoothing: float
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """See Network; labels are [N, 11], -1 behind the last digit, and a row is right if all of it is."""
        return ctc_loss(scores, label)

    def log_probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, T, 11] -> natural logarithm of the probability of each digit, and of none [N, T, 11]."""
        return paddle.subtract(scores, paddle.logsumexp(scores, axis=2, keepdim=True))

    def probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, T, 11] -> probability of each digit, and of none [N, T, 11]."""
        return functional.softmax(scores, axis=2)


def _conv(inputs: int, maps: int, size: tuple[int, int]) -> nn.Conv2D:
    """Convolution, along a row padded so that it stays as wide."""
    init = torch_default(inputs * size[0] * size[1])
    padding = (0, size[1] // 2 if size[0] == 1 else 0)
    return nn.Conv2D(inputs, maps, size, padding=padding, weight_attr=init, bias_attr=init)


def _nothing() -> paddle.ParamAttr:
    """Scale of a normalisation whose output is 0 at first, by which a network begins as one without that layer.

    Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1.
    """
    return paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))
