"""Convolution → bias → activation → 2×2 pooling, as one function with two kernels: stock operators and a fused one."""

from __future__ import annotations

from typing import Literal

import paddle

from model.conv_pool.stock import stock_conv_pool

Activation = Literal["relu", "tanh", "none"]
Pooling = Literal["max", "mean"]
Kernel = Literal["stock", "fused"]


def conv_pool(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor,
    activation: Activation = "relu",
    pooling: Pooling = "max",
    kernel: Kernel = "stock",
) -> paddle.Tensor:
    """Pool `activation(conv(x, weight) + bias)` over 2×2 windows.

    Args:
        x: float32 variable of a static program, [N, C, H, W].
        weight: [M, C, k, k]; the convolution is valid (no padding), with stride 1.
        bias: [M].
        activation: what is applied before the pooling.
        pooling: 2×2, stride 2; with an odd convolution output the last row or column is dropped, as by `pool2d`.
        kernel: "fused" needs `load_fused()` to have succeeded (see `resolve_kernel`).

    Returns:
        [N, M, ⌊(H−k+1)/2⌋, ⌊(W−k+1)/2⌋].
    """
    return stock_conv_pool(x, weight, bias, activation, pooling)
