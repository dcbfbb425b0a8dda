"""The order in which a run writes, syncs and renames: a power cut, unlike a kill, loses what was not synced.

faults.c logs the calls. Whatever gets its lasting name by a rename must be on disk before, and the name right after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

TEMPORARY = re.compile(r"\.(new|old)\.tmp-")


@dataclass
class Order:
    """What a power cut would lose at some point in a log of calls.

    Attributes:
        files: with bytes that are not synced.
        folders: with names that are not synced.
        renames: to lasting names, how many there were.
        wrong: one line for each thing that was renamed or left before it was synced.
    """

    files: set[Path] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)
    renames: int = 0
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, log: Path) -> Order:
        """Read the log of a whole run."""
        order, to_sync = cls(), None
        for line in log.read_text().splitlines():
            call, path, to = line.split("\t")
            if to_sync and call not in ("rename", "exchange"):
                if (call, Path(path)) != ("fsync", to_sync):
                    order.wrong.append(f"{to_sync} was not synced right after a rename in it")
                to_sync = None
            if to and not TEMPORARY.search(Path(to).name):
                order._expect_synced(Path(path), Path(to))
                to_sync = Path(to).parent
            order._follow(call, Path(path), Path(to))
        order.wrong += [f"{path} was not synced in the end" for path in (*order.files, *order.folders)]
        return order

    def _expect_synced(self, path: Path, to: Path) -> None:
        self.renames += 1
        lost = [each for each in (*self.files, *self.folders) if each.is_relative_to(path)]
        if to.parent.name == "checkpoints":  # which knows the rows of steps.csv
            lost += self.files & {to.parent.parent / "steps.csv"}
        self.wrong += [f"{each} was not synced before {to} got its name" for each in lost]

    def _follow(self, call: str, path: Path, to: Path) -> None:
        if call == "fsync":
            self.files.discard(path)
            self.folders.discard(path)
        elif call == "write":
            if path.name != "lock":
                self.files.add(path)
        elif call == "create":
            self.folders.add(path.parent)
        elif not TEMPORARY.search(to.name):  # else it is on its way out
            self.folders |= {path.parent, to.parent}
