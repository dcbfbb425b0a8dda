"""Draw the figures of runs, finished or not, again.

python -m training.figures runs/NAME                  # all of them, into runs/NAME/figures/
python -m training.figures runs/NAME --which curves   # those of the logs alone, which takes a second
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from common.command_line import parse, run
from common.errors import one_line
from common.signals import StopRequest
from training.figures.run import draw_run
from training.run import RunFolder


@dataclass(frozen=True)
class Options:
    """Draw the figures of runs into their folders, as PNG and SVG."""

    run_dirs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN_DIR [RUN_DIR ...]", help_behavior_hint="")]]
    """Folders of runs."""
    which: Literal["all", "curves"] = "all"
    """Curves: what the logs alone tell; all: also what needs the best model and the data."""
    data_dir: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder with the data of the runs; otherwise where each run found them."""


def main(stop: StopRequest) -> int:
    """Draw."""
    options = parse(Options)
    for run_dir in options.run_dirs:
        folder = RunFolder(run_dir)
        draw_run(folder, options.which, data_dir=options.data_dir)
        print(f"drawn: {one_line(folder.figures)}/")
    return 0


if __name__ == "__main__":
    run(main)
