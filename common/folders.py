"""Folders that a start makes on its way, and removes if it fails."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def missing_parents(path: Path) -> list[Path]:
    """Parents of a path that are no folders yet, the nearest first; for `remove_empty`."""
    return [folder for folder in path.parents if not folder.is_dir()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of the folders, nested ones first, that are there and empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
