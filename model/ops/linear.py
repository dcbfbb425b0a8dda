"""Dense layers."""

from __future__ import annotations

import paddle
from paddle.nn import functional

from model.ops.backend import is_fused
from model.ops.custom_op import fused_op


def linear(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, transposed: bool = False) -> paddle.Tensor:
    """x weight + bias, [N, outputs].

    Args:
        x: [N, inputs], or with several axes that come to as many inputs.
        weight: [inputs, outputs]; if `transposed`, [outputs, …], its other axes coming to the inputs.
        bias: [outputs].
        transposed: see weight.
    """
    if is_fused():
        inputs = {"X": x, "Weight": weight, "Bias": bias}
        return fused_op("fused_linear", inputs, {"Y": "float32"}, {"transposed": transposed})[0]
    if transposed:
        weight = paddle.transpose(paddle.flatten(weight, 1), [1, 0])
    return functional.linear(paddle.flatten(x, 1) if len(x.shape) > 2 else x, weight, bias)
