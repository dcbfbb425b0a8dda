"""The fused operator (paddle_op.cc) as a function on variables of a static program."""

from __future__ import annotations

import paddle
from paddle.base.layer_helper import LayerHelper

# Paddle 2.6 has the first only, and knows only programs of the old representation.
_in_new_representation = getattr(paddle.framework, "in_pir_mode", lambda: False)


def fused_conv_pool(
    x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, activation: str, pooling: str
) -> paddle.Tensor:
    """`conv_pool` by the fused operator; arguments and result as there."""
    # Pictures need no gradient, and an operator that has none for them is spared half of the backward work.
    name = "fused_conv_pool_of_data" if x.stop_gradient else "fused_conv_pool"
    if _in_new_representation():
        return paddle._C_ops._run_custom_op(name, x, weight, bias, activation, pooling)[0]
    helper = LayerHelper(name)
    out = helper.create_variable_for_type_inference("float32")
    saved = helper.create_variable_for_type_inference("uint8", stop_gradient=True)
    helper.append_op(
        type=name,
        inputs={"X": x, "Weight": weight, "Bias": bias},
        outputs={"Out": out, "Saved": saved},
        attrs={"activation": activation, "pooling": pooling},
    )
    return out
