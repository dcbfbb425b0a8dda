"""Uncertainty of scores, and tests of whether two scores differ.

SciPy loads scipy.stats when a test first asks for it, which takes longer (1.1 s) than a plain comparison. For that
reason, and because a table asks it for each row, `wilson_interval` is not SciPy's (0.4 ms a call).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist

import numpy as np
import scipy

from common.errors import UserError, one_line
from results.predictions import Predictions, predictions_path, read_predictions
from results.records import Row
from results.runs import Entry

RESAMPLES = 100_000
SIGNIFICANCE = 0.05  # chance of one false alarm or more among all the verdicts of a comparison


class Outcome(Enum):
    """Outcome of a test; the value is its English, with {} for the name of the reference."""

    REFERENCE = "reference"
    SAME = "not distinguishable from {}"
    BETTER = "better than {}"
    WORSE = "worse than {}"
    NO_ANSWERS = "unknown: no answers kept"
    NO_REFERENCE_ANSWERS = "unknown: no answers kept of {}"
    OTHER_IMAGES = "unknown: answers to other images"
    TOO_FEW_RUNS = "unknown: too few runs, or no spread"


@dataclass(frozen=True)
class Verdict:
    """Comparison of one pass or model with the reference, on the same images.

    Attributes:
        outcome: better, worse, or not distinguishable; or the reason why it is unknown.
        reference: name of the reference, such as "lenet5 pass 7".
        difference: accuracy minus that of the reference, a fraction; None, as the rest, if nothing was compared.
        difference_low: bootstrap interval of the difference; all intervals of a comparison hold at once with 95 %.
        difference_high: the interval's upper end.
        p_value: exact McNemar test, corrected by Holm for the number of comparisons.
    """

    outcome: Outcome
    reference: str = ""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None

    @property
    def verdict(self) -> str:
        """The outcome in English."""
        return self.outcome.value.format(self.reference)


def p_text(p_value: float | None) -> str:
    """A p value for people; empty if there is none."""
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


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


def test_interval(row: Row) -> tuple[float, float] | None:
    """95 % Wilson interval of the test accuracy, as fractions; None without a test set."""
    if row.test_correct is None or row.test_total is None:
        return None
    return wilson_interval(row.test_correct, row.test_total)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two classifiers err equally often, from the images that only one of them got right.

    McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12: 153–157, in its exact, binomial form. Images that both got right, or both wrong, do not count.
    """
    different = only_first + only_second
    return float(scipy.stats.binomtest(only_first, different).pvalue) if different else 1.0


def bootstrap_difference(only_first: int, only_second: int, total: int, confidence: float) -> tuple[float, float]:
    """Percentile bootstrap interval of accuracy of the first − accuracy of the second, over the same `total` images.

    Of `total` images drawn with replacement, some are right only in the first, some only in the second, the rest
    without difference. These counts have a multinomial distribution; no image needs to be touched.
    """
    shares = np.array([only_first, only_second, total - only_first - only_second]) / total
    counts = np.random.default_rng(0).multinomial(total, shares, size=RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / total, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value that two sets of scores have one mean; their variances may differ (Welch 1947).

    Returns:
        None if the test is impossible: fewer than two scores in a set, or no spread in either.
    """
    if min(len(first), len(second)) < 2 or np.ptp(first) == np.ptp(second) == 0:
        return None
    summaries = [part for each in (first, second) for part in (np.mean(each), np.std(each, ddof=1), len(each))]
    return float(scipy.stats.ttest_ind_from_stats(*summaries, equal_var=False).pvalue)


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


def compare(first: np.ndarray, others: Sequence[np.ndarray], reference: str) -> list[Verdict]:
    """Compare each of `others` with `first`.

    Args:
        first: the reference's right answers, [images] bool.
        others: the same of each other, for the same images.
        reference: name of the reference.
    """
    counts = [(int(np.sum(other & ~first)), int(np.sum(first & ~other))) for other in others]
    verdicts = []
    for (better, worse), p_value in zip(counts, holm([mcnemar(*pair) for pair in counts]), strict=True):
        outcome = Outcome.BETTER if better > worse else Outcome.WORSE
        if p_value >= SIGNIFICANCE:
            outcome = Outcome.SAME
        interval = bootstrap_difference(better, worse, len(first), 1 - SIGNIFICANCE / len(others))
        verdicts.append(Verdict(outcome, reference, (better - worse) / len(first), *interval, p_value))
    return verdicts


def judge(entries: Sequence[Entry]) -> tuple[list[Verdict], list[str]]:
    """Compare every pass with the first one, by the kept answers to the test images.

    Args:
        entries: at least one; the first must not have been chosen by its test score, or its lead is partly luck that
            the tests do not know of.

    Returns:
        A verdict for each entry, in order; and one line for each file of answers that cannot be used.
    """
    answers, problems = _read_all(entries)
    first = answers[0]
    if first is None:
        return [Verdict(Outcome.NO_REFERENCE_ANSWERS, entries[0].name)] * len(entries), problems
    verdicts = [Verdict(Outcome.OTHER_IMAGES if each else Outcome.NO_ANSWERS) for each in answers]
    verdicts[0] = Verdict(Outcome.REFERENCE)
    others = {
        index: each.right
        for index, each in enumerate(answers)
        if index and each is not None and np.array_equal(each.labels, first.labels)
    }
    for index, verdict in zip(others, compare(first.right, list(others.values()), entries[0].name), strict=True):
        verdicts[index] = verdict
    return verdicts, problems


def _read_all(entries: Sequence[Entry]) -> tuple[list[Predictions | None], list[str]]:
    answers: list[Predictions | None] = []
    problems: list[str] = []
    for entry in entries:
        path = predictions_path(entry.run.folder, entry.row.pass_number)
        answers.append(None)
        try:
            if not path.is_file():
                continue
            read = read_predictions(path)
        except UserError as error:
            problems.append(one_line(error, 1000))
        except OSError as error:
            problems.append(f"{one_line(path)}: {error.strerror or one_line(error)}")
        else:
            correct, total = int(read.right.sum()), len(read.labels)
            if (correct, total) == (entry.row.test_correct, entry.row.test_total):
                answers[-1] = read
            else:
                logged = f"{entry.row.test_correct}/{entry.row.test_total}"
                problems.append(f"{one_line(path)}: expected {logged} right as in the log, got {correct}/{total}")
    return answers, problems
