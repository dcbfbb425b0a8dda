"""Kill and stop processes of data-parallel jobs: each job must end by itself, and go on with the same bits.

    python tests/reliability/job_test.py [--kills 50] [--stops 20] [--timeout 15] [--slack 10] [--seed 1]

Each job is two or three processes of Paddle's launcher. A random one of them, now and then the launcher, gets SIGKILL
or SIGSTOP at a random time: while they start, amid training, or at the end. The job must end within the time-out and
what the launcher needs to end the others (`--slack`; more on a busy machine), name the process in one line, show no
traceback, and leave no process and no temporary folder behind. Then `--resume` goes on with any number of processes,
and may be disturbed again. In the end the run must be, bit for bit, that of one process that nobody disturbed: results
log, steps log, weights, optimizer state, averages, answers, models.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from common.processes import children, rank_of  # noqa: E402
from tests.reliability.kill_test import write_data  # noqa: E402
from tests.reliability.processes import broken_models, differences, goes_on  # noqa: E402

PASSES, STEPS = 8, 16  # batches of 32 of 512 images
RUN = ("--recipe", "best", "--passes", PASSES, "--validation-size", 128, "--batch-size", 32, "--shards", 4)
OFTEN = ("--log-every", 1, "--checkpoint-seconds", 0.5, "--figures", "none")


class JobTest:
    """Disturbs jobs that train one run after another; counts, and notes whatever went wrong."""

    def __init__(self, work: Path, timeout: float, slack: float) -> None:
        self.work, self.timeout, self.slack = work, timeout, slack
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.seconds: dict[str, list[float]] = {"SIGKILL": [], "SIGSTOP": []}
        self.starting = 10.0  # seconds from a job's begin to its first step
        self.temporary = work / "temporary"
        self.temporary.mkdir()
        write_data(work / "data")
        self.reference = work / "reference"
        assert self.begin(self.reference, 1).wait(1800) == 0, (work / "output").read_text()

    def begin(self, folder: Path, size: int) -> subprocess.Popen[bytes]:
        """Start a job of `size` processes that begins the run in `folder`, or goes on with it."""
        shutil.rmtree(self.work / "log", ignore_errors=True)
        into = ["--run-dir", folder / "run", "--save-dir", folder / "model"]
        own = goes_on(folder) or ["--data-dir", self.work / "data", *RUN, *OFTEN, *into]
        launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", size, "--log_dir", self.work / "log"]
        command = [*(launcher if size > 1 else []), "train.py", *own, "--timeout", self.timeout]
        with (self.work / "output").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "JOB_TEST": str(self.work), "TMPDIR": str(self.temporary)},
            )

    def disturb(self, folder: Path, number: signal.Signals) -> None:
        """Start a job of the run in `folder`, disturb it, and see how it ends."""
        size, phase = random.choice((2, 3)), random.choice(("start", "middle", "end"))
        job = self.begin(folder, size)
        while len(found := _trainers(job.pid)) < size and job.poll() is None:
            time.sleep(0.02)
        self._wait(job, folder, phase)
        at_launcher = number == signal.SIGKILL and random.random() < 0.1
        victim = -1 if at_launcher else random.randrange(size)
        if job.poll() is not None or (victim not in found and not at_launcher):
            return
        with suppress(ProcessLookupError):
            os.kill(job.pid if at_launcher else found[victim], number)
        hit, where = time.monotonic(), f"{number.name} of {victim} of {size}, {phase}"
        try:
            status: int | None = job.wait(self.timeout + self.slack)
        except subprocess.TimeoutExpired:
            status = None
        took = time.monotonic() - hit
        left = self._end_what_is_left()
        if status == 0:
            return  # the process had just ended
        files = [self.work / "output", *sorted(self.work.glob("log/workerlog.*"))]
        said = "\n".join(path.read_text(errors="replace") for path in files)
        line = _naming(said, victim)
        print(f"{where}: status {status} after {took:.1f} s: {line}", flush=True)
        self.counts += Counter([number.name, phase])
        self.seconds[number.name].append(took)
        if status is None:
            self._note(f"{where}: not ended after {took:.0f} s; {said[-1000:]}")
        if left:
            self._note(f"{where}: left behind: {left}")
        if "Traceback" in said:
            self._note(f"{where}: {said[said.index('Traceback') :][:2000]}")
        if not line:
            self._note(f"{where}: not named: {said[-2000:]}")
        if broken := broken_models(folder):
            self._note(f"{where}: broken: {broken}")

    def finish(self, folder: Path) -> None:
        """Let a job of one to three processes end the run, and compare it with the undisturbed one."""
        size = random.choice((1, 2, 3))
        status = self.begin(folder, size).wait(1800)
        if status:
            self._note(f"ended by {size}: status {status}: {(self.work / 'output').read_text()[-2000:]}")
        elif different := differences(folder, self.reference):
            self._note(f"ended by {size}: other than the undisturbed run: {', '.join(different)}")
        self.counts["runs compared"] += 1
        print(f"ended by {size}: so far {dict(self.counts)}, wrong: {len(self.wrong)}", flush=True)

    def _note(self, wrong: str) -> None:
        print(f"WRONG: {wrong}", flush=True)
        self.wrong.append(wrong)

    def _wait(self, job: subprocess.Popen[bytes], folder: Path, phase: str) -> None:
        """Until a random time in a phase of the job."""
        began, had = time.monotonic(), _lines(folder / "run" / "steps.csv")
        wanted, log = PASSES + 1, folder / "run" / "results.csv"
        if phase == "middle":
            wanted, log = random.randint(min(had + 1, PASSES * STEPS), PASSES * STEPS), folder / "run" / "steps.csv"
        while phase != "start" and _lines(log) < wanted and job.poll() is None:
            time.sleep(0.05)
            if _lines(folder / "run" / "steps.csv") <= had:
                self.starting = time.monotonic() - began
        time.sleep(random.uniform(0, {"start": self.starting, "middle": 0.1, "end": 2}[phase]))

    def _end_what_is_left(self) -> list[str]:
        """Command lines of processes, and temporary folders, that are still there 3 s after the job; they go."""
        until = time.monotonic() + 3
        while (left := _marked(f"JOB_TEST={self.work}")) and time.monotonic() < until:
            time.sleep(0.1)
        for process in left:
            os.kill(process, signal.SIGKILL)
        folders = [path for path in self.temporary.iterdir() if path.is_dir()]
        for folder in folders:
            shutil.rmtree(folder)
        return [*left.values(), *map(str, folders)]


def _trainers(launcher: int) -> dict[int, int]:
    """The launcher's processes by their numbers."""
    ranks = {rank_of(process): process for process in children(launcher)}
    return {rank: process for rank, process in ranks.items() if rank is not None}


