"""The figures of a run: what is drawn, that it is true, and that drawing neither slows nor breaks a run."""

from __future__ import annotations

import os
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from common.errors import UserError
from data.dataset import Mnist
from model.calibration import Confidences
from model.engine import Exporter
from model.feature_maps import FeatureMaps
from model.networks import DIGIT_NETWORKS, NETWORKS
from model.program import NetworkConfig
from results.figures import drawing as drawings
from results.figures.curves import learning_rate_curve, training_curves
from results.figures.network import feature_maps, filters, seen
from results.figures.predictions import calibration, confusion_matrix, wrong_answers
from results.figures.rejection import rejection
from results.figures.style import drawn, tiled
from results.log import ResultsLog, read_results
from results.predictions import predictions_path, read_predictions
from results.records import Step, best_row
from results.run_folder import RunFolder
from tests.conftest import Script
from training.callbacks.figures import Figures
from training.figures import draw_run

CURVES = {"curves", "learning_rate"}
ALL = CURVES | {"confusion", "wrong_answers", "calibration", "rejection", "filters", "feature_maps", "batch"}


def words(figure: Figure) -> list[str]:
    """All text of a figure's axes, tick labels left out."""
    return [
        text
        for axes in figure.axes
        for text in (
            *(axes.get_title(loc) for loc in ("left", "center")),
            axes.get_xlabel(),
            axes.get_ylabel(),
            *(each.get_text() for each in axes.texts),
            *(each.get_text() for legend in [axes.get_legend()] if legend for each in legend.get_texts()),
        )
        if text
    ]


@pytest.fixture
def run_copy(small_run: Path, tmp_path: Path) -> RunFolder:
    """A finished run without its figures."""
    shutil.copytree(small_run / "run", tmp_path / "run", ignore=shutil.ignore_patterns("figures"))
    return RunFolder(tmp_path / "run")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_ends_with_all_figures_as_png_and_svg(small_run: Path) -> None:
    folder = small_run / "run" / "figures"
    assert names(folder) == {f"{name}.{suffix}" for name in ALL for suffix in ("png", "svg")}
    for name in ALL:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width >= 1000
        assert "<svg" in (folder / f"{name}.svg").read_text()


def test_the_command_draws_a_finished_run_again_and_the_same(
    small_run: Path, run_copy: RunFolder, script: Script
) -> None:
    result = script("-m", "training.figures", run_copy.path)
    assert (result.returncode, result.stdout) == (0, f"drawn: {run_copy.figures}/\n"), result.stderr
    for name in names(small_run / "run" / "figures"):
        assert (run_copy.figures / name).read_bytes() == (small_run / "run" / "figures" / name).read_bytes(), name


def test_nothing_is_drawn_through_a_link(run_copy: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "curves.png").write_bytes(b"a user's own")
    run_copy.figures.symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="a symbolic link, through which nothing is written"):
        draw_run(run_copy)
    assert names(tmp_path / "mine") == {"curves.png"}
    assert (tmp_path / "mine" / "curves.png").read_bytes() == b"a user's own"


