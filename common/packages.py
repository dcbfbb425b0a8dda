"""The packages that the scripts need: one line with the command to install them, in place of a traceback.

It imports and uses nothing that an old Python lacks: an old Python is reported here too.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)
FIRST = ("tyro", "rich", "numpy")  # imports of each script before it can report anything


def expect_packages() -> None:
    """Leave with status 1 and one line if this is not a Python that can run the scripts."""
    missing = [name for name in FIRST if find_spec(name) is None]
    if sys.version_info < OLDEST:
        leave("is Python {}.{}, expected 3.10 to 3.13".format(*sys.version_info[:2]))
    if missing:
        leave_without(missing[0])


def leave_without(package: str) -> NoReturn:
    """Leave with status 1 and one line: a package is not installed."""
    leave(f"has no package {package}")


def leave(problem: str) -> NoReturn:
    """Print the problem of this Python and the one to take instead, and leave with status 1."""
    run = f"{_short(ROOT / '.venv/bin/python')} {Path(sys.argv[0]).name}"
    install = "pip install -r requirements-cpu.txt (requirements.txt for an NVIDIA GPU)"
    print(f"error: {sys.executable} {problem}: run {run} (make venv sets .venv up), or {install}", file=sys.stderr)
    sys.exit(1)


def is_ours(module: str) -> bool:
    """True for a module of the project itself, which no package manager has."""
    top = module.partition(".")[0]
    return (ROOT / top).is_dir() or (ROOT / f"{top}.py").is_file()


def _short(python: Path) -> Path:
    """The path from the current folder, if it is in there."""
    try:
        return python.relative_to(Path.cwd())
    except (ValueError, OSError):
        return python
