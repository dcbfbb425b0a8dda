"""infer.py from a cold start: its seconds beside those of `import paddle` alone, and its memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.commands import POLL_SECONDS
from benchmarks.suite import CompetitorError, environment, peak_bytes
from common.errors import one_line
from common.processes import children
from common.project import FOLDER


def write_pictures(images: np.ndarray, folder: Path, count: int) -> Path:
    """A new folder of `count` PNG files: images [N, H, W] uint8, over and over."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(images[number % len(images)]).save(folder / f"{number:05d}.png")
    return folder


def starts(picture: Path, rounds: int) -> list[dict[str, float]]:
    """Seconds of infer.py on a picture and of `import paddle`, in turn; before them both once, unmeasured."""
    commands = {"infer": ["infer.py", str(picture)], "paddle": ["-c", "import paddle"]}
    found = []
    for number in range(rounds + 1):
        order = sorted(commands, reverse=bool(number % 2))
        seconds = {name: _seconds(commands[name]) for name in order}
        found.append(seconds)
    return found[1:]


def memory(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Peak memory and seconds of infer.py on each folder of pictures."""
    found = []
    for folder in folders:
        begun = time.perf_counter()
        peak = infer_peak_bytes(folder)
        seconds = time.perf_counter() - begun
        found.append({"pictures": len(list(folder.iterdir())), "peak_bytes": peak, "seconds": seconds})
    return found


def infer_peak_bytes(folder: Path) -> int:
    """The largest memories (VmHWM, read every 50 ms) of infer.py and of the processes that it starts, added up."""
    process = _start(["infer.py", str(folder)])
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for member in _family(process.pid):
            if member != process.pid and _command(member) == _command(process.pid):
                continue  # a child that is yet to become another program, and shares its parent's memory till then
            peaks[member] = max(peaks.get(member, 0), peak_bytes(member))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
    _expect_success(process)
    return sum(peaks.values())


def _family(process: int) -> Iterator[int]:
    """A process and its descendants."""
    yield process
    for child in children(process):
        yield from _family(child)


def _command(process: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _seconds(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    process = _start(command)
    process.wait()
    seconds = time.perf_counter() - begun
    _expect_success(process)
    return seconds


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    whole = [sys.executable, *command]
    return subprocess.Popen(whole, cwd=FOLDER, env=environment({}), stdout=subprocess.DEVNULL, text=True)


def _expect_success(process: subprocess.Popen[str]) -> None:
    if process.returncode:
        raise CompetitorError(f"{one_line(process.args, 200)}: status {process.returncode}; its message is above")
