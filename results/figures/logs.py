"""The figures of a run's logs alone: its curves, and its learning rate. No Paddle, which takes seconds to import.

python -m results.figures.logs RUN_DIR   # draws them, and writes them to standard output as safetensors
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.processes import end_with_parent

    end_with_parent()  # before Matplotlib is imported

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from common.errors import UserError, one_line
from common.files import write_file
from results.figures.curves import learning_rate_curve, training_curves
from results.figures.style import drawn_both
from results.log import read_results, read_steps
from results.run_folder import RunFolder


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
        UserError: the run's folder of figures is a link, perhaps to a user's pictures.
        OSError: a figure cannot be written.
    """
    if folder.figures.is_symlink():
        raise UserError(f"{one_line(folder.figures)}: a symbolic link, through which nothing is written; move it away")
    folder.figures.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        write_file(folder.figures / name, picture)


if __name__ == "__main__":
    contents = {
        name: np.frombuffer(picture, np.uint8) for name, picture in curves(RunFolder(Path(sys.argv[1]))).items()
    }
    sys.stdout.buffer.write(safetensors.numpy.save(contents))
