"""Comparisons on a terminal of 80 columns: no row wraps, and no verdict is cut."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

import compare
from results import table
from results.groups import group_runs
from results.runs import Entry, load_runs, sort_passes
from results.significance import Outcome, Verdict
from tests.scripts.test_old_folders import SAMPLES

LONG = "第一次训练_" + "long_name_" * 7 + "seed2"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, one of a name that is wider than the terminal."""
    for name in ("conv_pool_bn-seed1-20261128-063010", LONG):
        (tmp_path / name).mkdir()
        for file in ("results.csv", "run.json"):
            shutil.copy(SAMPLES / "run" / file, tmp_path / name)
    return tmp_path


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(table, "make_console", lambda: Console(file=screen, width=80))
    return screen


def test_verdicts_stand_whole_below_the_table(runs: Path, screen: io.StringIO) -> None:
    found, _ = load_runs(compare.runs_in(runs))
    entries = [Entry(run, run.rows[0]) for run in found]
    verdict = Verdict(Outcome.SAME, entries[0].name, 0.0005, -0.0011, 0.0021, 0.265)
    table.print_passes(entries, [Verdict(Outcome.REFERENCE), verdict])
    lines = screen.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert lines[-1] == "  +0.05 % (-0.11 to +0.21), p 0.265: not distinguishable from the first"
    assert sum("第一次" in line and "…" in line and "seed2" in line for line in lines) == 2  # in the table, and below


def test_a_name_of_any_width_wraps_no_row(runs: Path, screen: io.StringIO) -> None:
    """Also one that leaves the table room for nothing else, or that is as wide as the terminal."""
    found, _ = load_runs(compare.runs_in(runs))
    for cells in (12, 50, *range(74, 83)):
        entries = [Entry(replace(run, name=f"第{'n' * (cells - 2)}"), run.rows[0]) for run in found]
        for verdicts in ([], [Verdict(Outcome.REFERENCE), Verdict(Outcome.SAME, "a", 0.0005, -0.0011, 0.0021, 0.265)]):
            screen.truncate(0)
            screen.seek(0)
            table.print_passes(entries, verdicts)
            lines = screen.getvalue().splitlines()
            assert max(map(cell_len, lines)) <= 80, cells
            assert len(lines) in ((4, 8) if verdicts else (4,)), (cells, lines)  # beside the passes, or below


def test_the_column_that_ranks_stays(runs: Path, screen: io.StringIO) -> None:
    """Across networks, the share of validation errors; within one, the loss."""
    found, _ = load_runs(compare.runs_in(runs))
    for networks, ranks in ((("a", "a"), "loss"), (("a", "b"), "%")):
        several = [replace(run, network=network) for run, network in zip(found, networks, strict=True)]
        screen.truncate(0)
        table.print_passes(sort_passes(several))
        lines = screen.getvalue().lstrip("\0").splitlines()
        assert max(map(cell_len, lines)) <= 80
        place = lines[0].index("validation")
        assert lines[1][place : place + 10].strip() == ranks and lines[0].count("validation") == 1


@pytest.mark.parametrize(
    ("column", "header"),
    [
        (None, ("validation", "%")),
        ("validation_loss", ("validation", "loss")),
        ("test_accuracy", ("test", "%")),
        ("train_loss", ("train", "loss")),
        ("seconds", ("training", "s")),
    ],
)
def test_the_column_that_ranked_is_shown(
    column: str | None, header: tuple[str, str], runs: Path, screen: io.StringIO
) -> None:
    """Also if --limit leaves one of two networks: the ranking was that of both."""
    found, _ = load_runs(compare.runs_in(runs))
    several = [replace(run, network=network) for run, network in zip(found, ("a", "b"), strict=True)]
    compare.show_passes(several, compare.Options(limit=1, sort=column))
    above, below, *rows = screen.getvalue().splitlines()
    headers = {(word[0], below[word.start() : word.end()].strip()) for word in re.finditer(r"\S+", above)}
    assert len(rows) == 1 and header in headers
    assert column or ("validation", "loss") not in headers


def test_groups_are_stacked(runs: Path, screen: io.StringIO) -> None:
    table.print_groups(group_runs(load_runs(compare.runs_in(runs))[0]))
    lines = screen.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80 and not any("…" in line for line in lines)
    assert "  runs 2, mean test " in lines[1] and lines[-1] == "  reference"


def test_a_folder_of_runs_is_its_runs(runs: Path) -> None:
    assert [path.name for path in compare.runs_in(runs)] == sorted(path.name for path in runs.iterdir())
    for path in (runs / LONG, runs / LONG / "results.csv", runs / "none", Path("x" * 5000)):
        assert compare.runs_in(path) == [path]
