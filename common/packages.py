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
KEPT = Path("/home/aistudio/external-libraries")  # packages that AI Studio keeps over a restart (docs/aistudio.md)


def expect_packages() -> None:
    """Leave with status 1 and one line if this is not a Python that can run the scripts."""
    missing = [name for name in FIRST if find_spec(name) is None]
    if sys.version_info < OLDEST:
        _leave("is Python {}.{}, expected 3.10 to 3.13".format(*sys.version_info[:2]), ["one of these"])
    if missing:
        leave_without(missing[0])


def leave_without(package: str) -> NoReturn:
    """Leave with status 1 and one line: a package is not installed.

    An installed Paddle is kept: the CPU package over the GPU one, or the reverse, would ruin it.
    """
    from importlib.metadata import distributions  # an old Python has left before

    has_paddle = any((each.metadata["Name"] or "").startswith("paddlepaddle") for each in distributions())
    which = "-base.txt" if has_paddle else "-cpu.txt (requirements.txt for an NVIDIA GPU)"
    is_hidden = KEPT.is_dir() and str(KEPT) not in sys.path
    first = [f"export PYTHONPATH={KEPT} and this again"] if is_hidden else []
    _leave(f"has no package {package}", [*first, f"pip install -r requirements{which}"])


def _leave(problem: str, remedies: list[str]) -> NoReturn:
    """Print the problem of this Python and what to run instead, and leave with status 1."""
    python = ROOT / ".venv/bin/python"
    if python.is_file():
        remedies.insert(-1, f"{_short(python)} {Path(sys.argv[0]).name} (make venv sets .venv up)")
    print(f"error: {sys.executable} {problem}: run {', or '.join(remedies)}", file=sys.stderr)
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
