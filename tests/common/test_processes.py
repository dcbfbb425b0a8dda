"""A job's processes on one machine: each has processors of its own."""

from __future__ import annotations

import os

import pytest

from common.processes import bind_to_share


@pytest.mark.parametrize(
    ("size", "shares"),
    [
        (1, [[0, 2, 5, 7, 8]]),
        (2, [[0, 2], [5, 7, 8]]),
        (5, [[0], [2], [5], [7], [8]]),
        (6, [[0, 2, 5, 7, 8]] * 6),  # more than processors: free, one thread each
    ],
)
def test_processes_share_the_processors(monkeypatch: pytest.MonkeyPatch, size: int, shares: list[list[int]]) -> None:
    bound: list[list[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {8, 7, 5, 2, 0})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, processors: bound.append(processors))
    for rank in range(size):
        monkeypatch.setenv("PADDLE_LOCAL_SIZE", str(size))
        monkeypatch.setenv("PADDLE_LOCAL_RANK", str(rank))
        assert bind_to_share(size) == (len(shares[rank]) if size < 6 else 1)
    assert bound == (shares if size < 6 else [])


def test_a_process_of_another_launcher_stays_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADDLE_LOCAL_SIZE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, processors: pytest.fail("bound"))
    assert bind_to_share(2) == 2
