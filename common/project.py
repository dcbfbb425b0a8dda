"""The project itself: its folder, its version, where its model lies."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.2.0"

FOLDER = Path(__file__).resolve().parent.parent


def model_folder() -> Path:
    """The folder that train.py publishes to, and that infer.py and demo.py read: inference_model/ beside the scripts.

    The released model lies in its folder `released`, and answers as long as there is no other.

    Relative to the current folder if that is the project's, so that messages and records stay short.
    """
    path = FOLDER / "inference_model"
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, FileNotFoundError):  # elsewhere, or in a folder that is gone
        return path
