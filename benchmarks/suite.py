"""Competitors that live side by side and take short turns, and what came of it.

A competitor at rest is stopped by a signal, so that the threads of its libraries do not wait busily at the expense of
another. Slow drifts of the machine meet all alike, and the ratios of one round are ratios of neighbours.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.protocol import OPTIONS
from common.errors import UserError, one_line
from common.project import FOLDER

WARM_UP_STEPS, WARM_UP_IMAGES = 20, 2560  # whichever is less
TOLERANCE = 1e-3  # of the values that competitors report after two steps


@dataclass(frozen=True)
class Competitor:
    """A competitor and the command that starts it.

    Attributes:
        label: its name in tables.
        module: file in benchmarks/competitors.
        peer: whether it runs in the peers' environment.
        options: what the file understands, beside what the suite gives to all.
        environment: variables beside those of this process.
        batches: those that it takes turns at; none for all.
    """

    label: str
    module: str
    peer: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    batches: Sequence[int] = ()


@dataclass(frozen=True)
class Suite:
    """Competitors, the first of which is the reference for the others, and their task.

    Attributes:
        name: what --only selects by, up to a slash.
        title: for the report.
        competitors: see there.
        batches: images per step, one after the other.
        rounds: turns of each competitor and batch size.
        one_thread: whether one thread is all they get.
        network: of the project's.
        turn_seconds: about how long a turn is.
    """

    name: str
    title: str
    competitors: Sequence[Competitor]
    batches: Sequence[int]
    rounds: int
    one_thread: bool = False
    network: str = "conv_pool_bn"
    turn_seconds: float = 0.4


@dataclass
class Result:
    """The measurements of one competitor at one kind of work.

    Attributes:
        label: the competitor's.
        batch: images per step.
        threads: processors it could use.
        rates: steps · batch / seconds of each round, in their order.
        facts: its report of itself, such as versions.
        peak_bytes: the largest memory of the process up to the end of this work (VmHWM).
    """

    label: str
    batch: int
    threads: int
    rates: list[float]
    facts: dict[str, Any]
    peak_bytes: int = 0


class CompetitorError(UserError):
    """A competitor could not start, died, or does not compute what the others compute."""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's variables without those that steer the competitors' libraries, and `extra`."""
    steering = ("OMP_", "MKL_", "OPENBLAS_", "KMP_", "MALLOC_", "FLAGS_", "XLA_", "TORCH")
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)} | dict(extra)


class Player:
    """A competitor's process; stopped except in its turns."""

    def __init__(self, competitor: Competitor, python: Path, threads: int, common: Mapping[str, Any]) -> None:
        self.competitor = competitor
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  it lives as long as the process
        answers, reply_to = os.pipe()
        options = json.dumps({**common, **competitor.options, "reply_to": reply_to})
        own_cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(own_cores)[:threads])  # for the child to inherit
        self.process = subprocess.Popen(
            [python, "-m", f"benchmarks.competitors.{competitor.module}"],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            text=True,
            pass_fds=[reply_to],
            cwd=FOLDER,
            env=environment({**competitor.environment, OPTIONS: options}),
        )
        os.sched_setaffinity(0, own_cores)
        os.close(reply_to)
        self._answers = os.fdopen(answers)
        self.facts: dict[str, Any] = self._hear()
        self._rest()

    def ask(self, **request: Any) -> tuple[float, float]:
        """Run `steps` steps; returns seconds and value."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self._hear()
        self._rest()
        return answer["seconds"], answer["value"]

    def peak_bytes(self) -> int:
        """The largest memory of the process so far."""
        return peak_bytes(self.process.pid)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self._answers.close()
        self._errors.close()

    def _rest(self) -> None:
        """Stop it, and wait until it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(ChildProcessError):  # it has ended, as the next turn will show
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def _hear(self) -> Any:
        line = self._answers.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines() or [f"status {status}"]
        self.close()
        raise CompetitorError(f"{self.competitor.label}: {one_line(said[-1], 200)}")


def compete(
    suite: Suite, *, threads: int, common: Mapping[str, Any], peers: Path | None
) -> tuple[list[Result], list[str]]:
    """Hold a suite.

    Args:
        suite: who and what.
        threads: processors that each competitor may use.
        common: options that all competitors get.
        peers: the peers' Python; without it they do not take part.

    Returns:
        A result per competitor and batch size, and what went wrong with those that are missing.

    Raises:
        CompetitorError: competitors that started equal do not stay equal.
    """
    players: list[Player] = []
    problems: list[str] = []
    try:
        for competitor in suite.competitors:
            python = peers if competitor.peer else Path(sys.executable)
            if python is None:
                continue
            try:
                players.append(Player(competitor, python, threads, common))
            except CompetitorError as error:
                problems.append(str(error))
        results = []
        for batch in suite.batches:
            results += _compete_at(players, suite, batch, threads, problems)
        return results, problems
    finally:
        for player in players:
            player.close()


def _compete_at(players: list[Player], suite: Suite, batch: int, threads: int, problems: list[str]) -> list[Result]:
    warm_up = max(1, min(WARM_UP_STEPS, WARM_UP_IMAGES // batch))
    values: dict[Player, float] = {}
    for player in list(players):
        try:
            for _ in range(2):  # the second step's value depends on the first one's update
                _, values[player] = player.ask(batch=batch, steps=1)
        except CompetitorError as error:
            problems.append(str(error))
            players.remove(player)
            values.pop(player, None)
    if batch == suite.batches[0]:  # later they no longer stand where each other stands
        _check_equal(values)
    players = [player for player in players if batch in (player.competitor.batches or suite.batches)]
    steps: dict[Player, int] = {}
    for player in players:
        player.ask(batch=batch, steps=warm_up)
        seconds, _ = player.ask(batch=batch, steps=warm_up)
        steps[player] = max(1, round(suite.turn_seconds / seconds * warm_up))
    results = {p: Result(p.competitor.label, batch, threads, [], p.facts) for p in players}
    for number in range(suite.rounds):
        first = number % len(players) if players else 0
        for player in players[first:] + players[:first]:
            seconds, _ = player.ask(batch=batch, steps=steps[player])
            results[player].rates.append(steps[player] * batch / seconds)
        if sys.stderr.isatty():
            print(f"  batch {batch}: round {number + 1} of {suite.rounds}", end="\r", file=sys.stderr, flush=True)
    for player, result in results.items():
        result.peak_bytes = player.peak_bytes()
    return list(results.values())


def _check_equal(values: Mapping[Player, float]) -> None:
    """Raise CompetitorError unless all competitors that started equal are at the same value."""
    for player, value in values.items():
        reference = next(iter(values.values()))
        if not math.isclose(value, reference, rel_tol=TOLERANCE):
            first = next(iter(values)).competitor.label
            raise CompetitorError(
                f"{player.competitor.label}: after two steps it is at {value:.5f}, "
                f"{first} at {reference:.5f}: they do not compute the same, and cannot be compared"
            )


def peak_bytes(process: int) -> int:
    """VmHWM of a living process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
