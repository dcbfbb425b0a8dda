"""All figures of a run, from what is in its folder, into `runs/NAME/figures/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from common.errors import UserError, one_line
from common.files import write_file
from mnist.dataset import Mnist, load_mnist
from training.figures.curves import learning_rate_curve, training_curves
from training.figures.style import drawn_both
from training.results import best_row, read_results, read_steps
from training.run import RunFolder
from training.settings import Settings, from_json

Which = Literal["all", "curves", "none"]


def draw_run(folder: RunFolder, which: Which = "all", data: Mnist | None = None, data_dir: Path | None = None) -> None:
    """Draw, or draw again, the figures of a run, each as .png and .svg.

    Args:
        folder: of the run, which may still go on.
        which: "curves" are those of the logs alone; "all" needs the best model and the data too.
        data: the run's data, if they are loaded already.
        data_dir: where to find them otherwise; None for where the run found them.

    Raises:
        UserError: no run is there, no pass of it has ended, or the data are others.
        OSError: a figure cannot be written.
    """
    if which == "none":
        return
    save_curves(folder, curves(folder))
    if which == "all":
        if best_row(read_results(folder.results)[0]) is None:
            raise UserError(f"{one_line(folder.path)}: expected a run with a best pass, found none; curves are drawn")
        record = folder.read_record()
        try:
            settings = from_json(record["settings"])
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{one_line(folder.record)}: settings of another release: {one_line(error, 160)}"
            ) from error
        from training.figures.model import draw_model  # here: curves alone need no Paddle

        draw_model(folder, settings, data or _same_data(folder, record.get("data"), settings, data_dir))


def curves(folder: RunFolder) -> dict[str, bytes]:
    """Draw the figures of the logs alone.

    Returns:
        The files' contents by their names.
    """
    rows, _ = read_results(folder.results)
    steps, _ = read_steps(folder.steps)
    return {
        **drawn_both(training_curves(rows, steps), "curves"),
        **drawn_both(learning_rate_curve(rows, steps), "learning_rate"),
    }


def save_curves(folder: RunFolder, pictures: Mapping[str, bytes]) -> None:
    """Write what `curves` drew.

    Raises:
        OSError: a figure cannot be written.
    """
    folder.figures.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        write_file(folder.figures / name, picture)


def _same_data(folder: RunFolder, known: object, settings: Settings, data_dir: Path | None) -> Mnist:
    data = load_mnist(data_dir or settings.data_dir)
    if not isinstance(known, dict) or known.get("sha256") != data.sums:
        raise UserError(
            f"{one_line(data.source)}: expected the data of the run in {one_line(folder.path)} (run.json has their "
            "SHA-256), got other data; name their folder with --data-dir"
        )
    return data
