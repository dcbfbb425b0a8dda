"""`--config`: the settings of an earlier run, as arguments before those of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from common.checksummed import parse_object
from common.command_line import parse, to_stderr
from common.errors import UsageError, UserError, one_line
from common.files import read_file
from common.project import __version__
from results.run_folder import LARGEST_RECORD
from training.settings import Settings

# Settings that name where a run is and what to print, not how it is trained.
NOT_REPEATED = ("run_dir", "save_dir", "resume", "config", "profile", "summary")


def repeated(path: Path) -> list[str]:
    """Arguments that repeat the settings of a run, but for its folders; a note on stderr if its recipe has changed.

    Args:
        path: a run.json, or the folder of one; it need not carry its checksum, so that it can be edited.

    Raises:
        UserError: it is no run.json, or has a setting that this release does not have.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        record = parse_object(read_file(file, LARGEST_RECORD))
    except ValueError as error:
        raise UserError(f"--config {file}: expected a run.json, got: {one_line(error, 120)}") from error
    given = record.get("settings")
    if not isinstance(given, dict):
        raise UserError(f"--config {file}: expected a run.json, which has an object settings, got none")
    release = one_line(record.get("version"), 20)
    if unknown := sorted(set(given) - {field.name for field in fields(Settings)}):
        raise UserError(
            f"--config {file}: made by release {release}: its setting {one_line(unknown[0], 60)} is none of this, "
            f"{__version__}"
        )
    try:
        arguments = _arguments(given)
        own = parse(Settings, arguments, where=f"--config {file}: ")
    except UsageError as error:
        raise UsageError(f"--config {file}: {error}") from error
    if changed := _changed(record.get("recipe"), own):
        to_stderr(f"note: --config {file}: made by release {release}, whose recipe had {changed}")
    return arguments


def _arguments(settings: Mapping[str, Any]) -> list[str]:
    arguments: list[str] = []
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if name in NOT_REPEATED or value is None or value is False or value == []:
            continue
        if value is True:
            arguments.append(option)
        elif isinstance(value, list):
            if options := [each for each in value if str(each).startswith("-")]:  # would be taken for other settings
                raise UsageError(f"{option}: expected values, got {one_line(options[0], 60)}")
            arguments += [option, *map(str, value)]
        else:
            arguments.append(f"{option}={value}")
    return arguments


def _changed(recorded: object, now: Settings) -> str:
    """The parts of a recorded recipe that this release resolves otherwise, in words."""
    if not isinstance(recorded, dict):
        return ""
    resolved = json.loads(json.dumps(asdict(now.resolved_recipe())))
    differing = {name: value for name, value in recorded.items() if resolved.get(name, value) != value}
    return one_line(", ".join(f"{name} {json.dumps(value)}" for name, value in differing.items()), 300)
