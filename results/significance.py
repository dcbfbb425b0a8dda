"""Which differences between passes are real: each one against the first, on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError, one_line
from results.predictions import Predictions, predictions_path, read_predictions
from results.runs import Entry
from results.statistics import SIGNIFICANCE, bootstrap_difference, holm, mcnemar


@dataclass(frozen=True)
class Verdict:
    """One pass against the first one.

    Attributes:
        verdict: in words, such as "not distinguishable from lenet5 pass 7".
        difference: test accuracy of this pass − that of the first, a fraction; None, as the rest, where nothing is to
            be compared: for the first pass itself, and where no answers were kept.
        difference_low: bootstrap interval of the difference; all of the comparison's intervals hold at once with 95 %.
        difference_high: its other end.
        p_value: exact McNemar test, corrected by Holm for the number of passes.
    """

    verdict: str
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None


def judge(entries: Sequence[Entry]) -> tuple[list[Verdict], list[str]]:
    """Compare every pass with the first one.

    Args:
        entries: at least one; the first must not have been chosen by its test score, or its lead is partly luck that
            the tests do not know of.

    Returns:
        A verdict for each entry, in order; and one line for each answers file that cannot be used.
    """
    answers, problems = _read_all(entries)
    name = f"{entries[0][0].name} pass {entries[0][1].pass_number}"
    first = answers[0]
    if first is None:
        return [Verdict(f"unknown: no answers kept of {name}")] * len(entries), problems

    compared = {index: each for index, each in enumerate(answers) if index and each is not None}
    counts = {
        index: (int(np.sum(each.right & ~first.right)), int(np.sum(first.right & ~each.right)))
        for index, each in compared.items()
        if np.array_equal(each.labels, first.labels)
    }
    p_values = dict(zip(counts, holm([mcnemar(*pair) for pair in counts.values()]), strict=True))
    verdicts = [Verdict("reference")]
    for index in range(1, len(entries)):
        if index in counts:
            confidence = 1 - SIGNIFICANCE / len(counts)
            verdicts.append(_verdict(name, *counts[index], len(first.labels), p_values[index], confidence))
        else:
            reason = "answers to other images" if index in compared else "no answers kept"
            verdicts.append(Verdict(f"unknown: {reason}"))
    return verdicts, problems


def _verdict(name: str, better: int, worse: int, total: int, p_value: float, confidence: float) -> Verdict:
    if p_value >= SIGNIFICANCE:
        text = f"not distinguishable from {name}"
    else:
        text = f"{'better' if better > worse else 'worse'} than {name}"
    low, high = bootstrap_difference(better, worse, total, confidence)
    return Verdict(text, (better - worse) / total, low, high, p_value)


def _read_all(entries: Sequence[Entry]) -> tuple[list[Predictions | None], list[str]]:
    answers: list[Predictions | None] = []
    problems: list[str] = []
    for run, row in entries:
        path = predictions_path(run.folder, row.pass_number)
        answers.append(None)
        if not path.is_file():
            continue
        try:
            read = read_predictions(path)
        except UserError as error:
            problems.append(one_line(error, 1000))
        except OSError as error:
            problems.append(f"{one_line(path)}: {error.strerror or one_line(error)}")
        else:
            correct, total = int(read.right.sum()), len(read.labels)
            if (correct, total) == (row.test_correct, row.test_total):
                answers[-1] = read
            else:
                logged = f"{row.test_correct}/{row.test_total}"
                problems.append(f"{one_line(path)}: expected {logged} right as in the log, got {correct}/{total}")
    return answers, problems
