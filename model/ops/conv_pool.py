"""Convolution → bias → activation → 2×2 pooling, of the current backend: stock operators, or a fused one."""

from __future__ import annotations

from typing import Literal

import paddle
from paddle.nn import functional

from common.errors import UserError
from model.ops.activations import tanh
from model.ops.backend import is_fused
from model.ops.custom_op import fused_op

Activation = Literal["relu", "tanh", "none"]
Pooling = Literal["max", "mean"]


def conv_pool(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor,
    activation: Activation = "relu",
    pooling: Pooling = "max",
) -> paddle.Tensor:
    """Pool `activation(conv(x, weight) + bias)` over 2×2 windows.

    Args:
        x: float32 variable of a static program, [N, C, H, W].
        weight: [M, C, k, k]; the convolution is valid (no padding), with stride 1.
        bias: [M].
        activation: what is applied before the pooling.
        pooling: 2×2, stride 2; with an odd convolution output the last row or column is dropped, as by `pool2d`.

    Returns:
        [N, M, ⌊(H−k+1)/2⌋, ⌊(W−k+1)/2⌋].

    Raises:
        UserError: the shapes do not fit each other, or not even one window fits the image.
    """
    shapes = [list(variable.shape) for variable in (x, weight, bias)]
    of_x, of_weight, of_bias = shapes
    ranks = [len(shape) for shape in shapes]
    if ranks != [4, 4, 1] or of_weight != [of_bias[0], of_x[1], of_weight[2], of_weight[2]]:
        raise UserError(
            "convolution and pooling: expected x [N, C, H, W], weight [M, C, k, k] and bias [M], got "
            f"{of_x}, {of_weight} and {of_bias}"
        )
    height, width, size = of_x[2], of_x[3], of_weight[2]
    if any(0 <= side <= size for side in (height, width)):  # -1: not known yet
        raise UserError(
            f"convolution and pooling: an image of {height}×{width} is too small for a kernel of {size}×{size} and a"
            f" pooling of 2×2, which need {size + 1} pixels a side; choose a smaller kernel"
        )
    implementation = fused_conv_pool if is_fused() else stock_conv_pool
    return implementation(x, weight, bias, activation, pooling)


def fused_conv_pool(
    x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, activation: str, pooling: str
) -> paddle.Tensor:
    """`conv_pool` by the fused operator; arguments and result as there."""
    out, _ = fused_op(
        # Pictures need no gradient, and an operator that has none for them is spared half of the backward work.
        "fused_conv_pool_of_data" if x.stop_gradient else "fused_conv_pool",
        {"X": x, "Weight": weight, "Bias": bias},
        {"Out": "float32", "Saved": "uint8"},
        {"activation": activation, "pooling": pooling},
    )
    return out


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
