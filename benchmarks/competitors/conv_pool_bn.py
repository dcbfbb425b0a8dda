"""The parameters of conv_pool_bn, with the names and shapes that they have in the project."""

from __future__ import annotations

TRAINED = {
    "conv1.weight": (20, 1, 5, 5),
    "conv1.bias": (20,),
    "norm.weight": (20,),
    "norm.bias": (20,),
    "conv2.weight": (50, 20, 5, 5),
    "conv2.bias": (50,),
    "output.weight": (800, 10),
    "output.bias": (10,),
}
STATISTICS = {"norm._mean": (20,), "norm._variance": (20,)}