def test_other_data_and_runs_without_a_pass_are_refused(run_copy: RunFolder, mnist: Mnist, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the data of the run"):
        draw_run(run_copy, data_dir=Path(mnist.source))
    begun = RunFolder(tmp_path / "begun")
    begun.path.mkdir()
    ResultsLog(begun.results)
    with pytest.raises(UserError, match="expected a run with a best pass"):
        draw_run(begun)
    assert {path.stem for path in begun.figures.iterdir()} == CURVES


def test_curves_are_drawn_as_the_run_goes_by_a_process_that_yields(
    run_copy: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = read_results(run_copy.results)[0][0]
    drawing = Figures(run_copy, "all")
    drawing.on_pass(row)
    begun = drawing._drawing
    assert begun is not None and os.getpriority(os.PRIO_PROCESS, begun.process.pid) == drawings.LOWEST_PRIORITY == 19
    drawing.on_end()
    monkeypatch.setattr(drawings, "LOWEST_PRIORITY", 0)  # else the test would wait for all others
    drawing.on_pass(row)
    begun = drawing._drawing
    assert begun is not None
    drawing.on_pass(row)
    assert drawing._drawing is begun  # one at a time
    assert begun.process.wait() == 0
    assert not run_copy.figures.exists()  # a process that outlives its training writes nothing
    drawing.on_pass(row)
    assert {path.stem for path in run_copy.figures.iterdir()} == CURVES
    assert drawing._drawing is not begun
    drawing.on_end()  # in the middle of it
    assert not [name for name in names(run_copy.figures) if "tmp" in name]
    silent = Figures(run_copy, "none")
    silent.on_pass(row)
    assert silent._drawing is None


def test_a_drawing_that_fails_leaves_the_old_curves(run_copy: RunFolder) -> None:
    run_copy.figures.mkdir()
    (run_copy.figures / "curves.png").write_bytes(b"old")
    drawing = Figures(run_copy, "curves")
    drawing.on_pass(read_results(run_copy.results)[0][0])
    assert drawing._drawing is not None
    drawing._drawing.process.kill()
    drawing.on_end()
    assert (run_copy.figures / "curves.png").read_bytes() == b"old"


def test_the_confusion_matrix_counts_the_kept_answers(small_run: Path) -> None:
    run = RunFolder(small_run / "run")
    best = best_row(read_results(run.results)[0])
    assert best is not None and best.test_total is not None and best.test_correct is not None
    kept = read_predictions(predictions_path(run.path, best.pass_number))
    figure = confusion_matrix(kept.labels, kept.answers)
    cells = {each.get_position(): int(each.get_text()) for each in figure.axes[0].texts}
    assert cells == {
        (read, true): count
        for true in range(10)
        for read in range(10)
        if (count := int(np.sum((kept.labels == true) & (kept.answers == read))))
    }
    assert f"{best.test_total - best.test_correct} wrong answers of 500" in words(figure)


def test_wrong_answers_are_shown_with_truth_and_probabilities_the_surest_first() -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    probabilities = np.full((4, 10), 0.01)
    for index, (answer, probability) in enumerate([(3, 0.91), (4, 0.6), (5, 0.9), (6, 0.7)]):
        probabilities[index, answer] = probability
    labels = np.array([3, 9, 2, 1])  # the first is right
    shown = words(wrong_answers(images, labels, probabilities))
    assert "3 wrong answers of 4" in shown
    assert [each for each in shown if " read as " in each] == ["2 read as 5", "1 read as 6", "9 read as 4"]
    assert "5: 0.90  2: 0.01" in shown
    assert "0 wrong answers of 1" in words(wrong_answers(images[:1], labels[:1], probabilities[:1]))
    many = wrong_answers(np.repeat(images, 50, axis=0), np.full(200, 9), np.repeat(probabilities, 50, axis=0))
    assert "200 wrong answers of 200: the 40 surest" in words(many)


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_filters_and_layers_of_every_network(name: str, mnist: Mnist) -> None:
    choice = NetworkConfig(name)
    values = Exporter(choice)._session
    parameters = {inner: values.get(variable) for inner, variable in values.program.parameters.items()}
    layers = FeatureMaps(choice, parameters)
    side = NETWORKS[name].image.size
    outputs = {key: value[0] for key, value in layers.of(np.ones((1, 1, side, side), np.float32)).items()}
    figure = feature_maps(np.ones((side, side), np.float32), outputs)
    titles = [axes.get_title("left").partition(",")[0] for axes in figure.axes]
    assert titles[0] == f"picture: {side}x{side} pixels"
    assert [title.partition(":")[0] for title in titles[1:]] == list(outputs)
    assert titles[-1] == "output: 10 units"
    maps = next(iter(outputs.values())).shape[0]
    assert f"{maps} filters of 5x5 pixels" in words(filters(layers.parameters()))[0]
    assert min(figure.get_size_inches()) > 3 and drawn(figure, ".png")


def test_rejection_says_what_is_left_wrong() -> None:
    sure, right = np.linspace(0.5, 1, 200), np.arange(200) >= 3  # the least sure are wrong
    said = " ".join(words(rejection({"test": Confidences(sure, right)})))
    assert "test: 3 of 200 wrong; 1 % rejected: 1 of 198" in said


def test_calibration_says_the_error_before_and_after_a_temperature() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 10, 2000)
    # A right score 3 higher, unit noise: the log-probabilities are 3 times the scores, and here 4 times that.
    scores = 12 * (rng.normal(0, 1, (2000, 10)) + 3 * np.eye(10)[labels])
    log_probabilities = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    said = words(calibration(log_probabilities, labels, temperature=4.0))
    before, after = (float(line.split()[-2]) for line in said if "calibration error" in line)
    assert before > 3 > 1.5 > after and "temperature 4.00: calibration error" in " ".join(said)


def test_the_batch_is_shown_with_its_labels() -> None:
    labels = np.arange(70) % 10
    figure = seen(np.zeros((70, 1, 32, 32), np.float32), labels, "not distorted")
    assert [each.get_text() for each in figure.axes[0].texts] == [str(label) for label in labels[:64]]


def test_learning_rate_of_batches_and_passes(small_run: Path) -> None:
    rows, _ = read_results(small_run / "run" / "results.csv")
    steps = [Step(pass_number=1, step=2, loss=1.0, accuracy=0.5, learning_rate=5e-4)]
    line, _ = learning_rate_curve(rows, steps).axes[0].lines
    assert np.asarray(line.get_ydata()).tolist() == [5e-4, 1e-3, 1e-3, 1e-3]
    assert drawn(learning_rate_curve([], []), ".svg")


def test_a_slow_machine_draws_without_a_warning(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = read_results(small_run / "run" / "results.csv")
    seconds = count(step=2)
    monkeypatch.setattr("time.perf_counter", lambda: float(next(seconds)))
    for figure in (learning_rate_curve(rows, []), training_curves(rows, [])):
        assert drawn(figure, ".png")  # a warning is an error here, as pyproject.toml says


def test_tiles_are_the_pictures_in_rows() -> None:
    pictures = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    sheet = tiled(pictures, columns=2, gap=1, below=2)
    assert sheet.shape == (2 * 7, 2 * 6)
    assert np.array_equal(sheet[7:11, :5], pictures[2]) and np.array_equal(sheet[:4, 6:11], pictures[1])
    outside = np.ma.getmaskarray(sheet)
    assert outside[:4, 5].all() and outside[4:7].all() and outside[7:, 6:].all()


def test_figures_name_the_classes() -> None:
    names = [f"kind {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    image, probabilities = np.zeros((28, 28)), np.eye(26)[3]
    maps = feature_maps(image, {"probability": probabilities}, names)
    assert [label.get_text() for label in maps.axes[1].get_xticklabels()] == names
    assert maps.axes[1].get_xlabel() == "class"
    batch = seen(np.zeros((2, 1, 28, 28)), np.array([0, 25]), "", names)
    assert [text.get_text() for text in batch.axes[0].texts] == ["kind a", "kind z"]
    sheet = wrong_answers(np.zeros((1, 28, 28), np.uint8), np.array([2]), np.eye(26)[[3]], names)
    assert [text.get_text() for text in sheet.axes[0].texts] == ["kind c read as", "kind d 1.00"]
    ten = confusion_matrix(np.array([0]), np.array([1]), names[:10])
    assert ten.axes[0].get_xlabel() == "class read"
