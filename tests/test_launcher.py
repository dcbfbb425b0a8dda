"""The launcher of the tests: nothing that a fork would lose; tests/scripts/test_train.py compares what it trains."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.launcher import ROOT, SHARED


def test_the_server_has_no_thread_that_a_fork_would_lose() -> None:
    look = "import os, sys\nassert 'paddle' in sys.modules\nprint(len(os.listdir(f'/proc/{os.getppid()}/task')))"
    result = SHARED.run(["-c", look])
    assert (result.returncode, result.stdout) == (0, b"1\n"), result.stderr


def test_an_environment_reaches_a_fork_unless_libraries_read_it_when_they_are_imported() -> None:
    other = {**os.environ, "CONV_POOL_ISA": "generic"}
    assert SHARED.can_run(other) and not SHARED.can_run({**other, "OMP_NUM_THREADS": "7"})
    look = "import os\nprint(os.environ['CONV_POOL_ISA'], 'PATH' in os.environ)"
    assert SHARED.run(["-c", look], environment=other).stdout == b"generic True\n"
    assert SHARED.run(["-c", look], environment={"CONV_POOL_ISA": "avx2", **_at_import()}).stdout == b"avx2 False\n"


def _at_import() -> dict[str, str]:
    """Of the environment what `can_run` compares."""
    return {name: value for name, value in os.environ.items() if not SHARED.can_run({**os.environ, name: f"{value}."})}


def test_a_copy_of_the_project_runs_its_own_modules(tmp_path: Path) -> None:
    for folder in ("common", "model"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "look.py").write_text("from common import project\nprint(project.__file__)\n")
    result = SHARED.run([str(tmp_path / "look.py")], tmp_path)
    assert (result.returncode, result.stdout.decode()) == (0, f"{tmp_path}/common/project.py\n"), result.stderr
