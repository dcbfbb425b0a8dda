"""Which differences are real: the tests against their sources, against known truth, and from kept answers to words."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from common.errors import UserError
from results.groups import group_runs
from results.log import ResultsLog
from results.predictions import predictions_path, read_predictions, write_predictions
from results.records import Row
from results.runs import Run, load_runs, sort_passes
from results.significance import bootstrap_difference, holm, judge, mcnemar, welch
from tests.conftest import Script

IMAGES = 10_000


def make_run(folder: Path, wrong: list[range]) -> Path:
    """A run whose pass n has the images `wrong[n - 1]` wrong; its validation loss falls from pass to pass."""
    folder.mkdir(parents=True)
    labels = np.arange(IMAGES) % 10
    log = ResultsLog(folder / "results.csv")
    for number, images in enumerate(wrong, start=1):
        answers = labels.copy()
        answers[images] = (answers[images] + 1) % 10
        correct = IMAGES - len(images)
        write_predictions(predictions_path(folder, number), answers, labels)
        log.append(
            Row(
                run=folder.name, pass_number=number, train_loss=0.1, train_accuracy=0.9,
                validation_loss=1 / number, validation_correct=9, validation_total=10, validation_accuracy=0.9,
                test_loss=0.1, test_correct=correct, test_total=IMAGES, test_accuracy=correct / IMAGES,
                learning_rate=0.1, seconds=1.0, images_per_second=1.0, best=True,
            )
        )  # fmt: skip
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Pass 3 comes first; pass 2 has 10 more wrong and 8 fewer, pass 1 has 60 more."""
    return make_run(tmp_path / "runs" / "a", [range(160), range(8, 110), range(100)])


def test_verdicts_in_words_and_numbers(run: Path) -> None:
    verdicts, problems = judge(sort_passes(load_runs([run])[0]))
    assert problems == []
    assert [each.verdict for each in verdicts] == [
        "reference",
        "not distinguishable from a pass 3",
        "worse than a pass 3",
    ]
    assert verdicts[1].difference == pytest.approx(-0.0002)
    assert verdicts[2].difference == pytest.approx(-0.006)
    assert verdicts[2].difference_low < -0.006 < verdicts[2].difference_high < 0
    assert verdicts[1].difference_low < 0 < verdicts[1].difference_high
    assert verdicts[2].p_value == pytest.approx(2 * 2 * 0.5**60)


def test_the_command_says_it_in_all_formats(run: Path, script: Script) -> None:
    def compare(*arguments: str) -> str:
        done = script("compare.py", "--verdict", *arguments, cwd=run.parent.parent)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    lines = compare().splitlines()
    assert lines[2].rstrip().endswith("reference")
    assert lines[3].rstrip().endswith("not distinguishable from a pass 3")
    assert "-0.60" in lines[4]
    objects = [json.loads(line) for line in compare("--format", "json").splitlines()]
    assert list(objects[0])[-5:] == ["verdict", "difference", "difference_low", "difference_high", "p_value"]
    assert objects[0]["p_value"] is None
    table = list(csv.DictReader(io.StringIO(compare("--format", "csv"))))
    assert [float(each["p_value"]) for each in table[1:]] == [each["p_value"] for each in objects[1:]]


def test_a_reference_chosen_by_its_test_score_is_refused(run: Path, script: Script) -> None:
    assert script("compare.py", run, "--verdict", "--sort", "test_accuracy").returncode == 2


def test_answers_that_are_missing_altered_or_of_other_images_judge_nothing(run: Path) -> None:
    other = make_run(run.parent / "b", [range(50)])
    write_predictions(predictions_path(other, 1), np.arange(10), np.arange(10))
    predictions_path(run, 1).unlink()
    altered = bytearray(predictions_path(run, 2).read_bytes())
    altered[-1] ^= 1
    predictions_path(run, 2).write_bytes(altered)
    runs, _ = load_runs([run, other])
    verdicts, problems = judge(sort_passes(runs))
    assert [each.verdict for each in verdicts] == ["reference"] + ["unknown: no answers kept"] * 3
    assert len(problems) == 2
    assert any("altered" in line for line in problems)
    assert any("expected 9950/10000 right as in the log, got 10/10" in line for line in problems)

    labels = (np.arange(IMAGES) + 1) % 10
    answers = labels.copy()
    answers[:50] += 1
    write_predictions(predictions_path(other, 1), answers, labels)
    verdicts, _ = judge(sort_passes(runs))
    assert "unknown: answers to other images" in [each.verdict for each in verdicts]

    predictions_path(run, 3).unlink()
    verdicts, _ = judge(sort_passes(runs))
    assert {each.verdict for each in verdicts} == {"unknown: no answers kept of a pass 3"}


