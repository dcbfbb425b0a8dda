"""From the scores of a row's columns to its digits: decoding of connectionist temporal classification.

Graves, Fernández, Gomez and Schmidhuber, "Connectionist Temporal Classification", ICML 2006. Log-probabilities are
[T, 11]: of each digit, and last of none, in each of T columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NONE = 10  # the class of a column without a digit
BEAMS = 8  # beginnings of a row that the search keeps
UNLIKELY = 1.2e-4  # what a column makes less likely than this is no way on

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class ColumnSpan:
    """One digit of a row.

    Attributes:
        digit: 0 to 9.
        start: its first column.
        end: the first column behind it.
        log_probability: [11] at its surest column.
    """

    digit: int
    start: int
    end: int
    log_probability: Floats


def greedy(log_probability: Floats) -> list[ColumnSpan]:
    """The likeliest class of each column; repetitions are one digit, and none is left out."""
    return _spans(log_probability, log_probability.argmax(axis=1).tolist())


def search(log_probability: Floats, beams: int = BEAMS) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest rows of digits, each over all ways to place them: prefix search, from the left.

    Args:
        log_probability: [T, 11].
        beams: beginnings that are kept at each column.

    Returns:
        At most `beams` rows with the natural logarithm of their probability, the likeliest first.
    """
    # Of each beginning: probability of those that end in no digit, and in its last digit; as shares of the likeliest
    # one's. Python's own numbers take a fifth of the time of NumPy's logarithms.
    ways: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    scale = 0.0
    for column in np.exp(log_probability.astype(np.float64)).tolist():
        further: dict[tuple[int, ...], list[float]] = {}
        possible = [digit for digit in range(NONE) if column[digit] > UNLIKELY]
        for begun, (in_none, in_digit) in ways.items():
            either, last = in_none + in_digit, begun[-1] if begun else NONE
            same = further.setdefault(begun, [0.0, 0.0])
            same[0] += either * column[NONE]
            same[1] += in_digit * column[last]
            for digit in possible:
                longer = further.setdefault((*begun, digit), [0.0, 0.0])
                longer[1] += (in_none if digit == last else either) * column[digit]
        ranked = sorted(further.items(), key=lambda way: -sum(way[1]))[:beams]
        likeliest = sum(ranked[0][1])
        scale += math.log(likeliest)
        ways = {begun: (ends[0] / likeliest, ends[1] / likeliest) for begun, ends in ranked}
    return [(begun, scale + math.log(share) if (share := sum(ends)) else -math.inf) for begun, ends in ways.items()]


def placed(log_probability: Floats, digits: Sequence[int]) -> list[ColumnSpan]:
    """The likeliest way to place these digits on the columns (Viterbi); empty if there are too few columns."""
    states = np.full(2 * len(digits) + 1, NONE)
    states[1::2] = digits
    if not len(digits):
        return []
    barred = np.full(len(states), -np.inf)  # but from one digit to the next without a column of none between
    barred[3::2][states[3::2] != states[1:-2:2]] = 0
    value = np.full(len(states), -np.inf)
    value[:2] = log_probability[0, states[:2]]
    came = np.zeros((len(log_probability), len(states)), np.int64)
    ways = np.full((3, len(states)), -np.inf)  # of staying, and of coming from one and from two states before
    for time, column in enumerate(log_probability[1:, states], 1):
        ways[0], ways[1, 1:], ways[2, 2:] = value, value[:-1], value[:-2] + barred[2:]
        came[time] = ways.argmax(axis=0)
        value = ways.max(axis=0) + column
    state = len(states) - 1 if value[-1] >= value[-2] else len(states) - 2
    if not np.isfinite(value[state]):
        return []
    path = [state]
    for time in range(len(log_probability) - 1, 0, -1):
        path.append(path[-1] - int(came[time, path[-1]]))
    return _spans(log_probability, states[path[::-1]].tolist())


def losses(log_probability: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Loss of each row, nats: minus the logarithm of the probability of its digits over all ways to place them.

    Args:
        log_probability: [N, T, 11].
        labels: [N, L], -1 behind the last digit of a row.

    Returns:
        [N]; infinite for a row with too few columns.
    """
    count, most = labels.shape
    states = np.full((count, 2 * most + 1), NONE)
    states[:, 1::2] = np.maximum(labels, 0)
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    rows = np.arange(count)
    value = np.full(states.shape, -np.inf)
    first = log_probability[:, 0].astype(np.float64)
    value[:, 0], value[:, 1] = first[:, NONE], first[rows, states[:, 1]]
    nothing = np.full((count, 2), -np.inf)
    for time in range(1, log_probability.shape[1]):
        one = np.concatenate([nothing[:, :1], value[:, :-1]], axis=1)
        two = np.where(skips, np.concatenate([nothing, value[:, :-2]], axis=1), -np.inf)
        column = np.take_along_axis(log_probability[:, time].astype(np.float64), states, axis=1)
        value = np.logaddexp(np.logaddexp(value, one), two) + column
    last = 2 * (labels >= 0).sum(axis=1)
    return -np.logaddexp(value[rows, last], np.where(last > 0, value[rows, last - 1], -np.inf))


def aligned(read: Sequence[int], wanted: Sequence[int]) -> tuple[int, list[int]]:
    """Fewest digits to change, leave out or add to get from one row to another (Levenshtein), and a label of each.

    Returns:
        The distance; and for each digit of `read` the digit of `wanted` that it stands for, or `NONE`.
    """
    price = np.zeros((len(read) + 1, len(wanted) + 1), int)
    price[0], price[:, 0] = range(len(wanted) + 1), range(len(read) + 1)
    for i, one in enumerate(read, 1):
        for j, other in enumerate(wanted, 1):
            price[i, j] = min(price[i - 1, j - 1] + (one != other), price[i - 1, j] + 1, price[i, j - 1] + 1)
    labels, i, j = [NONE] * len(read), len(read), len(wanted)
    while i:
        if j and price[i, j] == price[i - 1, j - 1] + (read[i - 1] != wanted[j - 1]):
            i, j = i - 1, j - 1
            labels[i] = wanted[j]
        elif price[i, j] == price[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return int(price[-1, -1]), labels


def _spans(log_probability: Floats, classes: Sequence[int]) -> list[ColumnSpan]:
    found, start = [], 0
    for digit, group in itertools.groupby(classes):
        end = start + len(list(group))
        if digit != NONE:
            surest = start + int(log_probability[start:end, digit].argmax())
            found.append(ColumnSpan(digit, start, end, log_probability[surest]))
        start = end
    return found
