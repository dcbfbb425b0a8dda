"""Which operators a network is built of: Paddle's own, or the fused ones of model/kernels/ where they can be had."""

from __future__ import annotations

import os
from typing import Literal

from common.errors import UserError, one_line
from model.kernels.build import Report, load_fused

Kernel = Literal["stock", "fused"]
KernelChoice = Literal["auto", "fused", "stock"]


KERNEL_VARIABLE = "CONV_POOL_KERNEL"


def resolve_kernel(
    choice: KernelChoice, device: Literal["cpu", "gpu"], report: Report = print
) -> tuple[Literal["fused", "stock"], str]:
    """Decide which kernel `conv_pool` is to use on a device, and load the fused one if it is that.

    The environment variable CONV_POOL_KERNEL, "fused" or "stock", is what "auto" then stands for.

    Returns:
        The kernel, and one line that says why "auto" took the stock one; empty otherwise.

    Raises:
        UserError: "fused" was asked for and cannot be had, or CONV_POOL_KERNEL is something else.
    """
    asked_by = f"--kernel {choice}"
    if choice == "auto" and (wanted := os.environ.get(KERNEL_VARIABLE)):
        if wanted not in ("fused", "stock"):
            raise UserError(f"{KERNEL_VARIABLE}: expected fused or stock, got {one_line(wanted, 40)}")
        if wanted == "stock":
            return "stock", f"stock convolution-pooling operators, not the fused one: {KERNEL_VARIABLE}=stock"
        choice, asked_by = "fused", f"{KERNEL_VARIABLE}=fused"
    if choice == "stock":
        return "stock", ""
    reason = "it runs on the CPU only" if device == "gpu" else load_fused(report)
    if not reason:
        return "fused", ""
    if choice == "fused":
        raise UserError(f"{asked_by}: the fused convolution-pooling operator is not available: {reason}")
    return "stock", f"stock convolution-pooling operators, not the fused one: {reason}"
