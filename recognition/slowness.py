"""The speed of this machine, so that limits of time mean the same amount of work on every one."""

from __future__ import annotations

import time

import numpy as np

from recognition.depth import under_paper

USUAL_SECONDS = 0.009  # of processor time for the work below, on the machine for which limits are chosen
SLOWEST = 20.0  # times as slow: a hostile picture is given up in the end
TRIALS = 3  # of which the shortest counts


def slowness() -> float:
    """Processor time of a piece of reading, as a multiple of the usual, 1 to `SLOWEST`."""
    picture = np.random.default_rng(0).random((150, 150), np.float32)
    return float(np.clip(min(_seconds(picture) for _ in range(TRIALS)) / USUAL_SECONDS, 1, SLOWEST))


def _seconds(picture: np.ndarray) -> float:
    begun = time.process_time()
    under_paper(picture)
    return time.process_time() - begun