def test_answers_come_back_and_no_flipped_bit_or_cut_goes_unnoticed(tmp_path: Path) -> None:
    path = predictions_path(tmp_path, 1)
    answers, labels = np.arange(20) % 10, np.arange(20) % 7
    write_predictions(path, answers, labels)
    data = path.read_bytes()
    read = read_predictions(path)
    assert np.array_equal(read.answers, answers)
    assert np.array_equal(read.labels, labels)
    assert read.right.sum() == np.sum(answers == labels)
    damaged = [data[:length] for length in range(len(data))]
    for place in range(len(data)):
        for bit in range(8):
            damaged.append(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
    path = tmp_path / "damaged"
    silent = 0
    for each in damaged:
        path.unlink(missing_ok=True)
        path.write_bytes(each)
        try:
            again = read_predictions(path)
        except UserError as error:
            assert str(error).isprintable()
        else:
            # a flip in the header's spaces or in the order of its entries may leave the content what it was
            silent += not (np.array_equal(again.answers, answers) and np.array_equal(again.labels, labels))
    assert silent == 0


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 10) == pytest.approx(2 * 0.5**10)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 * 0.5**10)
    assert mcnemar(9, 1) == mcnemar(1, 9)


def test_the_bootstrap_is_that_of_the_images() -> None:
    only_first, only_second, total = 30, 12, 500
    differences = np.repeat([1, -1, 0], [only_first, only_second, total - only_first - only_second])
    rng = np.random.default_rng(5)
    means = rng.choice(differences, (20_000, total)).mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    assert bootstrap_difference(only_first, only_second, total, 0.95) == pytest.approx(expected, abs=0.0021)


def test_welch_is_scipys_and_says_nothing_of_too_few_scores() -> None:
    first, second = [0.98, 0.985, 0.983], [0.975, 0.97, 0.977, 0.972]
    assert welch(first, second) == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue)
    assert welch(first, [0.9]) is None
    assert welch([0.9, 0.9], [0.8, 0.8]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_corrects_upwards_keeps_the_order_and_is_never_stricter_than_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p_value, result in zip(p_values, corrected, strict=True):
        assert p_value <= result <= min(1.0, len(p_values) * p_value)
    assert [corrected[index] for index in np.argsort(p_values, kind="stable")] == sorted(corrected)


def alarms(comparisons: int, images: int, gain: float = 0.0) -> float:
    """Share of comparisons of one pass with five others in which any verdict says that they differ.

    All six have one true accuracy, 98.4 %, but for the last, which errs less by the factor 1 - `gain`.
    """
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(comparisons):
        difficulty = rng.beta(0.02, 1.2, images)  # most images are easy for every network, a few are hard
        right = rng.random((6, images)) > difficulty * np.array([1, 1, 1, 1, 1, 1 - gain])[:, np.newaxis]
        p_values = [mcnemar(int(np.sum(right[0] & ~other)), int(np.sum(other & ~right[0]))) for other in right[1:]]
        found += min(holm(p_values)) < 0.05
    return found / comparisons


def test_false_alarms_stay_below_five_percent_where_nothing_differs() -> None:
    assert alarms(400, 2_000) <= 0.05


@pytest.mark.slow
def test_false_alarms_and_found_differences_at_the_size_of_mnist() -> None:
    """docs/figures.md tells these figures."""
    assert alarms(2_000, 10_000) <= 0.05
    assert alarms(500, 10_000, gain=0.3) > 0.8


def test_a_real_difference_is_found() -> None:
    assert max(holm([mcnemar(60, 20)] * 5)) < 0.05


def test_groups_are_told_apart_by_welch_corrected_for_all_pairs(tmp_path: Path) -> None:
    def runs(network: str, errors: list[int]) -> list[Run]:
        folders = [make_run(tmp_path / f"{network}{seed}", [range(wrong)]) for seed, wrong in enumerate(errors)]
        return [Run(each.name, each.folder, each.rows, network) for each in load_runs(folders)[0]]

    groups = group_runs(runs("good", [90, 95, 100]) + runs("same", [92, 99, 104]) + runs("poor", [300, 310, 290]))
    assert [(group.network, group.verdict) for group in groups] == [
        ("good", "reference"),
        ("same", "not distinguishable from the first"),
        ("poor", "worse than the first"),
    ]
    good, same, poor = [90, 95, 100], [92, 99, 104], [300, 310, 290]
    pairs = [(good, same), (good, poor), (same, poor)]
    expected = holm([ttest_ind(*pair, equal_var=False).pvalue for pair in pairs])
    assert [group.p_value for group in groups] == [None, pytest.approx(expected[0]), pytest.approx(expected[1])]
    [alone] = group_runs(runs("alone", [90]))
    assert (alone.verdict, alone.p_value) == ("reference", None)
