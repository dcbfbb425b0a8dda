"""The device that a program runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
import paddle

from common.errors import UserError, one_line

DeviceWish = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class Device:
    """A place that was proven to work.

    Attributes:
        name: "cpu" or "gpu".
        place: paddle.CPUPlace() or paddle.CUDAPlace of this process's GPU.
        reason: why `auto` uses the CPU, in one line; empty otherwise.
    """

    name: Literal["cpu", "gpu"]
    place: object
    reason: str = ""


def choose_device(wish: DeviceWish) -> Device:
    """Turn the user's wish into a device.

    Raises:
        UserError: `gpu` was asked for and none works here. It never falls back.
    """
    if wish == "cpu":
        return Device("cpu", paddle.CPUPlace())
    problem = _why_no_gpu()
    if not problem:
        return Device("gpu", paddle.CUDAPlace(int(launched_gpu() or 0)))
    if wish == "gpu":
        raise UserError(f"--device gpu: {problem}; use --device cpu, or paddlepaddle-gpu on a machine with a GPU")
    return Device("cpu", paddle.CPUPlace(), problem)


def launched_gpu() -> str:
    """Number of the first GPU that Paddle's launcher gave to this process; empty if it gave none."""
    given = os.environ.get("FLAGS_selected_gpus", "")  # noqa: SIM112
    return given.split(",")[0] if paddle.is_compiled_with_cuda() else ""


def _why_no_gpu() -> str:
    """Empty if a GPU runs a convolution, and so CUDA and cuDNN work; else the reason it does not."""
    if not paddle.is_compiled_with_cuda():
        return f"this Paddle {paddle.__version__} is built for the CPU only"
    if paddle.device.cuda.device_count() == 0:
        return "no NVIDIA GPU is visible"
    main, startup = paddle.static.Program(), paddle.static.Program()
    try:
        with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
            image = paddle.static.data("image", [1, 1, 5, 5], "float32")
            total = paddle.sum(paddle.nn.functional.conv2d(image, paddle.ones([2, 1, 3, 3])))
        executor = paddle.static.Executor(paddle.CUDAPlace(int(launched_gpu() or 0)))
        feed = {"image": np.ones((1, 1, 5, 5), np.float32)}
        (answer,) = executor.run(main, feed=feed, fetch_list=[total], scope=paddle.static.Scope())
    except Exception as error:  # whatever a driver, CUDA or cuDNN may throw is the reason that we are asked for
        return f"the GPU did not run a trial program: {one_line(error, 160)}"
    return "" if float(answer) == 162.0 else f"the GPU computed {float(answer)} where 162 was due"
