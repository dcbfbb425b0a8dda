"""The processes of one job, as a launcher starts them: Paddle's, SLURM's or MPI's."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

from common.errors import UsageError, one_line

# Variables that hold this process's number, from 0, and the number of processes; the first pair that is set counts.
VARIABLES = (
    ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # of a step: a batch script alone has SLURM_NTASKS too
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
_PR_SET_PDEATHSIG = 1


def rank_and_size() -> tuple[int, int]:
    """This process's number, from 0, and the number of processes of its job; 0 and 1 without a launcher.

    Raises:
        UsageError: the launcher's variables make no sense.
    """
    for rank_name, size_name in VARIABLES:
        if rank_name in os.environ and size_name in os.environ:
            values = os.environ[rank_name], os.environ[size_name]
            if not all(value.isdecimal() for value in values) or not int(values[0]) < int(values[1]):
                got = one_line(f"{values[0]} and {values[1]}", 60)
                raise UsageError(
                    f"{rank_name}, {size_name}: expected a number below the number of processes, got {got}"
                )
            return int(values[0]), int(values[1])
    return 0, 1


def rank_of(process: int) -> int | None:
    """Number in its job of a process of this machine, which Paddle's launcher gave it; None if it has none."""
    name = f"{VARIABLES[0][0]}=".encode()
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    values = [each.removeprefix(name) for each in variables if each.startswith(name)]
    return int(values[0]) if values and values[0].isdigit() else None


def children(process: int) -> list[int]:
    """The processes that a process of this machine started, and that have not ended; none if it is not known."""
    found: list[int] = []
    with suppress(OSError):  # it ends meanwhile
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def processor_seconds(process: int, besides: int = 0) -> float:
    """Processor time that a process of this machine and its descendants have used, but for one child, `besides`."""
    try:
        ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15]
    except OSError:
        return 0.0
    below = sum(processor_seconds(child) for child in children(process) if child != besides)
    return below + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def state_and_parent(process: int) -> tuple[str, int]:
    """State of a process of this machine as /proc has it (T: stopped, Z: ended), and its parent; X and 0 without."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return "X", 0
    return state, int(parent)


def bind_to_share(size: int) -> int:
    """Bind this process to its share of the processors of a machine; return their number, which is at least 1.

    Paddle's launcher numbers the processes of a machine. Others bind processes themselves, or leave them free.
    """
    free = sorted(os.sched_getaffinity(0))
    place, local = _place()
    if not 0 < local <= len(free):
        return max(1, len(free) // size)
    own = free[len(free) * place // local : len(free) * (place + 1) // local]
    os.sched_setaffinity(0, own)
    return len(own)


def end_with_parent() -> None:
    """Make the system kill this process, an endless loop too, as soon as the one that started it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def is_running(process: int) -> bool:
    """False if a process of this machine has ended or is stopped."""
    return state_and_parent(process)[0] not in "TZXt"


def lost() -> list[str]:
    """The processes of this one's launcher that have ended or are stopped; none if it is not known."""
    found = children(os.getppid())
    if os.getpid() not in found:
        return []
    running = {rank_of(process) for process in found if is_running(process)}
    return [f"process {rank}" for rank in ranks_here() if rank not in running]


def ranks_here() -> range:
    """The numbers in the job of the processes that this one's launcher started; empty if it is not Paddle's."""
    rank, (place, local) = rank_of(os.getpid()) or 0, _place()
    return range(rank - place, rank - place + local)


def _place() -> tuple[int, int]:
    """This process's number among those of Paddle's launcher on this machine, and their number; 0 and 0 without."""
    place, local = (os.environ.get(f"PADDLE_LOCAL_{name}", "") for name in ("RANK", "SIZE"))
    is_known = place.isdecimal() and local.isdecimal() and int(place) < int(local)
    return (int(place), int(local)) if is_known else (0, 0)
