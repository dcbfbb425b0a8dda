"""The PaddleJob of docs/scaling.md: whole YAML, and a start command that begins a run, and later resumes it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from common.command_line import parse
from tests.conftest import ROOT
from training.settings import Settings

PAGES = ("docs/scaling.md", "docs/zh/scaling.md")


def job(page: str) -> dict[str, Any]:
    [block] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def container(page: str) -> dict[str, Any]:
    return job(page)["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]


def test_both_languages_have_the_same_job() -> None:
    first, second = map(job, PAGES)
    assert first == second and first["kind"] == "PaddleJob"


@pytest.mark.parametrize("begun", [False, True])
def test_its_command_begins_a_run_or_resumes_it(begun: bool, tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "python").chmod(0o755)
    if begun:
        (tmp_path / "runs" / "job").mkdir(parents=True)
        (tmp_path / "runs" / "job" / "run.json").touch()
    command = [*container(PAGES[0])["command"], *container(PAGES[0])["args"]]
    path = f"{tmp_path}:{os.environ['PATH']}"
    printed = subprocess.run(command, cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=True)
    words = shlex.split(printed.stdout)
    assert words[:2] == ["-m", "paddle.distributed.launch"]
    settings = parse(Settings, words[words.index("train.py") + 1 :])
    assert (settings.resume, settings.run_dir)[not begun] == Path("runs/job") and settings.shards in (1, 8)
