"""The fused operator (paddle_op.cc) as a function on variables of a static program."""

from __future__ import annotations

import paddle

from model.fused_op import fused_op


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
