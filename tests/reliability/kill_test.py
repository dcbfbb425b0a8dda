"""Kill training processes, everywhere and at any time, and show that nothing is lost.

    python tests/reliability/kill_test.py [--random 100] [--every 1] [--seed 1]

1. At each call that changes a file, of a whole run with a checkpoint after every step: SIGKILL before it, or amid it
   if it writes. Then the same within processes that resume, and on a file system that cannot exchange two folders.
2. From such a call on every write fails as on a full, broken, read-only or overfull disk; one line, and status 1.
   SIGTERM or SIGINT at such a call; saved, and status 143 or 130.
3. SIGKILL after a random time, again and again, until the run has ended in spite of it.

After each of these the models on disk must be whole; then the run goes on to its end with --resume and must be, bit for
bit, the run that nobody disturbed: results log, steps log, weights, optimizer state, answers, inference model.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mnist.dataset import load_mnist  # noqa: E402
from tests.conftest import write_idx  # noqa: E402
from tests.reliability.processes import (  # noqa: E402
    DENIALS,
    OFTEN,
    Ended,
    Fault,
    Trainer,
    broken_models,
    differences,
    goes_on,
    new_run,
    passes_said,
)


def write_data(folder: Path) -> None:
    """640 training and 128 test images of MNIST."""
    mnist = load_mnist()
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte", mnist.train_images[:640])
    write_idx(folder / "train-labels-idx1-ubyte", mnist.train_labels[:640])
    write_idx(folder / "t10k-images-idx3-ubyte", mnist.test_images[:128])
    write_idx(folder / "t10k-labels-idx1-ubyte", mnist.test_labels[:128])


class KillTest:
    """Counts kills, resumes and whatever went wrong, over many runs of the same settings."""

    def __init__(self, work: Path, trainer: Trainer) -> None:
        self.work, self.trainer = work, trainer
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.data = work / "data"
        write_data(self.data)
        self.old_model = self._old_model()
        # Undisturbed, and in a process that nobody forked.
        self.reference = self.fresh("reference")
        command = [sys.executable, str(ROOT / "train.py"), *map(str, self.arguments(self.reference))]
        subprocess.run(command, check=True, capture_output=True)

    def _old_model(self) -> Path:
        other = self.work / "other"
        arguments = new_run(other, self.data, "--seed", 2)
        assert self.trainer.run(arguments).status == 0
        return other / "model"

    def fresh(self, name: str) -> Path:
        """A folder without a run, and with another run's model published in it."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.old_model, folder / "model")
        return folder

    def arguments(self, folder: Path) -> list[object]:
        return new_run(folder, self.data, *OFTEN)

    def check_killed(self, folder: Path, ended: Ended, where: str) -> bool:
        """After a process: whether it was killed; notes what is not whole."""
        if ended.status != -signal.SIGKILL:
            if ended.status != 0 or ended.errors:
                self.wrong.append(f"{where}: status {ended.status}: {ended.errors}")
            return False
        self.counts["kills"] += 1
        self.wrong += [f"{where}: {broken}" for broken in broken_models(folder)]
        return True

    def resume(self, folder: Path, fault: Fault | None = None) -> Ended:
        """Go on with a run, or start it again if it was killed before it was one."""
        arguments = goes_on(folder)
        self.counts["resumes" if arguments else "starts again"] += 1
        return self.trainer.run(arguments or self.arguments(folder), folder, fault)

    def check_end(self, folder: Path, said: list[str], where: str) -> None:
        """A run that has ended must be the reference; `said` is what its processes printed, in order."""
        different = differences(folder, self.reference)
        if different:
            self.wrong.append(f"{where}: other than the undisturbed run: {', '.join(different)}")
        passes = [number for output in said for number in passes_said(output)]
        if len(passes) != len(set(passes)):
            self.counts["lost passes"] += 1
            self.wrong.append(f"{where}: passes {passes}: trained again after they were done")
        if any("refused" in output for output in said):
            self.wrong.append(f"{where}: a kill left a checkpoint that is not whole")
        self.counts["runs compared"] += 1

    def everywhere(self, every: int, no_exchange: bool = False) -> None:
        """Kill at each call (or each `every`-th) in turn, go on to the end."""
        folder = self.fresh("everywhere")
        calls = self.trainer.run(self.arguments(folder), folder, Fault(no_exchange=no_exchange)).calls
        for call in range(1, calls + 1, every):
            where = f"call {call} of {calls}"
            folder = self.fresh("everywhere")
            killed = self.trainer.run(self.arguments(folder), folder, Fault(call, -signal.SIGKILL, no_exchange))
            self.check_killed(folder, killed, where)
            ended = self.resume(folder)
            self.check_killed(folder, ended, where)
            self.check_end(folder, [killed.output, ended.output], where)

    def while_resuming(self, every: int) -> None:
        """Kill a run in its middle; then kill the process that resumes it, at each of its first calls; then go on."""
        half = self.fresh("half")
        killed = self.trainer.run(self.arguments(half), half, Fault(150, -signal.SIGKILL))
        self.counts["kills"] += 1
        for call in range(1, 60, every):
            folder = self.work / "again"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(half, folder)
            said = [killed.output]
            ended = self.trainer.run(self._moved(folder), folder, Fault(call, -signal.SIGKILL))
            self.counts["resumes"] += 1
            self.check_killed(folder, ended, f"call {call} while resuming")
            said.append(ended.output)
            self.counts["resumes"] += 1
            ended = self.trainer.run(self._moved(folder))
            self.check_killed(folder, ended, f"call {call} while resuming")
            self.check_end(folder, [*said, ended.output], f"call {call} while resuming")

    def _moved(self, folder: Path) -> list[object]:
        return ["--resume", folder / "run", "--save-dir", folder / "model"]

    def denied(self, every: int) -> None:
        """From some call on the disk is full, broken, read-only or over quota; later it is not, and the run goes on."""
        folder = self.fresh("denied")
        calls = self.trainer.run(self.arguments(folder), folder, Fault()).calls
        for number, call in enumerate(range(1, calls + 1, every)):
            code = DENIALS[number % len(DENIALS)]
            where = f"{errno.errorcode[code]} from call {call} of {calls} on"
            folder = self.fresh("denied")
            ended = self.trainer.run(self.arguments(folder), folder, Fault(call, code))
            self.counts["denials"] += 1
            if ended.status != 1 or len(ended.errors.splitlines()) != 1 or os.strerror(code) not in ended.errors:
                self.wrong.append(f"{where}: status {ended.status}: {ended.errors}")
            self.wrong += [f"{where}: {broken}" for broken in broken_models(folder)]
            self.check_end(folder, [ended.output, self.resume(folder).output], where)

    def stopped(self, every: int) -> None:
        """SIGTERM or SIGINT at a call: saved, 128 + its number, and the run goes on."""
        folder = self.fresh("stopped")
        arguments = new_run(folder, self.data)
        calls = self.trainer.run(arguments, folder, Fault()).calls
        for number, call in enumerate(range(1, calls + 1, every)):
            name = (signal.SIGTERM, signal.SIGINT)[number % 2]
            where = f"{name.name} at call {call} of {calls}"
            folder = self.fresh("stopped")
            ended = self.trainer.run(arguments, folder, Fault(call, -name))
            self.counts["signals"] += 1
            published = ended.status == 0 and (folder / "run" / "run.json").read_text().count("outcome")
            if (ended.status != 128 + name and not published) or ended.errors:
                self.wrong.append(f"{where}: status {ended.status}: {ended.errors}")
            self.wrong += [f"{where}: {broken}" for broken in broken_models(folder)]
            self.check_end(folder, [ended.output, self.resume(folder).output], where)

    def at_random(self, kills: int, seed: int) -> None:
        """Kill after random times until the run has ended all the same; then the next run, until there were enough."""
        random.seed(seed)
        before = self.counts["kills"]
        began = time.monotonic()
        self.trainer.run(self.arguments(self.fresh("random")))
        longest = time.monotonic() - began
        while self.counts["kills"] - before < kills:
            folder, said, alive = self.fresh("random"), [], True
            while alive:
                arguments = goes_on(folder)
                self.counts["resumes" if arguments else "starts again"] += 1
                ended = self.trainer.kill_after(random.uniform(0, longest), arguments or self.arguments(folder))
                said.append(ended.output)
                alive = self.check_killed(folder, ended, "at random")
            self.check_end(folder, said, "at random")


