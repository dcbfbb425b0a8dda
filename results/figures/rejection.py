"""Gain of rejecting the least confident answers: errors of the rest against the fraction rejected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from model.calibration import Confidences, rejection_curve
from results.figures.style import GREEN, VERMILION, new_figure, plain

MOST_REJECTED = 0.1  # share; beyond it hardly an error is left
STYLES = {"validation": (VERMILION, "--"), "test": (GREEN, "-")}


def rejection(answers: Mapping[str, Confidences]) -> Figure:
    """Draw the curves by name, "validation" or "test": as in LeCun et al. (1998), but for every share of rejections."""
    figure = new_figure(4.8, 7.2)
    axes = figure.subplots()
    for name, each in answers.items():
        colour, line = STYLES[name]
        curve = rejection_curve(each)
        shown = curve.rejected_share <= MOST_REJECTED
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
    axes.set_yscale("symlog", linthresh=0.01)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlim(0, 100 * MOST_REJECTED)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rejected answers, the least sure first (%)")
    axes.set_ylabel("wrong answers among the rest (%)")
    axes.legend(frameon=False, loc="upper right")
    plain(axes)
    return figure
