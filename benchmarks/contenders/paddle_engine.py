"""The project's engine as its contenders use it."""

from __future__ import annotations

from benchmarks.protocol import initial, options
from model.conv_pool import resolve_kernel
from model.device import choose_device
from model.engine import PaddleEngine
from model.program import NetworkChoice
from model.recipes import Recipe

LEARNING_RATE = 1e-3


def build() -> PaddleEngine:
    """The engine that the options tell of, Adam in it, with the contenders' common initial values."""
    import paddle  # not before the package model has prepared the process

    paddle.enable_static()
    kernel = options.get("kernel", "stock")
    resolve_kernel(kernel, "cpu")
    choice, recipe = NetworkChoice(options["network"], {}, kernel), Recipe("adam", LEARNING_RATE)
    engine = PaddleEngine(choice, recipe, choose_device("cpu"), seed=1)
    engine.load_parameters({name: initial(name, value.shape) for name, value in engine.parameters().items()})
    return engine
