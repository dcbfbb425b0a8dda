"""A benchmark's numbers as benchmarks.json has them, and what page, plot and tables alike take from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Record = dict[str, Any]
Result = dict[str, Any]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return low, middle, high


def median(values: Sequence[float]) -> float:
    """The second quartile."""
    return quartiles(values)[1]


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(of, to, strict=True)]


def rates_over(result: Result, other: Result) -> list[float]:
    """Speed as a multiple of another's, round by round."""
    return ratios(result["rates"], other["rates"])


def results(record: Record, name: str) -> list[Result]:
    """Those of a suite; none if it did not take place."""
    return next((suite["results"] for suite in record["contests"] if suite["name"] == name), [])


def all_results(record: Record) -> Iterable[Result]:
    """Those of all suites."""
    return (result for suite in record["contests"] for result in suite["results"])


def by_batch(of: Sequence[Result]) -> list[list[Result]]:
    """A suite's results, those of one batch size together."""
    return [[one for one in of if one["batch"] == batch] for batch in dict.fromkeys(one["batch"] for one in of)]


def best(of: Sequence[Result], start: str) -> Result | None:
    """The fastest of those whose label begins so."""
    those = (one for one in of if one["label"].startswith(start))
    return max(those, key=lambda one: median(one["rates"]), default=None)


def is_ours(labelled: Record) -> bool:
    """True for a result or a command of Paddle, not of a peer."""
    return labelled["label"].startswith(("Paddle", "evaluation program"))


def ours_and_theirs(commands: Sequence[Record], key: str) -> tuple[list[float], list[float]]:
    """A field of Paddle's commands and of the peers'."""
    return [c[key] for c in commands if is_ours(c)], [c[key] for c in commands if not is_ours(c)]


def versions(record: Record) -> str:
    """Python's, and those that the competitors reported, in one line."""
    found: dict[str, str] = {}
    for result in all_results(record):
        found.update(result["facts"].get("versions", {}))
    python = f"Python {record['environment']['python']}"
    return ", ".join([python, *(f"{name} {version}" for name, version in sorted(found.items()))])


def machine(record: Record) -> str:
    """Processor, cores, and the instruction set of the fused operators, in one line."""
    of = record["environment"]["machine"]
    chosen = {one["facts"]["instructions"] for one in all_results(record) if "instructions" in one["facts"]}
    said = [f"{of['processor']}{record.get('processor', '')}", f"{of['cores']} cores"]
    said += [f"fused operators by {' and '.join(sorted(chosen))}"] if chosen else []
    return ", ".join(said)


def mebibytes(number: float) -> str:
    """A size in memory."""
    return f"{number / 2**20:,.0f} MiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