def main() -> int:
    """Run all of it, print a summary; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=150, help="kills after random times")
    parser.add_argument("--every", type=int, default=1, help="kill at each n-th call that changes a file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-test-") as work:
        trainer = Trainer(Path(work))
        try:
            test = KillTest(Path(work), trainer)
            for name, part in (
                ("at every call", lambda: test.everywhere(options.every)),
                ("at every call while resuming", lambda: test.while_resuming(options.every)),
                ("at calls, without exchange", lambda: test.everywhere(7 * options.every, no_exchange=True)),
                ("denials", lambda: test.denied(6 * options.every)),
                ("signals", lambda: test.stopped(4 * options.every)),
                ("at random", lambda: test.at_random(options.random, options.seed)),
            ):
                part()
                print(f"{name}: so far {dict(test.counts)}, wrong: {len(test.wrong)}", flush=True)
        finally:
            trainer.close()
    counts = test.counts
    print(
        f"{counts['kills']} kills, {counts['denials']} denials, {counts['signals']} other signals, "
        f"{counts['resumes']} resumes, {counts['starts again']} starts anew, "
        f"{counts['runs compared']} runs compared with the undisturbed one; lost passes: {counts['lost passes']}; "
        f"wrong: {len(test.wrong)}; {time.monotonic() - began:.0f} s"
    )
    print("\n".join(test.wrong[:50]))
    return 1 if test.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
