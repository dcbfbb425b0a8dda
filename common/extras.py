"""Packages that only some options need (requirements-extras.txt)."""

from __future__ import annotations

import importlib
from types import ModuleType

from common.errors import UsageError


def extra(module: str, package: str, option: str) -> ModuleType:
    """Import what an option needs.

    Args:
        module: name to import.
        package: what pip calls it, with its version.
        option: for the message.

    Raises:
        UsageError: it is not installed; the message is the command that does it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and lacks something itself
        raise UsageError(f'{option}: the package {module} is not installed: pip install "{package}"') from error
