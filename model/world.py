"""The processes that train one model together, as `python -m paddle.distributed.launch` starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import paddle
from paddle import distributed, static

from common.errors import UserError, one_line
from common.guard import Guard
from common.processes import lost, rank_and_size
from common.roll_call import silent
from model.device import launched_gpu


@dataclass(frozen=True)
class World:
    """One process and the number of all.

    Attributes:
        rank: this process, from 0.
        size: all processes.
        guard: gets a sign of life whenever the others have been met.
    """

    rank: int = 0
    size: int = 1
    guard: Guard = field(default_factory=Guard, compare=False)

    def own(self, parts: int) -> range:
        """The parts, of 0 to `parts` - 1, that this process computes: as many as the others, or one more."""
        return range(parts * self.rank // self.size, parts * (self.rank + 1) // self.size)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum float32 arrays of equal shape over all processes; exact if in each place all but one hold 0.

        Every process must call it, in the same order as the others.
        """
        if self.size == 1:
            return values
        executor, main, total = _sum_program()
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        with self.guard.waiting():
            (summed,) = executor.run(main, feed={"values": flat}, fetch_list=[total])
        return np.asarray(summed).reshape(values.shape)

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The arrays [...] of all processes, [size, ...] float32, of numbers that float32 holds."""
        rows = np.zeros((self.size, *values.shape), np.float32)
        rows[self.rank] = values
        return self.sum(rows)

    def share(self, data: bytes) -> bytes:
        """Process 0's bytes, which all get."""
        first = self.rank == 0
        # Two numbers, each exact in float32, for the length.
        length = np.array([len(data) >> 16, len(data) & 0xFFFF] if first else [0, 0], np.float32)
        high, low = self.sum(length).astype(int)
        count = (int(high) << 16) + int(low)
        if not count:
            return b""
        values = np.frombuffer(data, np.uint8) if first else np.zeros(count, np.uint8)
        return bytes(self.sum(values.astype(np.float32)).astype(np.uint8).tobytes())


ALONE = World()


@cache
def _sum_program() -> tuple[static.Executor, static.Program, paddle.Tensor]:
    main, startup = static.Program(), static.Program()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        values = static.data("values", [None], "float32")
        total = paddle.assign(values)
        distributed.all_reduce(total)
    gpu = launched_gpu()
    return static.Executor(paddle.CUDAPlace(int(gpu)) if gpu else paddle.CPUPlace()), main, total


def join(guard: Guard | None = None) -> World:
    """Meet the other processes of this job; a process that no launcher started is alone.

    It must come before `paddle.enable_static()`, which it leaves on.

    Raises:
        UserError: the launcher's variables make no sense, or the others cannot be met.
    """
    guard = guard or Guard()
    rank, size = rank_and_size()
    if size == 1:
        paddle.enable_static()
        return World()
    try:
        paddle.disable_static()
        with guard.waiting():
            if paddle.__version__.startswith("2.") and not launched_gpu():
                distributed.gloo_init_parallel_env(rank, size, _meeting_point())
            else:
                os.environ.setdefault("PADDLE_DISTRI_BACKEND", "nccl" if launched_gpu() else "gloo")
                distributed.init_parallel_env()
    except Exception as error:  # gloo, NCCL and the store raise what they like
        gone = [*lost(), *silent()]
        what = f"{', '.join(gone)} ended, was stopped or cannot be reached" if gone else "the others cannot be met"
        raise UserError(f"process {rank} of {size}: {what}: {one_line(error, 200)}") from error
    finally:
        paddle.enable_static()
    return World(rank, size, guard)


def _meeting_point() -> str:
    """Address and port at which the processes of a CPU job meet: a port beside that of the first process."""
    first = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")[0]
    host, _, port = first.rpartition(":")
    if not port.isdigit():
        raise ValueError(f"PADDLE_TRAINER_ENDPOINTS: expected HOST:PORT, got {first!r}")
    return os.environ.get("GLOO_EP", f"{host}:{int(port) + 1000 if int(port) < 64000 else int(port) - 1000}")
