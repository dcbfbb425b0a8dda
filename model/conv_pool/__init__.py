"""Convolution → bias → activation → 2×2 pooling, as one function with two kernels: stock operators and a fused one."""

from __future__ import annotations

from typing import Literal

import paddle

from common.errors import UserError
from model.conv_pool.build import load_fused, resolve_kernel
from model.conv_pool.fused import fused_conv_pool
from model.conv_pool.stock import stock_conv_pool

__all__ = ["Activation", "Kernel", "Pooling", "conv_pool", "load_fused", "resolve_kernel"]

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
        kernel: "fused" is for the CPU, and needs `resolve_kernel` or `load_fused` to have made it available.

    Returns:
        [N, M, ⌊(H−k+1)/2⌋, ⌊(W−k+1)/2⌋].

    Raises:
        UserError: not even one window fits the image.
    """
    height, width, size = x.shape[2], x.shape[3], weight.shape[2]
    if min(height, width) <= size:
        raise UserError(
            f"convolution and pooling: an image of {height}×{width} is too small for a kernel of {size}×{size} and a"
            f" pooling of 2×2, which need {size + 1} pixels a side; choose a smaller kernel"
        )
    implementation = fused_conv_pool if kernel == "fused" else stock_conv_pool
    return implementation(x, weight, bias, activation, pooling)
