"""The stock-operator twin of the fused operator: the same function in Paddle's own operators, in its cheapest form."""

from __future__ import annotations

import paddle
from paddle.nn import functional

from model.activations import tanh

_ACTIVATIONS = {"relu": functional.relu, "tanh": tanh, "none": lambda x: x}


def stock_conv_pool(
    x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, activation: str, pooling: str
) -> paddle.Tensor:
    """`conv_pool` from stock operators; arguments and result as there.

    Adding a constant, ReLU and tanh are monotone, and stay so when rounded: pooling by maximum commutes with them
    exactly, and behind it they have a quarter of the elements to go through. The mean commutes with the bias only.
    """
    # paddle.add, not +: Paddle 2.6 warns about that operator wherever it broadcasts.
    y = functional.conv2d(x, weight)
    bias = paddle.reshape(bias, [1, -1, 1, 1])
    if pooling == "max":
        return _ACTIVATIONS[activation](paddle.add(functional.max_pool2d(y, 2, 2), bias))
    if activation == "none":
        return paddle.add(functional.avg_pool2d(y, 2, 2), bias)
    return functional.avg_pool2d(_ACTIVATIONS[activation](paddle.add(y, bias)), 2, 2)
