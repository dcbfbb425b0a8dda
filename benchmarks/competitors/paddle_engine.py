"""The project's engine as its competitors use it."""

from __future__ import annotations

from benchmarks.protocol import initial, options
from model.device import choose_device
from model.engine import PaddleEngine
from model.ops.backend import resolve_backend
from model.program import NetworkConfig
from model.recipes import Recipe

LEARNING_RATE = 1e-3


def build() -> PaddleEngine:
    """The engine of the options, Adam in it, with the competitors' common initial values."""
    import paddle  # not before the package model has prepared the process

    paddle.enable_static()
    backend = options.get("kernel", "stock")
    resolve_backend(backend, "cpu")
    config, recipe = NetworkConfig(options["network"], {}, backend), Recipe("adam", LEARNING_RATE)
    engine = PaddleEngine(config, recipe, choose_device("cpu"), seed=1)
    engine.load_parameters({name: initial(name, value.shape) for name, value in engine.parameters().items()})
    return engine
