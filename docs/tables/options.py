"""The options of the scripts as tables, taken from what `--help` prints, which is made of their settings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, one_line
from common.project import FOLDER

SCRIPTS = ("train.py", "infer.py", "compare.py", "evaluate.py", "sweep.py", "demo.py")

CHINESE: Mapping[str, Any] = json.loads(Path(__file__).with_name("options.zh.json").read_text(encoding="utf-8"))
HEADER = ("option", "default", "what it does")


def options_table(script: str, chinese: bool = False) -> str:
    """One row per option of a script, in Markdown; in Chinese, what options.zh.json lacks stays English.

    Raises:
        UserError: the script does not print its help.
    """
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), "--help"],
        env={**os.environ, "COLUMNS": "2000"},  # wide enough that no line is broken for the screen's sake
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UserError(f"{script} --help: expected its options, got: {one_line(done.stderr)}")
    rows = [_cells(*option) for option in _options(done.stdout)]
    if chinese:
        words, defaults = CHINESE[script], CHINESE["defaults"]
        rows = [(name, defaults.get(default, default), words.get(key(name), what)) for name, default, what in rows]
    header = [CHINESE["headers"][word] for word in HEADER] if chinese else HEADER
    return "\n".join([_row(header), "|---|---|---|", *(_row((f"`{name}`", *rest)) for name, *rest in rows)])


def key(invocation: str) -> str:
    """Name of an option in options.zh.json: its own, without aliases; of others, the invocation."""
    return next(iter(re.findall(r"--[\w-]+", invocation)), invocation)


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


def _cells(invocation: str, text: str) -> tuple[str, str, str]:
    what, _, rest = text.partition(" (default: ")
    default = rest.removesuffix(")").replace(f"{FOLDER}/", "")
    default = {"": "–", "False": "off", "()": "–"}.get(default, default)
    return re.sub(r"\{(.*)\}", lambda found: found[1].replace(",", "|"), invocation), default, what


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"  # chr(92): a backslash
