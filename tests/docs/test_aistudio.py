"""The pages' lines for AI Studio: packages go where a restart keeps them, and are found there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.docs.pages import commands

KEPT = "/home/aistudio/external-libraries"


@pytest.mark.parametrize("page", ["docs/aistudio.md", "docs/demo.md"])
def test_kept_packages_are_renewed_beside_the_environments_paddle(page: str) -> None:
    """`--upgrade`: without it pip leaves a folder of the target as it is. The Chinese page has the same commands."""
    [install] = [code for code in commands(page) if KEPT in code and code.startswith("pip install ")]
    names = [word for word in install.split() if word.startswith("requirements")]
    assert f" --upgrade -t {KEPT} " in install and '"numpy==$(python -c ' in install
    assert names[0] == "requirements-base.txt" and all((ROOT / name).is_file() for name in names)


@pytest.mark.parametrize("page", ["docs/demo.md", "docs/zh/demo.md"])
def test_the_gradio_file_starts_the_page_with_the_kept_packages(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```py\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, env, check: started.append((command, env["PYTHONPATH"])))
    exec(code, {})
    assert started == [([sys.executable, "demo.py", "--host", "0.0.0.0", "--allow-host", "*"], KEPT)]
