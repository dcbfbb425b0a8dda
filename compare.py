"""Passes of one or many runs side by side, from their results logs.

    python compare.py                          # every pass of every run in runs/, best first
    python compare.py runs/A runs/B --plot curves.png
    python compare.py runs/A --verdict         # which passes really differ from the best one
    python compare.py runs/A --passes 7 9 --verdict   # whether these two differ
    python compare.py --html report.html       # all of it in one file; --language zh for one in Chinese
    python compare.py --group                  # mean and standard deviation across seeds
    python compare.py runs/A --fail-under 99   # for automation: exit status 1 below 99 %

You see one line per pass: losses, correct test answers, their percentage with its 95 % Wilson interval; the best pass
of each run, the one that its inference model holds, is marked.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from common.command_line import parse, run, to_stderr
from common.errors import UsageError, UserError, one_line
from common.ranges import Range, check_ranges
from common.signals import StopRequest
from results.groups import group_runs
from results.runs import (
    Entry,
    Run,
    find_runs,
    holds_log,
    load_runs,
    losses_compare,
    ranking,
    runs_below,
    sort_passes,
    sortable_columns,
)
from results.significance import judge
from results.table import group_record, pass_record, print_groups, print_passes, print_records, verdict_record

SORTED_BY = "(default: validation_loss; across networks validation_accuracy)"

# Title of each group of options in --help, by the group's first option.
GROUPS = {
    "format": "output",
    "sort": "choice and order of passes",
    "verdict": "tests and thresholds",
}


@dataclass(frozen=True)
class Options:
    """Compare passes of one or many runs from their results logs, best first, the best pass of each run marked.

    A log may still be growing: a last line without its line end is left out; if it is a whole row, a note reports it.
    Rows and files that cannot be read are named on stderr, one line each; the others are shown, and the exit status is
    1.
    """

    run_dirs: Positional[Annotated[tuple[Path, ...], arg(metavar="[RUN_DIR ...]", help_behavior_hint="")]] = ()
    """Folders of runs, folders of such folders, or results.csv of runs; all of runs/* if none is named."""
    format: Literal["table", "json", "csv"] = "table"
    """json: JSON Lines, one object a pass, unknown and NaN as null; csv: the same keys as a header; unknown is an empty
    cell, true is 1, and a name that begins with = + - or @ has ./ before it. Keys: the columns of results.csv in their
    order, then run_dir, network, recipe, seed, run_best (the best pass of its run), test_accuracy_low,
    test_accuracy_high (95 % Wilson interval). Accuracies are fractions between 0 and 1, losses nats per image. With
    --verdict also: verdict, difference, difference_low, difference_high, p_value. With --group: network, recipe, runs,
    test_accuracy_mean, _sd, _lowest, _highest, validation_loss_mean, verdict, p_value, differs (settings
    that other groups of that network and recipe do not share)."""
    plot: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Also draw the loss and error curves of the runs, across networks the error alone, into this file, .png, .svg or
    .pdf; with --passes or --limit, of the runs that the table shows."""
    html: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Also write a report into this one .html file, readable without a network: runs, passes and groups with verdicts,
    and the curves."""
    language: Literal["en", "zh"] = "en"
    """Language of the --html report; names and messages stay English."""
    sort: Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint=SORTED_BY)] = None
    """Column of results.csv to sort passes by, best first; run: by the runs' names, and each run's passes in order."""
    network: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Only runs of this network."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Only runs with this recipe."""
    seed: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Only runs with this seed."""
    passes: Annotated[tuple[int, ...], arg(metavar="N [N ...]", help_behavior_hint="", aliases=("--epochs",))] = ()
    """Only these passes, such as 7 9; with --verdict, two are compared with each other."""
    limit: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Only the first N passes of what is left, in the order of --sort."""
    best: bool = False
    """Only the best pass of each run."""
    verdict: bool = False
    """Also print which passes really differ from the first one, by the saved answers to the same test images: exact
    McNemar test, corrected by Holm for the number of passes; bootstrap interval of the difference."""
    group: bool = False
    """One line per group of runs that differ in nothing but seed and machine instead: test accuracy of their best
    passes; mean, standard deviation (n - 1), lowest and highest; Welch's test against the first, corrected by Holm for
    all pairs."""
    fail_under: Annotated[float | None, arg(metavar="PERCENT", help_behavior_hint="")] = None
    """Percent: exit status 1, and a line on stderr, for each run whose best pass has a lower test accuracy."""

    def __post_init__(self) -> None:
        if (self.verdict or self.html) and self.sort and self.sort.startswith("test_"):
            option = "--verdict" if self.verdict else "--html"
            raise UsageError(
                f"{option} --sort {one_line(self.sort)}: expected a first pass that is not chosen by its test score"
            )
        if self.sort and self.sort not in sortable_columns():
            raise UsageError(f"--sort {one_line(self.sort)}: expected one of {', '.join(sortable_columns())}")
        check_ranges(self, {"limit": Range(1, 10**9), "fail_under": Range(0, 100)})


def main(stop: StopRequest) -> int:
    """Print the comparison; the exit status is 1 if anything could not be read, or is worse than asked for."""
    options = parse(Options, groups=GROUPS)
    if options.plot:
        with stop.importing():
            from results.figures.curves import comparison_curves  # here: matplotlib takes half a second to import
            from results.figures.style import check_path, save

        check_path(options.plot)
    if options.html:
        with stop.importing():
            from results.comparison_texts import TEXTS
            from results.html import check_html_path, write_report

        check_html_path(options.html)
    paths, problems = named_runs(options.run_dirs) if options.run_dirs else (find_runs(), [])
    if not paths and not problems:
        raise UserError("runs/: expected folders with a results.csv, found none; run train.py first, or name a folder")
    runs, more = load_runs(paths)
    problems += more
    complain(problems)
    for each in runs:
        if not each.rows:
            to_stderr(f"note: {each.name}: no pass has ended yet")
        elif each.unfinished:
            to_stderr(f"note: {each.name}: its last row has no line end, and is left out")
    runs = [each for each in runs if each.rows and wanted(each, options)]
    if not runs:
        raise UserError("no passes to compare")

    more_problems = [] if options.group else show_passes(runs, options)
    if options.group:
        show_groups(runs, options)
    if options.plot:
        drawn = drawn_runs(runs, options)
        save(comparison_curves({each.name: each.rows for each in drawn}, losses_compare(drawn)), options.plot)
    if options.html:
        entries, texts = chosen_passes(runs, options), TEXTS[options.language]
        command = shlex.join(["compare.py", *sys.argv[1:]])
        more = write_report(options.html, runs, entries, group_runs(runs), problems, texts, command)
        more_problems += [line for line in more if line not in more_problems]
    if options.fail_under is not None:
        more_problems += runs_below(runs, options.fail_under)
    complain(more_problems)
    return 1 if problems or more_problems else 0


def named_runs(run_dirs: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The runs that are named, and one line for each folder that cannot be listed."""
    paths: list[Path] = []
    problems: list[str] = []
    for path in run_dirs:
        try:
            paths += runs_in(path)
        except OSError as error:
            problems.append(f"{one_line(path)}: {error.strerror}")
    return paths, problems


def runs_in(path: Path) -> list[Path]:
    """The run that a path names, or the runs in that folder."""
    if not os.path.isdir(path) or holds_log(path):  # noqa: PTH112  (of a name too long, no error here)
        return [path]
    return find_runs(path) or [path]


def wanted(each: Run, options: Options) -> bool:
    """True if a run passes the filters."""
    filters = {"network": options.network, "recipe": options.recipe, "seed": options.seed}
    return all(value in (None, getattr(each, name)) for name, value in filters.items())


def chosen_passes(runs: Sequence[Run], options: Options) -> list[Entry]:
    """The passes that the filters leave, sorted.

    Raises:
        UserError: none is left.
    """
    entries = sort_passes(runs, options.sort)
    if options.best:
        entries = [entry for entry in entries if entry.is_best]
    if options.passes:
        entries = [entry for entry in entries if entry.row.pass_number in options.passes]
    if not entries:
        raise UserError("no passes to compare: no run has one that was asked for")
    return entries[: options.limit]


def drawn_runs(runs: Sequence[Run], options: Options) -> list[Run]:
    """The runs of --plot: all, or those that the table of passes shows if --passes or --limit shortens it."""
    if options.group or not (options.passes or options.limit):
        return list(runs)
    return list({entry.run.name: entry.run for entry in chosen_passes(runs, options)}.values())


def show_passes(runs: Sequence[Run], options: Options) -> list[str]:
    """Print the passes of `runs`; returns one line for each thing that kept a pass from being judged."""
    entries = chosen_passes(runs, options)
    verdicts, problems = judge(entries) if options.verdict else ([], [])
    if options.format == "table":
        print_passes(entries, verdicts, ranking(runs, options.sort)[0])
    else:
        judged = [verdict_record(verdict) for verdict in verdicts] or [{}] * len(entries)
        records = [pass_record(entry) | verdict for entry, verdict in zip(entries, judged, strict=True)]
        print_records(records, options.format)
    return problems


def show_groups(runs: Sequence[Run], options: Options) -> None:
    """Print one line per network and recipe."""
    groups = group_runs(runs)
    if options.format == "table":
        print_groups(groups)
    else:
        print_records([group_record(group) for group in groups], options.format)


def complain(problems: Sequence[str]) -> None:
    """One line on stderr for each."""
    for line in problems:
        to_stderr(f"error: {line}")


if __name__ == "__main__":
    run(main)
