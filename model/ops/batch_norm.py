"""Batch normalisation of maps."""

from __future__ import annotations

import paddle
from paddle import nn

from model.ops.backend import is_fused
from model.ops.custom_op import fused_op


class BatchNorm(nn.BatchNorm2D):
    """paddle.nn.BatchNorm2D (Ioffe and Szegedy 2015), in training of the current backend.

    maps [N, channels, H, W] -> the same shape.
    """

    def forward(self, maps: paddle.Tensor) -> paddle.Tensor:
        if not (self.training and is_fused()):
            return super().forward(maps)
        inputs = {"X": maps, "Scale": self.weight, "Bias": self.bias, "Mean": self._mean, "Variance": self._variance}
        return fused_op(
            "fused_batch_norm",
            inputs,
            {"Y": "float32", "SavedMean": "float32", "SavedSlope": "float32"},
            {"momentum": self._momentum, "epsilon": self._epsilon},
            in_place=["Mean", "Variance"],
        )[0]
