"""The processes of one job, as a launcher starts them: Paddle's, SLURM's or MPI's."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import UsageError, one_line

# Variables that hold this process's number, from 0, and the number of processes; the first pair that is set counts.
VARIABLES = (
    ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


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


def is_running(process: int) -> bool:
    """False if a process of this machine has ended or is stopped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "TZXt"
    except OSError:
        return False
