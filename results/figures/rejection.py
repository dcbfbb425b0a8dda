"""Gain of rejecting the least confident answers: errors of the rest against the fraction rejected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from model.calibration import Confidences, rejection_curve
from results.figures.style import GREEN, VERMILION, new_figure, plain

MOST_REJECTED = 0.1  # share; beyond it hardly an error is left
STYLES = {"validation": (VERMILION, "--"), "test": (GREEN, "-")}


def rejection(answers: Mapping[str, Confidences]) -> Figure:
    """Draw the curves by name, "validation" or "test": as in LeCun et al. (1998), but for every share of rejections."""
    figure = new_figure(4.8, 7.2)
    axes = figure.subplots()
    last = 0.02  # the share beyond which no error goes any more
    rates: list[float] = []
    for name, each in answers.items():
        colour, line = STYLES[name]
        curve = rejection_curve(each)
        shown = curve.rejected_share <= MOST_REJECTED
        fewest = curve.rejected_share[shown][int(np.argmin(curve.errors[shown]))]
        last, rates = max(last, fewest), [*rates, *curve.error_rate[shown]]
        at = int(np.flatnonzero(curve.rejected_share <= 0.01)[-1])
        errors, rest = int(curve.errors[at]), curve.total - int(curve.rejected[at])
        axes.step(
            100 * curve.rejected_share[shown],
            100 * curve.error_rate[shown],
            where="post",
            color=colour,
            linestyle=line,
            label=f"{name}: {int(curve.errors[0])} of {curve.total:,} wrong; 1 % rejected: {errors} of {rest:,}",
        )
        axes.plot(100 * curve.rejected_share[at], 100 * curve.error_rate[at], "o", color=colour, markersize=5)
    if positive := [100 * rate for rate in rates if rate > 0]:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0.7 * min(positive), 1.3 * max(positive))
    axes.set_xlim(0, 100 * min(1.1 * last, MOST_REJECTED))
    axes.set_xlabel("rejected answers, the least sure first (%)")
    axes.set_ylabel("wrong answers among the rest (%)")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))  # above the curves, not on them
    plain(axes)
    return figure