def _marked(variable: str) -> dict[int, str]:
    """Command lines of the processes, zombies aside, that have a variable in their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[-200:]
        except OSError:
            continue
    return found


def _naming(said: str, victim: int) -> str:
    """The line that names a process: one of ours, else the launcher's."""
    if victim < 0:
        patterns = [r"^error: .*lost its launcher.*$"]
    else:
        patterns = [rf"^error: .*process {victim} .*$", rf"^Container rank {victim} status failed"]
    return next((found[0][:160] for each in patterns if (found := re.search(each, said, re.MULTILINE))), "")


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def main() -> int:
    """Run all of it, print a summary; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs")
    parser.add_argument("--stops", type=int, default=20, help="SIGSTOPs")
    parser.add_argument("--timeout", type=float, default=15.0, help="of train.py, seconds")
    parser.add_argument("--slack", type=float, default=10.0, help="of the launcher, seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="job-test-") as work:
        test, runs = JobTest(Path(work), options.timeout, options.slack), 0
        wanted = {signal.SIGKILL: options.kills, signal.SIGSTOP: options.stops}
        while missing := [number for number in wanted for _ in range(wanted[number] - test.counts[number.name])]:
            folder, runs = Path(work) / f"run{runs}", runs + 1
            test.disturb(folder, random.choice(missing))
            while random.random() < 0.6:
                test.disturb(folder, random.choice(missing))
            test.finish(folder)
            shutil.rmtree(folder)
    for name, seconds in test.seconds.items():
        if seconds:
            print(
                f"{name}: the job ended after {statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s at most"
            )
    print(f"{dict(test.counts)}; wrong: {len(test.wrong)}; seed {options.seed}; {time.monotonic() - began:.0f} s")
    return 1 if test.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
