"""A large job: the answers for many pictures in one file, computed in parts by any number of processes.

The first process lists the pictures once, into FILE.parts/. Part k, of `PART` pictures, belongs to process k mod N and
appears there whole, by a rename; a part that is there is not computed again. So a job that was cut off goes on when it
is started anew, with any number of processes. Whoever finds all parts there joins them into FILE.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.checksummed import parse_object
from common.errors import UsageError, UserError, one_line
from common.files import new_folder, open_file, open_own, read_file, remove_folder, remove_leftovers, write_file

PART = 1024  # pictures
LONGEST_LISTING = 600.0  # seconds that the other processes wait for the first
LARGEST_RECORD = 1 << 26  # bytes of job.json, which holds the command's arguments
LIST, RECORD, LOCK = "pictures", "job.json", "lock"


class Job:
    """The parts of one output file, as process `rank` of `size` sees them.

    Attributes:
        pictures: number of all, once the job has begun.
    """

    def __init__(self, output: Path, rank: int = 0, size: int = 1) -> None:
        self.output, self.rank, self.size = output, rank, size
        self._folder = Path(f"{output}.parts")
        self.pictures = 0

    def begin(self, what: Mapping[str, Any], pictures: Iterable[str]) -> bool:
        """List the pictures, or go on with the list that is there; False if another process has finished the job.

        Args:
            what: everything that the answers depend on, for JSON; a job that goes on must have the same.
            pictures: names, listed by the first process alone.

        Raises:
            UsageError: the output exists already, or the parts are those of another job, or lie behind a link.
            UserError: there are no pictures, or the first process does not list them, or their list is damaged.
            OSError: the folder for the parts holds other things.
        """
        record = self._folder / RECORD
        if self._folder.is_symlink():
            raise UsageError(
                f"{one_line(self._folder)}: a symbolic link, through which nothing is written; move it away"
            )
        what = json.loads(json.dumps({**what, "part": PART}, default=str))
        if not record.exists() and os.path.lexists(self.output):
            if self.rank:
                return False
            raise self._taken()
        if self.rank == 0 and not record.exists():
            self._list(what, pictures)
        begun = time.monotonic()
        while not record.exists():
            if os.path.lexists(self.output):
                return False
            if time.monotonic() - begun > LONGEST_LISTING:
                raise UserError(f"{record}: process 0 did not list the pictures within {LONGEST_LISTING:g} s")
            time.sleep(0.1)
        try:
            found = parse_object(read_file(record, LARGEST_RECORD))
        except ValueError as error:
            raise UserError(f"{one_line(record)}: expected the record of a job, got: {one_line(error, 120)}") from error
        self.pictures = found.get("pictures", -1)
        job = found.get("job")
        if job != what or type(self.pictures) is not int or self.pictures < 0:
            other = [name for name, value in what.items() if isinstance(job, dict) and job.get(name) != value]
            which = f" (other {', '.join(other)})" if other else ""
            raise UsageError(
                f"{one_line(self._folder)}: expected the parts of this job, found those of another{which}; remove the "
                "folder, or name another --output"
            )
        if not self.pictures:
            self._remove()
            raise UserError("expected pictures, found none")
        if os.path.lexists(self.output) and not self._has_all:  # else it is ours, of a process that was killed then
            if record.exists():
                raise self._taken()
            return False  # another process has joined the parts just now
        return True

    def _taken(self) -> UsageError:
        return UsageError(f"--output {one_line(self.output)}: it exists; remove it, or name another file")

    def _list(self, what: Mapping[str, Any], pictures: Iterable[str]) -> None:
        """Make the folder with the list of all pictures and the record of the job, in one step."""
        listed = itertools.count()  # one by one: there may be millions
        try:
            with new_folder(self._folder, ()) as new, (new / LIST).open("wb") as file:
                file.writelines(json.dumps(name).encode() + b"\n" for name, _ in zip(pictures, listed, strict=False))
                (new / RECORD).write_text(json.dumps({"job": what, "pictures": next(listed)}))
        except OSError:
            if not (self._folder / RECORD).exists():  # else the same command, started twice, has listed them meanwhile
                raise

    def missing(self) -> Iterator[tuple[int, list[str]]]:
        """Number and pictures of each part that is this process's and not there yet.

        Raises:
            UserError: the list of pictures is damaged.
        """
        with open_file(self._folder / LIST) as names:
            for part in range(self._parts):
                lines = list(itertools.islice(names, PART))
                if part % self.size == self.rank and not self._path(part).exists():
                    yield part, self._pictures_of(part, lines)

    def _pictures_of(self, part: int, lines: Sequence[bytes]) -> list[str]:
        try:
            names = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            names = []
        if len(names) != min(PART, self.pictures - part * PART) or not all(isinstance(name, str) for name in names):
            raise UserError(
                f"{one_line(self._folder / LIST)}: damaged; remove {one_line(self._folder)}, and begin anew"
            )
        return names

    def keep(self, part: int, lines: Iterable[str]) -> None:
        """Write the answers of a part, a line or more a picture."""
        write_file(self._path(part), "".join(f"{line}\n" for line in lines).encode())

    def finish(self, header: str) -> bool:
        """Join the parts if all are there; True if the output is complete, by this process or another."""
        try:
            lock = open_own(self._folder / LOCK)
        except FileNotFoundError:
            return self.output.exists()
        with os.fdopen(lock, "r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not self._folder.is_dir():
                return self.output.exists()
            if not self._has_all:
                return False
            write_file(self.output, self._joined(header))
            self._remove()
        return True

    def _joined(self, header: str) -> Iterator[bytes]:
        yield f"{header}\n".encode() if header else b""
        for part in range(self._parts):
            with open_file(self._path(part)) as file:
                yield file.read()

    def _remove(self) -> None:
        remove_leftovers(self._folder)  # of killed processes
        remove_folder(self._folder, [LIST, RECORD, LOCK, *(self._path(part).name for part in range(self._parts))])

    @property
    def _has_all(self) -> bool:
        return all(self._path(part).exists() for part in range(self._parts))

    @property
    def _parts(self) -> int:
        return math.ceil(self.pictures / PART)

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:06d}"
