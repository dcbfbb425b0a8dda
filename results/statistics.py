"""How sure a score is, and whether two scores differ.

SciPy's tests are imported where they are used: the import alone (0.7 s) is slower than a plain comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

RESAMPLES = 100_000
SIGNIFICANCE = 0.05  # chance of one false alarm or more among all the verdicts of a comparison


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the true accuracy behind `correct` of `total` answers, as two fractions between 0 and 1.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22: 209–212: inverts
    the score test, so it stays inside [0, 1] and is right near 100 %, where the textbook interval is not.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    accuracy = correct / total
    centre = accuracy + z**2 / (2 * total)
    half = z * math.sqrt(accuracy * (1 - accuracy) / total + (z / (2 * total)) ** 2)
    scale = 1 + z**2 / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two classifiers err equally often, from the images that only one of them got right.

    McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12: 153–157, in its exact, binomial form. The images that both got right, or both wrong, say nothing.
    """
    from scipy.stats import binomtest

    different = only_first + only_second
    return float(binomtest(only_first, different).pvalue) if different else 1.0


def bootstrap_difference(only_first: int, only_second: int, total: int, confidence: float) -> tuple[float, float]:
    """Percentile bootstrap interval of accuracy of the first − accuracy of the second, over the same `total` images.

    To draw `total` images with replacement and to count the three kinds of them (right only in the first, only in the
    second, no difference) is to draw the counts from a multinomial distribution; no image needs to be touched.
    """
    shares = np.array([only_first, only_second, total - only_first - only_second]) / total
    counts = np.random.default_rng(0).multinomial(total, shares, size=RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / total, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value that two sets of scores have one mean, without supposing one variance (Welch 1947).

    Returns:
        None where the sets cannot say: fewer than two scores in one, or no spread in either.
    """
    if min(len(first), len(second)) < 2 or np.ptp(first) == np.ptp(second) == 0:
        return None
    from scipy.stats import ttest_ind_from_stats

    summaries = [part for each in (first, second) for part in (np.mean(each), np.std(each, ddof=1), len(each))]
    return float(ttest_ind_from_stats(*summaries, equal_var=False).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in their order: below 0.05, at most one false alarm in 20 such families.

    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6: 65–70.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
