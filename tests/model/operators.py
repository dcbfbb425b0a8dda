"""What the tests of the fused operators share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import static

from model.engine import Session
from model.kernels.build import load_fused
from model.program import Program
from tests.launcher import SHARED

Arrays = Mapping[str, np.ndarray]


def need_fused() -> None:
    """Skip the test where there is no library of fused operators."""
    if reason := load_fused(lambda line: None):
        pytest.skip(f"no fused operator: {reason}")


def small_program(build: Callable[..., Mapping[str, Any]], arrays: Arrays) -> Session:
    """A program of its own, in a scope of its own, initialised: its outputs are what `build` makes of the variables.

    These are called as the arrays are, and are like them but for the first axis, which is of any length.
    """
    main, startup = static.Program(), static.Program()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        feeds = {name: static.data(name, [None, *a.shape[1:]], str(a.dtype)) for name, a in arrays.items()}
        for variable in feeds.values():
            variable.stop_gradient = False
        fetches = build(**feeds)
    values = Session(Program(main, startup, feeds, fetches, {}, 0), paddle.CPUPlace())
    values.initialise()
    return values


def parameter(value: np.ndarray, name: str) -> Any:
    """A parameter of the program that is being built."""
    initial = paddle.nn.initializer.Assign(value)
    return static.create_parameter(list(value.shape), "float32", name, default_initializer=initial)


def with_gradients(out: Any, seed: Any, wanted: Sequence[Any]) -> list[Any]:
    """`out`, and the gradients of sum(out · seed) with respect to the variables `wanted`."""
    return [out, *static.gradients([paddle.sum(paddle.multiply(out, seed))], list(wanted))]


def assert_close(got: np.ndarray, expected: np.ndarray, what: str = "", least: float = 1e-3) -> None:
    """Alike to 1e-5 of the largest value, or of `least` where all are smaller."""
    assert got.shape == expected.shape, what
    size = np.abs(expected).max(initial=least)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * size, err_msg=what)


def child(code: str, **environment: str) -> str:
    """Standard output of a program in a process of its own (tests/launcher.py), which imports from the repository."""
    done = SHARED.run(["-c", code], environment={**os.environ, **environment})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
