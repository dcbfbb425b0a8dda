"""Figures of a pass's answers: confusions, pictures that were read wrong, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from data.dataset import DIGITS
from model.calibration import Confidences, expected_calibration_error, reliability
from results.evaluation import WrongAnswer, surest
from results.figures.style import BLACK, BLUE, ORANGE, VERMILION, bare, new_figure, plain, text, tiled
from results.significance import wilson_interval

COLUMNS = 8  # of wrong answers: as many as can be read at the width of a README
FEWEST = 10  # answers in a bin that has a point in the reliability diagram
SHORT, LONGEST = 2, 12  # characters of names of which two fit in a line, and that are shown of a longer one
SIDE, WORDS = 28, 13  # pixels of a picture, and of the room for two lines below it


def confusion_matrix(labels: np.ndarray, answers: np.ndarray, names: Sequence[str] = DIGITS) -> Figure:
    """Confusion matrix of the classes of those names; labels and answers [images], numbers of the classes."""
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, answers), 1)
    return confusion_figure(counts, names)


def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Confusion matrix of the classes.

    Args:
        counts: [classes, classes]; row: true class, column: class read.
        names: of the classes; up to 62 stay legible.
    """
    classes = len(names)
    wrong = np.where(np.eye(classes, dtype=bool), 0, counts)
    side = 0.72 * max(10, min(classes, 26))
    figure = new_figure(6.4 / 7.2 * side, side)
    axes = figure.subplots()
    most = max(wrong.max(), 10)
    shown = axes.imshow(np.ma.masked_equal(wrong, 0), cmap="Oranges", norm=LogNorm(1, most))
    figure.colorbar(shown, ax=axes, label="images read wrong", shrink=0.85, format="{x:g}")
    size = 10 if classes <= 10 else 130 / classes
    for true, read in zip(*np.nonzero(counts), strict=True) if classes <= 26 else ():
        count = counts[true, read]
        # Grey on the diagonal, whose answers are right; white on dark colours.
        colour = "0.45" if true == read else "white" if count**3 > most**2 else BLACK
        axes.text(read, true, str(count), ha="center", va="center", color=colour, fontsize=size)
    words = [text(name) for name in names]
    ticks = min(10.0, 30 * side / classes)  # points; a row is some 58 · side / classes high
    axes.set_xticks(range(classes), words, fontsize=ticks, rotation=90 if max(map(len, words)) > 2 else 0)
    axes.set_yticks(range(classes), words, fontsize=ticks)
    noun = "digit" if tuple(names) == DIGITS else "class"
    axes.set_xlabel(f"{noun} read")
    axes.set_ylabel(f"true {noun}")
    axes.set_title(f"{_count(wrong.sum(), 'wrong answer')} of {counts.sum():,}")
    return figure


def wrong_answers(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str] = DIGITS
) -> Figure:
    """The pictures that were read wrong, the surest mistakes first, as many as can be read.

    Args:
        images: [N, 28, 28] uint8.
        labels: [N], the right classes.
        probabilities: [N, classes].
        names: of the classes.
    """
    answers = probabilities.argmax(axis=1)
    missed = np.flatnonzero(answers != labels)
    wrong = surest(WrongAnswer(int(n), images[n], int(labels[n]), probabilities[n]) for n in missed)
    return wrong_sheet(wrong, names, len(missed), len(labels))


def wrong_sheet(wrong: Sequence[WrongAnswer], names: Sequence[str], count: int, total: int) -> Figure:
    """A contact sheet of wrong answers, the surest first.

    Args:
        wrong: those to show.
        names: of the classes.
        count: wrong answers in all.
        total: images in all.
    """
    rows = max(1, -(-len(wrong) // COLUMNS))
    figure = new_figure(0.5 + 1.75 * rows)
    axes = figure.subplots()
    bare(axes)
    title = f"{_count(count, 'wrong answer')} of {total:,}"
    axes.set_title(title if len(wrong) == count else f"{title}: the {len(wrong)} surest")
    if not wrong:
        return figure
    gap, short = 4, max(map(len, names)) <= SHORT
    sheet = tiled(np.stack([each.image for each in wrong]), COLUMNS, gap, below=WORDS)
    axes.imshow(255.0 - sheet, cmap="gray", vmin=0, vmax=255)
    for place, each in enumerate(wrong):
        row, column = divmod(place, COLUMNS)
        x, y = column * (SIDE + gap) + SIDE / 2, row * (SIDE + gap + WORDS) + SIDE + 1
        true, read = each.label, int(each.probabilities.argmax())
        words = f"{text(names[true][:LONGEST])} read as"
        second = f"{text(names[read][:LONGEST])} {each.probabilities[read]:.2f}"
        if short:
            words += f" {text(names[read])}"
            second = "  ".join(f"{text(names[n])}: {each.probabilities[n]:.2f}" for n in (read, true))
        axes.text(x, y, words, ha="center", va="top", fontsize=9.5 if short else 8, color=VERMILION)
        axes.text(x, y + 6, second, ha="center", va="top", fontsize=8.5 if short else 8, color="0.3")
    both = "and the probabilities of both" if short else "and its probability"
    axes.set_xlabel(f"below each picture: true class, class read, {both}")
    return figure


def calibration(log_probabilities: np.ndarray, labels: np.ndarray, temperature: float | None = None) -> Figure:
    """Reliability diagram: of the answers given with a confidence, how many are right, and how many there are.

    Bars are Wilson's 95 % intervals; bins of fewer than 10 answers have no point.

    Args:
        log_probabilities: [N, classes], natural logarithm.
        labels: [N], the right classes.
        temperature: that was fitted on other images; the diagram then shows the network before and after it.
    """
    figure = new_figure(6.6, 7.2)
    accuracy, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    accuracy.plot([0, 100], [0, 100], color="0.6", linestyle="--", label="calibrated")
    curves = [("as trained", 1.0, BLUE, "o")]
    if temperature is not None:
        curves.append((f"temperature {temperature:.2f}", temperature, ORANGE, "s"))
    for name, each, colour, marker in curves:
        answers = Confidences.of(log_probabilities, labels, each)
        bins = reliability(answers)
        held = bins.counts >= FEWEST
        right = np.rint(bins.accuracy[held] * bins.counts[held]).astype(int)
        intervals = [wilson_interval(int(k), int(n)) for k, n in zip(right, bins.counts[held], strict=True)]
        low, high = np.array(intervals).reshape(-1, 2).T
        error = 100 * expected_calibration_error(answers)
        accuracy.errorbar(
            100 * bins.confidence[held],
            100 * bins.accuracy[held],
            yerr=100 * np.abs([bins.accuracy[held] - low, high - bins.accuracy[held]]),
            color=colour,
            linestyle="",
            marker=marker,
            markersize=5,
            capsize=3,
            label=f"{name}: calibration error {error:.2f} %",
        )
        counts.stairs(bins.counts, 100 * bins.edges, color=colour)
    counts.set_yscale("symlog", linthresh=1)
    counts.set_ylim(bottom=0)
    accuracy.set_ylabel("right answers (%)")
    counts.set_ylabel("answers")
    counts.set_xlabel("confidence: probability of the answer (%)")
    accuracy.legend(frameon=False, loc="lower right")
    for axes in (accuracy, counts):
        plain(axes)
    return figure


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
