"""The options of the scripts as tables, taken from what `--help` prints, which is made of their settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from common.errors import UserError, one_line
from results.run_folder import REPOSITORY

SCRIPTS = ("train.py", "infer.py", "compare.py", "evaluate.py", "sweep.py", "demo.py")

HEADER = "| option | default | what it does |\n|---|---|---|"


def options_table(script: str) -> str:
    """One row per option of a script, in Markdown.

    Raises:
        UserError: the script does not print its help.
    """
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / script), "--help"],
        env={**os.environ, "COLUMNS": "2000"},  # wide enough that no line is broken for the screen's sake
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UserError(f"{script} --help: expected its options, got: {one_line(done.stderr)}")
    return "\n".join([HEADER, *(_row(*option) for option in _options(done.stdout))])


def _options(printed: str) -> list[tuple[str, str]]:
    """Invocation and help of each option: in the frame, an invocation begins a line, and help is indented."""
    found: list[tuple[str, str]] = []
    for line in re.findall(r"^│ (.*?) *│$", printed, re.MULTILINE):
        invocation, _, text = ("", "", line) if line.startswith(" ") else line.partition("  ")
        if invocation:
            found.append((invocation, text.strip()))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]} {text.strip()}".strip())
    return [(invocation, text) for invocation, text in found if not invocation.startswith("-h,")]


def _row(invocation: str, text: str) -> str:
    what, _, rest = text.partition(" (default: ")
    default = rest.removesuffix(")").replace(f"{REPOSITORY}/", "")
    default = {"": "–", "False": "off", "()": "–"}.get(default, default)
    choices = re.sub(r"\{(.*)\}", lambda found: found[1].replace(",", "|"), invocation)
    cells = (f"`{choices}`", default, what)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"  # chr(92): a backslash
