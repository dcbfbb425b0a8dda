"""The scripts on a real terminal of 80 columns: no line is wrapped by it, and no word stands alone."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import shutil
import struct
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from rich.cells import cell_len

from tests.conftest import MODEL, ROOT
from tests.launcher import SHARED

COLUMNS = 80
CHINESE = "第一次训练的结果放在这个名称很长的文件夹里_学习率零点零零二"  # two cells a character
LONG = "a_folder_with_a_long_name/and_another_one/第一次训练_学习率0.001_seed2"


class Terminal:
    """A terminal, and the scripts that write to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, *command: object) -> list[str]:
        """The lines that a script leaves on the terminal, those of a progress bar too, without colours."""
        controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        shown: list[bytes] = []
        reading = threading.Thread(target=_read, args=(controller, shown))
        reading.start()
        words = list(map(str, command))
        own = words if words[0] == "-m" else [str(ROOT / words[0]), *words[1:]]
        SHARED.run(own, self.folder, terminal=os.ttyname(terminal))
        os.close(terminal)
        reading.join(10)
        os.close(controller)
        text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(shown).decode())
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\r", text)
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def _read(controller: int, shown: list[bytes]) -> None:
    with suppress(OSError):  # Linux's way to report that the terminal's other end is closed
        while piece := os.read(controller, 4096):
            shown.append(piece)


@pytest.fixture(scope="module")
def terminal(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """In a folder with runs of two networks, some of long names, one of another setting, and pictures of long names."""
    folder = tmp_path_factory.mktemp("terminal")
    for name in ("first", LONG.replace("/", "_"), CHINESE):
        shutil.copytree(small_run / "run", folder / "runs" / name)
    record = folder / "runs" / CHINESE / "run.json"
    record.write_text(re.sub(r'("learning_rate": )0\.001', r"\g<1>0.002", record.read_text()))
    shutil.copytree(small_run / "run", folder / "sweep" / "runs" / "conv_pool_bn-published-seed1")
    (folder / LONG).mkdir(parents=True)
    sample = ROOT / "docs" / "samples" / "seven_on_squared_paper.png"
    shutil.copy(sample, folder / LONG / "seven.png")
    shutil.copy(ROOT / "docs" / "pictures" / "number.png", folder / LONG / "several.png")
    (folder / "own.html").write_text("a page of the user's")
    Image.effect_noise((64, 64), 200).save(folder / LONG / "noise.png")
    return Terminal(folder)


HELPS = ("train.py", "infer.py", "compare.py", "evaluate.py", "sweep.py", "demo.py")
COMMANDS = [
    "train.py --data DATA --validation-size 560 --passes 2 --figures none --save-dir models/mine",
    "train.py --data DATA --validation-size 560 --passes 1 --figures none --live --save-dir models/mine",
    f"train.py --config {LONG}/run.json",
    f"train.py --data DATA --batch-size 99999 --init-from {LONG}",
    "train.py --passes many",
    "compare.py",
    "compare.py --best --verdict",
    "compare.py --best --limit 1 --sort test_accuracy",
    "compare.py --passes 1 2 --verdict",
    f"compare.py runs/{CHINESE} --passes 1 2 --verdict",
    "compare.py --fail-under 100",
    "compare.py --fail-under 101",
    "compare.py --sort score",
    "compare.py --verdict --sort test_accuracy",
    f"compare.py --html {LONG}/report.txt",
    f"compare.py --html {LONG}/none/report.html",
    f"compare.py --plot {LONG}/curves.gif",
    f"compare.py --plot {LONG}/several.png",
    "compare.py --html own.html",
    "compare.py --group",
    f"compare.py runs {LONG}",
    f"infer.py {LONG} --model-dir MODEL",
    f"infer.py {LONG} --model-dir MODEL --top-k 10",
    f"infer.py --lines {LONG} --model-dir MODEL",
    f"infer.py {LONG}/seven.png {LONG}/none.png --model-dir runs/first",
    "evaluate.py runs/first runs/first/inference_model --data DATA",
    "sweep.py sweep -- --passes 3",
    *(f"{script} --help" for script in HELPS),
    "-m training.export --help",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wrapped_and_no_word_stands_alone(command: str, terminal: Terminal, small_data: Path) -> None:
    named = command.replace("DATA", str(small_data)).replace("MODEL", str(MODEL))
    lines = terminal.lines(*named.split())
    assert lines and not [line for line in lines if "Traceback" in line]
    assert [line for line in lines if cell_len(line) > COLUMNS and not _has_a_wider_word(line)] == []
    alone = [line for before, line in itertools.pairwise(lines) if _is_left_alone(before, line)]
    assert alone == []


def _has_a_wider_word(line: str) -> bool:
    """True for a path that no terminal of this width holds, and no more than one line beside it."""
    widest = max(map(cell_len, line.split()))
    return widest > COLUMNS and cell_len(line) < widest + COLUMNS


def _is_left_alone(before: str, line: str) -> bool:
    """True for one short word below words that begin in its column and leave room for it."""
    above, own = ((each[1:-1] if each.startswith("│") else each).rstrip() for each in (before, line))
    indentation = len(own) - len(own.lstrip())
    room = COLUMNS - (4 if line.startswith("│") else 0) - len(above)
    begins = above[indentation - 1 : indentation].strip() == "" and above[indentation : indentation + 1].strip() != ""
    alone = re.fullmatch(r"[\w,.:;)%]{1,15}", own.strip()) is not None
    return alone and begins and above.count(" ") > 3 and room > len(own.strip())
