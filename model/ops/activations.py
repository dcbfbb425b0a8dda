"""Activations that Paddle's own functions do not build in every representation of a program."""

from __future__ import annotations

import paddle
from paddle.base.layer_helper import LayerHelper


def tanh(x: paddle.Tensor) -> paddle.Tensor:
    """tanh(x), elementwise, by the operator of that name; Paddle 3.3's paddle.tanh refuses the old representation."""
    return LayerHelper("tanh", act="tanh").append_activation(x)
