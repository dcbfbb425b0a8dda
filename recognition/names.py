"""Names of pictures to read: in a list, one a line, and in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.errors import UserError, one_line

STANDARD_INPUT = "-"
LONGEST_NAME = 4096  # characters of a listed name; Linux opens no longer path


def listed(file: Path) -> Iterator[str]:
    """Names of pictures and folders in a file or pipe, one a line; empty lines are skipped.

    Raises:
        OSError: the file cannot be read.
        UserError: a line is longer than any name, as in a file that is no list.
    """
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as text:
        for number, line in enumerate(iter(lambda: text.readline(LONGEST_NAME + 2), ""), start=1):
            name = line.rstrip("\n")
            if len(name) > LONGEST_NAME:
                raise UserError(
                    f"{one_line(file)} line {number}: expected a name of at most {LONGEST_NAME} characters, got a "
                    "longer line; is this a list of pictures?"
                )
            if name.strip():
                yield name


def find_pictures(arguments: Iterable[str]) -> Iterator[str]:
    """Files as they are named, and every file under each folder, in order of name; hidden ones are skipped.

    Links are followed, and each folder is read once, whichever way leads to it. A folder that cannot be listed is
    yielded itself, so that reading it reports why.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT or not os.path.isdir(argument):  # noqa: PTH112  (a name may be no valid Path)
            yield argument
            continue
        yield from _files_under(argument)


def _files_under(top: str) -> Iterator[str]:
    """Files under a folder; a list instead of recursion, which ends at a depth of a thousand folders."""
    folders, seen = [top], set[tuple[int, int]]()
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                paths = sorted(entry.path for entry in entries if not entry.name.startswith("."))
        except OSError:
            yield folder
            continue
        inner = {path for path in paths if os.path.isdir(path)}  # noqa: PTH112
        yield from (path for path in paths if path not in inner)
        folders += sorted(inner, reverse=True)
