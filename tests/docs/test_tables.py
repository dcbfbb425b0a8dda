"""The generated tables' numbers against numbers worked out by hand, from made-up logs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from docs.tables.results import ABLATION_HEADER, RESULTS_HEADER, ablation_table, results_table
from results.log import ResultsLog
from results.predictions import predictions_path, read_predictions, write_predictions
from results.records import Row
from results.run_folder import RunFolder
from results.runs import Run, find_runs, load_runs
from training.settings import Settings, to_json

LABELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def row(pass_number: int, test_correct: int, seconds: float, best: bool, validation_errors: int = 0) -> Row:
    return Row(
        run="made-up",
        pass_number=pass_number,
        train_loss=0.5,
        train_accuracy=0.75,
        validation_loss=validation_errors / 100,
        validation_correct=20 - validation_errors,
        validation_total=20,
        validation_accuracy=1 - validation_errors / 20,
        test_loss=0.25,
        test_correct=test_correct,
        test_total=10,
        test_accuracy=test_correct / 10,
        learning_rate=0.001,
        seconds=seconds,
        images_per_second=100.0,
        best=best,
    )


def write_run(folder: Path, settings: Settings, rows: list[Row], cores: int = 2) -> None:
    folder.mkdir(parents=True)
    machine = {"processor": "Abacus", "cores": cores}
    record = {"settings": to_json(settings), "parameters": 1234, "environment": {"machine": machine}}
    RunFolder(folder).write_record(record)
    log = ResultsLog(folder / "results.csv")
    for each in rows:
        log.append(each)


def runs_in(folder: Path) -> list[Run]:
    runs, problems = load_runs(find_runs(folder))
    assert not problems
    return runs


def cells(table: str, header: str) -> list[list[str]]:
    assert table.startswith(f"{header}\n")
    return [line.strip("| ").split(" | ") for line in table.removeprefix(f"{header}\n").splitlines()]


def three_seeds(folder: Path) -> None:
    """Three runs that choose their second pass of three, with 8, 7 and 9 of 10 images right."""
    answers = [
        [0, 1, 2, 3, 4, 5, 6, 7, 0, 0],  # wrong on 8 and 9
        [0, 1, 2, 3, 4, 5, 6, 1, 8, 1],  # wrong on 7 and 9, and one more, below
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 2],  # wrong on 9
    ]
    answers[1][0] = 9
    for seed, given in enumerate(answers, start=1):
        right = sum(answer == label for answer, label in zip(given, LABELS, strict=True))
        place = folder / f"seed{seed}"
        rows = [row(1, 1, 1.0, True), row(2, right, 2.0, True), row(3, 10, 6.0, False)]
        write_run(place, Settings(network="lenet5_relu", seed=seed), rows)
        write_predictions(predictions_path(place, 1), np.zeros(10), np.array(LABELS))
        write_predictions(predictions_path(place, 2), np.array(given), np.array(LABELS))


def test_mean_deviation_counts_and_vote_of_three_seeds(tmp_path: Path) -> None:
    """80, 70 and 90 %: mean 80, √((0² + 10² + 10²) / 2) = 10. On images 0 to 8 two of three are right, on 9 none."""
    three_seeds(tmp_path)
    (found,) = cells(results_table(runs_in(tmp_path)), RESULTS_HEADER)
    counts = ["80.00 ± 10.00 %", "8, 7, 9", "3", "9", "1,234", "2.0", "Abacus, 2 cores"]
    assert found == ["`lenet5_relu`", "published", "98.63 %", *counts]


def test_where_a_vote_is_split_the_first_seed_is_heard(tmp_path: Path) -> None:
    """Image 9 gets three answers: made right, seed 1's is the vote's, and those of the others are not."""
    three_seeds(tmp_path)
    for seed, right in ((1, "10"), (2, "9"), (3, "9")):
        path = predictions_path(tmp_path / f"seed{seed}", 2)
        kept = path.read_bytes()
        given = read_predictions(path).answers.copy()
        given[9] = 9
        write_predictions(path, given, np.array(LABELS))
        (found,) = cells(results_table(runs_in(tmp_path)), RESULTS_HEADER)
        assert found[6] == right, seed
        path.write_bytes(kept)


def test_there_is_no_vote_of_two_nor_where_answers_are_missing(tmp_path: Path) -> None:
    three_seeds(tmp_path / "all")
    predictions_path(tmp_path / "all" / "seed3", 2).unlink()
    (found,) = cells(results_table(runs_in(tmp_path / "all")), RESULTS_HEADER)
    assert found[6] == "–"
    for seed in (1, 2):
        write_run(tmp_path / "two" / f"seed{seed}", Settings(seed=seed), [row(1, 6 + 2 * seed, 1.0, True)], cores=seed)
        write_predictions(predictions_path(tmp_path / "two" / f"seed{seed}", 1), np.array(LABELS), np.array(LABELS))
    (found,) = cells(results_table(runs_in(tmp_path / "two")), RESULTS_HEADER)
    assert found[3:7] == ["90.00 ± 14.14 %", "8, 10", "2", "–"]  # √(10² + 10²)
    assert found[-1] == "Abacus, 1 core / Abacus, 2 cores"


def test_runs_are_one_group_where_the_seed_alone_differs(tmp_path: Path) -> None:
    own = Settings(network="lenet5_numpy")
    others = (
        own,
        dataclasses.replace(own, recipe="best"),
        dataclasses.replace(own, learning_rate=0.25, engine="numpy"),
    )
    for number, settings in enumerate((*others, dataclasses.replace(own, seed=2))):
        write_run(tmp_path / f"run{number}", settings, [row(1, 5 + number, 1.0, True)])
    found = cells(results_table(runs_in(tmp_path)), RESULTS_HEADER)
    assert [(each[1], each[3], each[5]) for each in found] == [
        ("published", "65.00 ± 21.21 %", "2"),
        ("published --learning-rate 0.25 --engine numpy", "70.00 %", "1"),
        ("best", "60.00 %", "1"),
    ]


def test_an_ablations_difference_is_that_of_the_same_seeds(tmp_path: Path) -> None:
    """Errors 2, 4 and 3, 7: mean difference (1 + 3) / 2 = 2, its standard error √2 / √2 = 1."""
    whole = Settings(recipe="best", passes=10)
    for seed, errors, without in ((1, 2, 3), (2, 4, 7)):
        own = dataclasses.replace(whole, seed=seed)
        write_run(tmp_path / f"whole{seed}", own, [row(1, 5, 1.0, True, errors)])
        less = dataclasses.replace(own, ema=0.0)
        write_run(tmp_path / f"less{seed}", less, [row(1, 5, 1.0, True, without)])
    assert cells(ablation_table(runs_in(tmp_path)), ABLATION_HEADER) == [
        ["the whole", "2, 4", "3.0 ± 1.4", "–", "0.0300", "2"],
        ["`--ema 0`", "3, 7", "5.0 ± 2.8", "+2.0 ± 1.0", "0.0500", "2"],
    ]
