"""--profile and --summary as users run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

from model.ops.backend import resolve_backend
from tests.conftest import Script


@pytest.mark.parametrize("kernel", ["stock", "auto"])
def test_profile_names_the_operators_and_adds_up(
    kernel: Literal["stock", "auto"], small_data: Path, script: Script
) -> None:
    arguments = ("--profile", "--kernel", kernel, "--data-dir", small_data, "--validation-size", 560, "--batch-size", 8)
    result = script("train.py", *arguments, "--threads", 3)
    if "profiler does not start" in result.stderr:
        pytest.skip("the GPU package's profiler needs a driver")
    assert result.returncode == 0, result.stderr
    assert "adam" in result.stdout and "Python, feed and executor" in result.stdout
    used, _ = resolve_backend(kernel, "cpu")
    assert ("conv2d_grad" in result.stdout) == (used == "stock")
    assert f"conv_pool_bn, {used} kernel{' (threads: 3)' if used == 'fused' else ''}, cpu: " in result.stdout
    shares = [float(share) for share in re.findall(r"([0-9.]+) % *$", result.stdout, re.MULTILINE)]
    assert sum(shares) == pytest.approx(100, abs=2)


def test_summary_is_the_specification(script: Script) -> None:
    result = script("train.py", "--network", "lenet5_1998", "--summary")
    assert result.returncode == 0
    assert re.search(r"total +60,840 +840 +340,908", result.stdout)
