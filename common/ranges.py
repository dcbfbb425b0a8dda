"""Ranges of the numbers that options take, checked alike in every script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import UsageError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both finite.

    Attributes:
        low: the least number.
        high: the greatest number; it belongs to the range.
        above: `low` itself is outside.
    """

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)  # NaN is in no range

    def __str__(self) -> str:
        return f"{'above ' if self.above else ''}{_text(self.low)} to {_text(self.high)}"


def check_ranges(options: object, ranges: Mapping[str, Range]) -> None:
    """Refuse NaN, infinity and all else outside an option's range; None and words are not numbers and pass.

    Args:
        options: a dataclass of settings.
        ranges: by the names of its fields.

    Raises:
        UsageError: naming the option, its range and what was given.
    """
    for name, expected in ranges.items():
        value = getattr(options, name)
        if not isinstance(value, (int, float)) or value in expected:
            continue
        text = f"at least {_text(expected.low)}" if value < expected.low and not expected.above else str(expected)
        raise UsageError(f"--{name.replace('_', '-')} {value}: expected {text}")


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def is_count(value: Any, most: float = 10**9) -> bool:
    """True for a whole number of 0 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def is_number(value: Any, least: float = -1e300, most: float = 1e300) -> bool:
    """True for a finite number within the bounds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
