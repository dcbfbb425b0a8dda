"""compare.py as people start it, and the parts below it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import pty
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest

from common.errors import UsageError
from results import log as results
from results.figures.curves import comparison_curves, training_curves
from results.figures.style import check_path, save
from results.groups import group_runs
from results.log import ResultsLog
from results.records import Row, Step, columns
from results.runs import Run, find_runs, load_runs, runs_below, sort_passes
from results.significance import wilson_interval
from tests.privileges import as_no_root

COMPARE = Path(__file__).parents[2] / "compare.py"


def row(run: str, pass_number: int, validation_loss: float, correct: int, best: bool = True) -> Row:
    return Row(
        run=run,
        pass_number=pass_number,
        train_loss=0.2 / pass_number,
        train_accuracy=0.9 + pass_number / 100,
        validation_loss=validation_loss,
        validation_correct=4900,
        validation_total=5000,
        validation_accuracy=0.98,
        test_loss=0.05,
        test_correct=correct,
        test_total=10000,
        test_accuracy=correct / 10000,
        learning_rate=1e-3,
        seconds=12.5,
        images_per_second=4400.0,
        best=best,
    )


def write_run(folder: Path, rows: list[Row], **settings: object) -> Path:
    folder.mkdir(parents=True)
    log = ResultsLog(folder / "results.csv")
    for each in rows:
        log.append(each)
    if settings:
        (folder / "run.json").write_text(json.dumps({"settings": settings}))
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with runs of two networks: a's best pass is its second, b's its first and only."""
    a = [row("a", 1, 0.09, 9800), row("a", 2, 0.05, 9870), row("a", 3, 0.06, 9880, best=False)]
    write_run(tmp_path / "runs" / "a", a, network="conv_pool_bn", recipe="published", seed=1)
    write_run(tmp_path / "runs" / "b", [row("b", 1, 0.055, 9850)], network="lenet5", recipe="published", seed=1)
    return tmp_path


Compare = Callable[..., subprocess.CompletedProcess[str]]


