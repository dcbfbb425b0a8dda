"""Measure, and write a report: a page, its numbers as JSON, and a plot.

make bench                                     # everything, beside the peers; below twenty minutes
make bench ARGS=--quick                        # does it all work? in short turns, figures of no worth
python -m benchmarks --only training commands  # without the peers, two parts
python -m benchmarks.report docs/benchmarks.json   # the page and the plot anew
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import arg

from benchmarks import cold
from benchmarks.commands import Command, torch_script, train_py, write_data
from benchmarks.report import write_report
from benchmarks.suite import CompetitorError, Suite, compete
from benchmarks.suites import QUICK, SUITES
from common.command_line import parse, run
from common.errors import UsageError
from common.files import write_file
from common.signals import StopRequest
from data.dataset import Mnist, load_mnist
from model.image import network_input
from model.networks import NETWORKS
from results.run_folder import environment


@dataclass(frozen=True)
class Settings:
    """Measure the project's speed beside its peers."""

    quick: bool = False
    """Only see that everything works."""
    peers: Annotated[Path | None, arg(metavar="PYTHON", help_behavior_hint="")] = None
    """Python of the peers' environment; without it the project runs alone."""
    only: Annotated[tuple[str, ...], arg(metavar="PART ...", help_behavior_hint="")] = ()
    """Parts: matmul, training, threads, batches, networks, inference, evaluation, commands, images, cold; else all."""
    out: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for benchmarks.md, .json and .png; otherwise docs, for a quick run or some parts build."""
    data_dir: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder with MNIST; otherwise it is looked for, and fetched."""
    passes: int = 2
    """Passes from the command to the saved model."""

    def __post_init__(self) -> None:
        parts = {*(suite.name.split("/")[0] for suite in SUITES), "commands", "images", "cold"}
        if unknown := set(self.only) - parts:
            raise UsageError(f"--only {' '.join(sorted(unknown))}: expected some of {', '.join(sorted(parts))}")
        if self.peers and not self.peers.exists():
            raise UsageError(f"--peers {self.peers}: expected a Python; make bench sets one up in .venv-bench")

    def wants(self, part: str) -> bool:
        """True if a part was asked for."""
        return not self.only or part.split("/")[0] in self.only


def main(stop: StopRequest) -> int:
    """Parse, measure, write."""
    settings = parse(Settings)
    out = settings.out or Path("build" if settings.quick or settings.only else "docs")
    data = load_mnist(settings.data_dir)
    begun = time.monotonic()
    record: dict[str, Any] = {"environment": environment(), "processor": _processor(), "load": os.getloadavg()}
    record |= {"contests": [], "problems": []}
    with tempfile.TemporaryDirectory(prefix="lenet5-bench-") as folder:
        for suite in QUICK if settings.quick else SUITES:
            if settings.wants(suite.name):
                with _part(suite.title, begun, record):
                    _hold(suite, settings.peers, data, Path(folder), record)
        if settings.wants("commands"):
            with _part("From the command to the saved model", begun, record):
                record["commands"] = _commands(settings, data, Path(folder))
        if settings.wants("images"):
            with _part("Cost against the number of images", begun, record):
                record["images"] = _images(settings, data, Path(folder))
        if settings.wants("cold"):
            with _part("Cold start and memory of infer.py", begun, record):
                record |= _cold(settings, data, Path(folder))
    record["minutes"] = round((time.monotonic() - begun) / 60, 1)
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "benchmarks.json", (json.dumps(record, indent=1) + "\n").encode())
    write_report(record, out)
    for problem in record["problems"]:
        print(f"error: {problem}", file=sys.stderr)
    print(f"written: {out}/benchmarks.md, .json and .png")
    return 1 if record["problems"] else 0


@contextmanager
def _part(title: str, begun: float, record: dict[str, Any]) -> Iterator[None]:
    """Print what is being measured; if it fails, note why: the other parts are worth having."""
    print(f"[{time.monotonic() - begun:4.0f} s] {title}", file=sys.stderr, flush=True)
    try:
        yield
    except CompetitorError as error:
        record["problems"].append(f"{title}: {error}")


def _hold(suite: Suite, peers: Path | None, data: Mnist, folder: Path, record: dict[str, Any]) -> None:
    """Run a suite and add it to the record."""
    image = NETWORKS[suite.network].image
    images, labels = folder / f"images-{suite.network}", folder / "labels"
    if not images.exists():
        made = network_input(data.train_images, image)
        made.tofile(images)
        data.train_labels.astype(np.int64).tofile(labels)
    common = {"images": str(images), "labels": str(labels), "size": image.size, "network": suite.network}
    threads = 1 if suite.one_thread else len(os.sched_getaffinity(0))
    results, problems = compete(suite, threads=threads, common=common, peers=peers)
    record["contests"].append(
        {"name": suite.name, "title": suite.title, "results": [asdict(result) for result in results]}
    )
    record["problems"] += [f"{suite.title}: {problem}" for problem in problems]
    if suite.network != "conv_pool_bn":
        images.unlink()


def _commands(settings: Settings, data: Mnist, folder: Path) -> list[dict[str, Any]]:
    """Both commands in turn, round after round, each round with a seed of its own; before them once, unmeasured."""
    images, validation, rounds = (2560, 512, 1) if settings.quick else (60_000, 5000, 5)
    whole = write_data(data, folder / "whole", images)
    if not settings.quick:
        small = write_data(data, folder / "small", 1280)
        _both(settings.peers, small, 1280, 1, 0, 0)
    return [
        asdict(command)
        for seed in range(rounds)
        for command in _both(settings.peers, whole, images, settings.passes, seed, validation)
    ]


def _images(settings: Settings, data: Mnist, folder: Path) -> list[dict[str, Any]]:
    """One pass over more and more images, and the test images scored once, nothing held out."""
    commands = []
    for images in (1000, 2000) if settings.quick else (10_000, 60_000, 600_000):
        repeated = write_data(data, folder / f"repeated-{images}", images)
        commands += [asdict(command) for command in _both(settings.peers, repeated, images, 1, 0, 0)]
        shutil.rmtree(repeated)
    return commands


def _cold(settings: Settings, data: Mnist, folder: Path) -> dict[str, Any]:
    """infer.py on one picture beside `import paddle`, and on more and more pictures."""
    rounds, counts = (2, (10, 100)) if settings.quick else (15, (10, 1000, 10_000))
    folders = [cold.write_pictures(data.test_images, folder / f"pictures-{count}", count) for count in counts]
    picture = folders[0] / "00000.png"
    return {"starts": cold.starts(picture, rounds), "memory": cold.memory(folders)}


def _processor() -> str:
    """Part of the processor's name that the kernel may leave out: " (family 26, model 2)"; empty elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    fields = dict(re.findall(r"(?m)^(cpu family|model)\s*: (\d+)$", cpuinfo.read_text())) if cpuinfo.exists() else {}
    return f" (family {fields['cpu family']}, model {fields['model']})" if len(fields) == 2 else ""


def _both(peers: Path | None, data: Path, images: int, passes: int, seed: int, validation: int) -> list[Command]:
    ours = train_py(data, images, passes, seed, validation)
    return [ours, torch_script(peers, data, images, passes, seed, validation)] if peers else [ours]


if __name__ == "__main__":
    run(main)
