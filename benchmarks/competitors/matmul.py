"""A large float32 matrix product: what the machine can do. `library` is numpy, torch or jax."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.protocol import initial, options, serve, versions

SIDE = 2048
FLOP = 2 * SIDE**3


def product() -> Callable[[], Any]:
    """A function that multiplies two matrices and has the result ready when it returns."""
    a, b = (initial(name, (SIDE, SIDE)) for name in ("a", "b"))
    if options["library"] == "torch":
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        return lambda: x @ y
    if options["library"] == "jax":
        import jax

        multiply = jax.jit(lambda x, y: x @ y)
        x, y = jax.device_put(a), jax.device_put(b)
        return lambda: multiply(x, y).block_until_ready()
    return lambda: a @ b


def main() -> None:
    """Serve; a step is one product."""
    multiply = product()

    def run(steps: int) -> float:
        for _ in range(steps):
            result = multiply()
        return np.abs(np.asarray(result)).mean()

    serve(run, lambda batch, steps: steps, versions=versions(options["library"]), flop=FLOP)


if __name__ == "__main__":
    main()
