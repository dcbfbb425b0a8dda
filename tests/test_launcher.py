"""The launcher of the tests: nothing that a fork would lose, and the results of a fresh process."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import ROOT, Script
from tests.launcher import Launcher


def test_the_server_has_no_thread_that_a_fork_would_lose(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(
        "import os, sys\nassert 'paddle' in sys.modules\nprint(len(os.listdir(f'/proc/{os.getppid()}/task')))\n"
    )
    launcher = Launcher(ROOT)  # one of its own: that of `script` serves only the environment that it started in
    try:
        result = launcher.run([str(tmp_path / "look.py")])
        assert launcher.can_run({**os.environ, "PYTEST_CURRENT_TEST": "the next test (call)"})
        assert not launcher.can_run({**os.environ, "CONV_POOL_ISA": "generic"})
    finally:
        launcher.close()
    assert (result.returncode, result.stdout) == (0, b"1\n"), result.stderr


def test_a_forked_run_is_bit_for_bit_that_of_a_fresh_process(
    small_run: Path, small_data: Path, script: Script, tmp_path: Path
) -> None:
    result = script(
        "train.py",
        *("--data-dir", small_data, "--validation-size", 560, "--passes", 3, "--log-every", 1),
        *("--run-dir", tmp_path / "run", "--save-dir", tmp_path / "model", "--figures", "none"),
    )
    assert result.returncode == 0, result.stderr
    weights = Path("model", "inference.pdiparams")
    assert (tmp_path / weights).read_bytes() == (small_run / weights).read_bytes()
