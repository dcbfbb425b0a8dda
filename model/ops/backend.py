"""The backend of a program: Paddle's own operators ("stock"), or those of model/kernels/ ("fused").

with backend("fused"):
    y = linear(x, weight, bias)  # appends the fused operator
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from common.errors import UserError, one_line
from model.kernels.build import Report, load_fused

Backend = Literal["stock", "fused"]
BackendChoice = Literal["auto", "fused", "stock"]

BACKEND_VARIABLE = "CONV_POOL_KERNEL"

_current: ContextVar[Backend] = ContextVar("backend", default="stock")


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Append the operators of model/ops/ in this form inside the block; outside any block, in the stock form.

    Raises:
        UserError: the fused operators are not available.
    """
    # Without them, Paddle ends the process.
    if name == "fused" and (reason := load_fused()):
        raise UserError(f"backend fused: its operators are not available: {reason}")
    before = _current.set(name)
    try:
        yield
    finally:
        _current.reset(before)


def is_fused() -> bool:
    """True if the program that is being built takes fused operators."""
    return _current.get() == "fused"


def resolve_backend(
    choice: BackendChoice, device: Literal["cpu", "gpu"], report: Report = print
) -> tuple[Backend, str]:
    """Choose the backend for a device, and load it if it is the fused one.

    The environment variable CONV_POOL_KERNEL, "fused" or "stock", is what "auto" then stands for.

    Returns:
        The backend, and the reason, in one line, why "auto" took the stock one; empty otherwise.

    Raises:
        UserError: "fused" was asked for and cannot be had, or CONV_POOL_KERNEL is something else.
    """
    asked_by = f"--kernel {choice}"
    if choice == "auto" and (wanted := os.environ.get(BACKEND_VARIABLE)):
        if wanted not in ("fused", "stock"):
            raise UserError(f"{BACKEND_VARIABLE}: expected fused or stock, got {one_line(wanted, 40)}")
        if wanted == "stock":
            return "stock", f"stock convolution-pooling operators, not the fused one: {BACKEND_VARIABLE}=stock"
        choice, asked_by = "fused", f"{BACKEND_VARIABLE}=fused"
    if choice == "stock":
        return "stock", ""
    reason = "it runs on the CPU only" if device == "gpu" else load_fused(report)
    if not reason:
        return "fused", ""
    if choice == "fused":
        raise UserError(f"{asked_by}: the fused convolution-pooling operator is not available: {reason}")
    return "stock", f"stock convolution-pooling operators, not the fused one: {reason}"
