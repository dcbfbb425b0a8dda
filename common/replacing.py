"""Files that a script may replace: those that it wrote itself, known by a mark in them."""

from __future__ import annotations

import os
from pathlib import Path

from common.files import open_file

SEARCHED = 1 << 27  # bytes in which the mark is looked for; a report has a few megabytes


def may_be_replaced(path: Path, *marks: bytes) -> bool:
    """True if nothing has the name `path`, or a file with one of `marks` in it; a link is never replaced."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink():
        return False
    try:
        with open_file(path) as file:
            data = file.read(SEARCHED)
    except OSError:
        return False
    return any(mark in data for mark in marks)
