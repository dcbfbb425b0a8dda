"""The same run or another one: what is compared with run.json before a run continues, and the options that may change.

The bits are the same, given the same settings, data, versions, processor, backend and threads (docs/reliability.md).
Other settings or data are refused, backend and threads are restored, and any other difference is reported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.errors import UsageError, UserError, one_line
from common.files import sha256
from results.run_folder import ARITHMETIC, RunFolder
from training.settings import Settings, from_json

Record = Mapping[str, Any]
# Settings that may differ when a run goes on; all others make it the run that it is.
CHANGEABLE = ("resume", "passes", "device", "data_dir", "save_dir", "export", "figures", "live", "log_to", "timeout")


def resumed(run_dir: Path, parse: Callable[[Settings], Settings]) -> tuple[Settings, RunFolder]:
    """The settings with which a run goes on: its own, and over them what may be changed and was given.

    Args:
        run_dir: the run's folder.
        parse: reads the command line again, over these settings instead of the defaults.

    Raises:
        UserError: no run is there, or its record is damaged.
        UsageError: an option was given that would make another run of it.
    """
    record = RunFolder(run_dir).read_record(whole=True)
    folder = RunFolder(run_dir, one_line(record.get("run") or ""))
    try:
        own = from_json(record["settings"])
    except (TypeError, ValueError, KeyError, AttributeError, UsageError) as error:
        raise UserError(f"{folder.record}: settings that this release does not have: {one_line(error, 160)}") from error
    settings = parse(own)
    for field in fields(Settings):
        if field.name not in CHANGEABLE and getattr(settings, field.name) != getattr(own, field.name):
            option = f"--{field.name.replace('_', '-')}"
            has = getattr(own, field.name)
            raise UsageError(
                f"{option}: the run in {run_dir} has {'the default' if has is None else has}, and goes on with its own "
                f"settings; only {', '.join('--' + name.replace('_', '-') for name in CHANGEABLE[1:])} may change"
            )
    return settings, folder


def what_was_finished(folder: RunFolder, passes: int | None) -> str:
    """One line about a run that has done all of its `passes` and published its model; empty if it has not."""
    outcome = _part(folder.read_record(whole=True), "outcome")
    if not isinstance(outcome.get("of"), int) or (passes or 0) > outcome["of"]:
        return ""
    done, best, correct, total, where = (
        one_line(outcome.get(name)) for name in ("passes", "best_pass", "test_correct", "test_total", "published")
    )
    return (
        f"{folder.path}: this run is finished: {done} passes, best pass {best} with {correct}/{total}, "
        f"published to {where}; more --passes go on"
    )


def restore_arithmetic(folder: RunFolder) -> None:
    """Restore the thread counts that the run began with; it must come before Paddle is imported."""
    recorded = _part(folder.read_record(whole=True), "environment", "arithmetic")
    for name in ARITHMETIC:
        os.environ.pop(name, None)
        if name in recorded and str(recorded[name]).isprintable():
            os.environ[name] = str(recorded[name])


def expect_same_run(folder: RunFolder, recorded: Record, now: Record) -> None:
    """Make sure that `now`, the record of a process, is that of the run whose record is `recorded`.

    Raises:
        UserError: other data, or a recipe that this release resolves otherwise.
    """
    if _part(recorded, "data", "sha256") != now["data"]["sha256"]:
        raise UserError(
            f"{now['data']['source']}: expected the data of the run in {folder.path} (run.json has their SHA-256), "
            "got other data; name their folder with --data-dir"
        )
    was, is_now = recorded.get("recipe"), json.loads(json.dumps(now["recipe"]))
    if not isinstance(was, dict) or {**was, "passes": 0} != {**is_now, "passes": 0}:
        raise UserError(
            f"{folder.record}: this release has another recipe for these settings than the one that began the run; "
            f"continue with that one (commit {one_line(_part(recorded, 'environment').get('commit'), 50)})"
        )


def run_id(name: str, settings: Record, sums: Record) -> str:
    """Which run this is, for its checkpoints: the same for the same name, settings that may not change, and data."""
    lasting = {name: value for name, value in settings.items() if name not in (*CHANGEABLE, "run_dir")}
    return sha256(json.dumps([name, lasting, sums], sort_keys=True).encode())


def differences(recorded: Record, now: Record) -> Iterator[str]:
    """One line for each thing on which the bits of a result depend and that is not as it was when the run began."""
    for where in (
        ("device",),
        ("kernel",),
        ("environment", "arithmetic"),
        ("environment", "packages"),
        ("environment", "machine", "processor"),
        ("environment", "commit"),
    ):
        was, is_now = (_part(record, *where[:-1]).get(where[-1]) for record in (recorded, now))
        if was != is_now:
            yield (
                f"{where[-1]}: the run began with {one_line(was, 200)} and goes on with {one_line(is_now, 200)}: "
                "the numbers may differ from those of an uninterrupted run"
            )


def continued(recorded: Record, now: Record, differing: list[str]) -> dict[str, Any]:
    """The record with which a run goes on: as it began, with what may change as it is now, and what differs noted."""
    before = recorded["resumed"] if isinstance(recorded.get("resumed"), list) else []
    changed = {"settings": now["settings"], "recipe": now["recipe"], "resumed": [*before, *differing]}
    return {name: value for name, value in recorded.items() if name != "outcome"} | changed


def _part(record: Record, *names: str) -> Record:
    """An object within a record; empty if there is none."""
    for name in names:
        value = record.get(name)
        record = value if isinstance(value, dict) else {}
    return record