def compare(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As users start it."""
    return subprocess.run([sys.executable, str(COMPARE), *arguments], cwd=place, capture_output=True, text=True)


@pytest.fixture
def compare_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """The same in this process, which saves the second that each start of Python takes."""

    def compare_here(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", [str(COMPARE), *arguments])
        with pytest.raises(SystemExit) as leaving:
            runpy.run_path(str(COMPARE), run_name="__main__")
        said = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(leaving.value.code or 0), said.out, said.err)

    return compare_here


def test_the_table_shows_all_passes_best_first_in_whole_lines(place: Path) -> None:
    done = compare(place)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()[2:]
    assert [line.split()[:3] for line in lines] == [
        ["a", "2", "best"],
        ["b", "1", "best"],
        ["a", "3", "0.0667"],
        ["a", "1", "0.2000"],
    ]
    assert " ".join(lines[0].split()[3:]) == "0.1000 0.0500 98.00 0.0500 9870/10000 98.70 98.46 - 98.90 12.5"


def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_numbers(place: Path) -> None:
    controller, terminal = pty.openpty()
    # rich takes a terminal that cannot tell its size for one of 80 columns; the full table has 96
    settings = os.environ | {"TERM": "dumb"}
    subprocess.run([sys.executable, str(COMPARE)], cwd=place, stdout=terminal, env=settings, check=True)
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(controller, 4096):
            shown += chunk
    except OSError:  # Linux's way to say that the terminal's other end is closed
        pass
    os.close(controller)
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in shown.decode()
    assert "9870/10000" in lines[2]
    assert "training" not in lines[0]


def test_json_and_csv_hold_the_same_and_the_documented_keys(place: Path) -> None:
    objects = [json.loads(line) for line in compare(place, "--format", "json").stdout.splitlines()]
    extra = ["run_dir", "network", "recipe", "seed", "run_best", "test_accuracy_low", "test_accuracy_high"]
    assert list(objects[0]) == columns(Row) + extra
    first = objects[0]
    assert (first["run"], first["pass"], first["test_correct"], first["run_best"]) == ("a", 2, 9870, True)
    assert (first["run_dir"], first["network"], first["recipe"], first["seed"]) == (
        "runs/a", "conv_pool_bn", "published", 1,
    )  # fmt: skip
    assert first["test_accuracy_low"] < 0.987 < first["test_accuracy_high"]
    assert [each["run_best"] for each in objects] == [True, True, False, False]
    table = list(csv.DictReader(io.StringIO(compare(place, "--format", "csv").stdout)))
    assert [{key: str(int(v) if isinstance(v, bool) else v) for key, v in each.items()} for each in objects] == table


def test_json_stays_json_when_a_loss_is_not_a_number(tmp_path: Path, compare_here: Compare) -> None:
    diverged = dataclasses.replace(row("a", 1, math.nan, 980, best=False), train_loss=math.inf)
    write_run(tmp_path / "runs" / "a", [diverged])
    done = compare_here(tmp_path, "--format", "json")
    [values] = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    assert (values["train_loss"], values["validation_loss"], values["network"]) == (None, None, None)
    assert done.returncode == 0


def test_without_validation_or_test_set_there_are_gaps_not_errors(tmp_path: Path, compare_here: Compare) -> None:
    none: Any = {f"{images}_{what}": None for images in ("validation", "test")
            for what in ("loss", "correct", "total", "accuracy")}  # fmt: skip
    write_run(tmp_path / "runs" / "a", [dataclasses.replace(row("a", 1, 0.1, 1), **none)])
    for arguments in (["--plot", "curves.svg"], ["--format", "csv"], ["--group"]):
        done = compare_here(tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    assert "no best pass" in compare_here(tmp_path, "--fail-under", "1").stderr


def test_runs_are_named_by_folder_or_by_log_and_each_counts_once(place: Path, compare_here: Compare) -> None:
    done = compare_here(place, "runs/b/results.csv", "runs/b", "runs/../runs/b/", "--format", "json")
    assert [json.loads(line)["run"] for line in done.stdout.splitlines()] == ["b"]


def test_two_folders_of_one_name_are_told_apart(place: Path, compare_here: Compare) -> None:
    write_run(place / "other" / "a", [row("a", 1, 0.01, 9900)])
    done = compare_here(place, "runs/a", "other/a", "--best", "--format", "json")
    assert [json.loads(line)["run"] for line in done.stdout.splitlines()] == ["other/a", "runs/a"]


def test_broken_logs_are_said_one_line_each_and_the_others_are_shown(place: Path) -> None:
    log = place / "runs" / "a" / "results.csv"
    header, first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([header, first, b"\xff,,\n", rest[0], rest[1][:30]]))
    (place / "runs" / "c").mkdir()
    (place / "runs" / "c" / "results.csv").write_text("epoch,acc\n1,0.9\n")
    hostile = write_run(place / "runs" / "d\n\x1b[31m", [row("d", 1, 0.2, 9000)])
    (hostile / "run.json").write_text('{"settings": {"network": 5}}')
    done = compare(place, *map(str, find_runs(place / "runs")), "nothing", "--format", "json")
    assert done.returncode == 1
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["run"], each["pass"]) for each in shown] == [("a", 2), ("b", 1), ("a", 1)]
    said = done.stderr.splitlines()
    assert len(said) == 4
    for line, what in zip(said, ("a/results.csv line 3", "c/results.csv", "settings.network", "nothing"), strict=True):
        assert line.startswith("error: ")
        assert what in line
        assert line.isprintable()
    assert "Traceback" not in done.stderr


def test_a_log_that_has_only_begun_is_no_error(place: Path, compare_here: Compare) -> None:
    write_run(place / "runs" / "new", [])
    done = compare_here(place)
    assert done.returncode == 0
    assert done.stderr == "note: new: no pass has ended yet\n"


def test_no_runs_is_one_line_and_status_1(tmp_path: Path, compare_here: Compare) -> None:
    done = compare_here(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "train.py" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--sort", "beauty"], ["--plot", "curves.gif"], ["--plot", "nowhere/curves.png"], ["--fail-under", "101"],
     ["--fail-under", "nan"], ["--format", "xml"], ["--limit", "0"]],
)  # fmt: skip
def test_wrong_use_is_one_line_and_status_2(place: Path, arguments: list[str], compare_here: Compare) -> None:
    done = compare_here(place, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_filters_best_and_sort(place: Path, compare_here: Compare) -> None:
    def passes(*arguments: str) -> list[tuple[str, int]]:
        lines = compare_here(place, "--format", "json", *arguments).stdout.splitlines()
        return [(values["run"], values["pass"]) for values in map(json.loads, lines)]

    assert passes("--network", "lenet5") == [("b", 1)]
    assert passes("--recipe", "best") == []
    assert passes("--best") == [("a", 2), ("b", 1)]
    assert passes("--sort", "test_accuracy") == [("a", 3), ("a", 2), ("b", 1), ("a", 1)]
    assert passes("--sort", "run") == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert passes("--passes", "1", "3") == [("b", 1), ("a", 3), ("a", 1)]
    assert passes("--limit", "2") == [("a", 2), ("b", 1)]
    assert passes("--seed", "1", "--best") == [("a", 2), ("b", 1)]
    assert passes("--seed", "2") == passes("--passes", "9") == []


def test_fail_under_names_each_run_that_is_worse(place: Path, compare_here: Compare) -> None:
    done = compare_here(place, "--fail-under", "98.51")
    assert done.returncode == 1
    assert done.stderr == "error: b: expected a test accuracy of at least 98.51 %, got 9850/10000 in pass 1\n"
    assert compare_here(place, "--fail-under", "98.5").returncode == 0


def test_fail_under_is_exact() -> None:
    for correct in range(9900, 10000):
        run = Run("a", Path("a"), [row("a", 1, 0.1, correct)])
        assert runs_below([run], correct / 100) == []
        assert runs_below([run], correct / 100 + 0.001) != []


def test_groups_across_seeds(place: Path, compare_here: Compare) -> None:
    write_run(place / "runs" / "a2", [row("a2", 1, 0.07, 9890)], network="conv_pool_bn", recipe="published", seed=2)
    done = compare_here(place, "--group", "--format", "json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["network"], first["recipe"], first["runs"]) == ("conv_pool_bn", "published", 2)
    assert first["test_accuracy_mean"] == pytest.approx(0.988)
    assert first["test_accuracy_sd"] == pytest.approx(0.001 * math.sqrt(2))
    assert (first["test_accuracy_lowest"], first["test_accuracy_highest"]) == (0.987, 0.989)
    assert first["validation_loss_mean"] == pytest.approx(0.06)
    assert (second["network"], second["runs"], second["test_accuracy_sd"]) == ("lenet5", 1, None)
    assert "98.800" in compare_here(place, "--group").stdout


def test_a_run_without_a_best_pass_counts_in_no_group() -> None:
    [group] = group_runs([Run("a", Path("a"), [row("a", 1, math.nan, 980, best=False)])])
    assert (group.runs, group.test_accuracy_mean) == (0, None)


def test_unknown_and_nan_losses_come_last_and_ties_go_to_the_earlier_pass() -> None:
    rows = [row("a", 1, math.nan, 1), row("a", 2, 0.5, 1), row("a", 3, 0.5, 1), row("a", 4, 0.4, 1)]
    assert [each.row.pass_number for each in sort_passes([Run("a", Path("a"), rows)])] == [4, 2, 3, 1]


def test_passes_of_several_networks_are_sorted_by_their_validation_errors() -> None:
    """A loss of another kind, always larger here, does not decide; of sets of several sizes, the share counts."""

    def run(name: str, network: str, *passes: tuple[float, int, int]) -> Run:
        rows = [
            dataclasses.replace(
                row(name, number, loss, 1),
                validation_correct=correct,
                validation_total=total,
                validation_accuracy=correct / total,
            )
            for number, (loss, correct, total) in enumerate(passes, start=1)
        ]
        return Run(name, Path(name), rows, network)

    near = run("near", "conv_pool_bn", (0.05, 4950, 5000), (0.04, 4940, 5000))
    far = run("far", "lenet5_1998", (2.1, 4951, 5000), (2.0, 4950, 5000))
    half = run("half", "lenet5_1998", (1.9, 2476, 2500))

    def order(*runs: Run) -> list[tuple[str, int]]:
        return [(each.run.name, each.row.pass_number) for each in sort_passes(runs)]

    assert order(near, far, half) == [("half", 1), ("far", 1), ("near", 1), ("far", 2), ("near", 2)]
    assert order(near) == [("near", 2), ("near", 1)] and order(far, half) == [("half", 1), ("far", 2), ("far", 1)]


def test_a_log_that_cannot_be_opened_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "results.csv")

    monkeypatch.setattr(results, "read_file", refuse)
    runs, problems = load_runs([place / "runs" / "a"])
    assert (runs, problems) == ([], [f"{place}/runs/a/results.csv: expected a log file, got: Permission denied"])


@pytest.mark.parametrize("named", [(), ("runs",), ("runs/a", "runs/closed", "runs/b", "closed")])
def test_a_folder_that_cannot_be_looked_into_is_said_and_the_others_are_compared(
    place: Path, named: tuple[str, ...], compare_here: Compare
) -> None:
    """One run's folder, the answers of another, and a folder that may be entered, not listed."""
    write_run(place / "runs" / "closed", [row("closed", 1, 0.01, 9990)], network="lenet5")
    (place / "runs" / "a" / "answers").mkdir()
    (place / "closed").mkdir()
    modes = {"runs/closed": 0, "runs/a/answers": 0, "closed": 0o300}
    for folder, mode in modes.items():
        (place / folder).chmod(mode)
    try:
        with as_no_root():
            done = compare_here(place, "--verdict", "--format", "json", *named)
    finally:
        for folder in modes:
            (place / folder).chmod(0o700)
    assert done.returncode == 1 and {json.loads(line)["run"] for line in done.stdout.splitlines()} == {"a", "b"}
    expected = ["runs/closed/results.csv: expected a log file, got: Permission denied"]
    expected += [f"runs/a/answers/pass-{number:04d}.safetensors: Permission denied" for number in (1, 2, 3)]
    if "closed" in named:
        expected += ["closed: Permission denied"]
    assert sorted(done.stderr.splitlines()) == sorted(f"error: {line}" for line in expected)


@given(st.integers(1, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval_is_scipys(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="wilson")
    assert wilson_interval(*counts) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("name", ["curves.pdf", "curves.png", "curves.svg"])
def test_plot_draws_a_picture_and_the_same_one_each_time(place: Path, name: str) -> None:
    assert compare(place, "--plot", name).returncode == 0
    picture_bytes = (place / name).read_bytes()
    runs, _ = load_runs(find_runs(place / "runs"))
    save(comparison_curves({run.name: run.rows for run in runs}, with_loss=False), place / name)  # of two networks
    assert (place / name).read_bytes() == picture_bytes
    if name.endswith("png"):
        with Image.open(place / name) as picture:
            assert picture.width > 1000
            colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=10**6) or []}
        assert {(0, 114, 178), (213, 94, 0)} <= colours  # the first two of Okabe and Ito, one for each run
    else:
        assert (b"<svg" if name.endswith("svg") else b"%PDF") in picture_bytes
    assert [path.name for path in place.iterdir() if ".tmp-" in path.name] == []


@pytest.mark.parametrize(
    ("arguments", "names", "panels"),
    [
        ((), ["a", "b"], ["error (%)"]),
        (("--limit", "1"), ["a"], ["loss (nats per image)", "error (%)"]),
        (("--passes", "2", "3"), ["a"], ["loss (nats per image)", "error (%)"]),
        (("--group", "--limit", "1"), ["a", "b"], ["error (%)"]),
    ],
)
def test_plot_draws_the_runs_of_the_table_and_no_losses_across_networks(
    arguments: tuple[str, ...], names: list[str], panels: list[str], place: Path, compare_here: Compare
) -> None:
    assert compare_here(place, *arguments, "--plot", "curves.svg").returncode == 0
    words = re.findall(r"<!-- +(.+?) -->", (place / "curves.svg").read_text())
    assert [word for word in words if word in ("a", "b")] == names
    assert [word for word in words if word.startswith(("loss", "error"))] == panels


def test_any_number_of_runs_of_any_name_and_value_can_be_drawn(tmp_path: Path) -> None:
    names = ["_hidden", r"$\frac{$", "运行", "x" * 300, *(f"run {number}" for number in range(60))]
    rows = [row("a", 1, math.inf, 0), row("a", 2, math.nan, 10000), row("a", 3, 0.0, 9000)]
    save(comparison_curves(dict.fromkeys(names, rows)), tmp_path / "many.png")
    save(comparison_curves({}), tmp_path / "none.png")
    with Image.open(tmp_path / "many.png") as many, Image.open(tmp_path / "none.png") as none:
        assert many.width > none.width


def test_curves_of_one_run_show_batches_and_the_best_pass(tmp_path: Path) -> None:
    rows = [row("a", 1, 0.09, 9800), row("a", 2, 0.05, 9870), row("a", 3, 0.06, 9880, best=False)]
    steps = [
        Step(pass_number=number, step=step, loss=1 / (number * step), accuracy=0.95, learning_rate=0.001)
        for number in (1, 2, 3)
        for step in (1, 2, 3)
    ]
    save(training_curves(rows, steps), tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    for said in ("best pass: 2", "train, per batch", "loss (nats per image)", "error (%)"):
        assert f"<!-- {said} -->" in drawn
    save(training_curves([], []), tmp_path / "empty.png")
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        check_path(tmp_path / "curves.bmp")
