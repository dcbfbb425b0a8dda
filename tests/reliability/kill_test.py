"""Disturb training processes in every way and at every point, and show that nothing is lost.

    python tests/reliability/kill_test.py [--random 150] [--every 1] [--each] [--damages 3000] [--seed 1]

1. Each kind of saved file: a bit flipped or the end cut off. Whoever reads it must refuse.
2. SIGKILL at each call that changes a file, before it or amid a write, of a whole run with a checkpoint after each
   step; the same in processes that resume, and on a file system that cannot exchange two folders; SIGKILL after a
   random time, again and again, until the run has ended in spite of it.
3. From some call on the disk is full, broken, read-only or over quota: one line, status 1. As root, a disk that really
   is full too.
4. SIGTERM or SIGINT at a call: saved, status 143 or 130.

After each of these the models on disk must be whole; then the run goes on to its end with --resume and must be, bit for
bit, the run that nobody disturbed: results log, steps log, weights, optimizer state, answers, inference model, curves.
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
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from common.errors import UserError  # noqa: E402
from data.dataset import load_mnist  # noqa: E402
from model.saved_model import README, load_model  # noqa: E402
from results.checkpoint import checkpoint_names, load_checkpoint  # noqa: E402
from results.predictions import read_predictions  # noqa: E402
from results.run_folder import RunFolder  # noqa: E402
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
    steps_logged,
    steps_saved,
    tree_sum,
)
from training.same_run import what_was_finished  # noqa: E402


def write_data(folder: Path) -> None:
    """640 training and 128 test images of MNIST."""
    mnist = load_mnist()
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte", mnist.train_images[:640])
    write_idx(folder / "train-labels-idx1-ubyte", mnist.train_labels[:640])
    write_idx(folder / "t10k-images-idx3-ubyte", mnist.test_images[:128])
    write_idx(folder / "t10k-labels-idx1-ubyte", mnist.test_labels[:128])


class KillTest:
    """Disturbs many runs of the same settings; counts what was done, and notes whatever went wrong."""

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
        """Of train.py, for a run with a checkpoint after each step."""
        return new_run(folder, self.data, *OFTEN)

    def calls(self, no_exchange: bool = False) -> int:
        """How many calls of an undisturbed run change files."""
        folder = self.fresh("counted")
        return self.trainer.run(self.arguments(folder), folder, Fault(no_exchange=no_exchange)).calls

    def kill_at(self, call: int, no_exchange: bool = False) -> None:
        """SIGKILL at a call; then the run goes on to its end."""
        folder, where = self.fresh("killed"), f"SIGKILL at call {call}"
        killed = self.trainer.run(self.arguments(folder), folder, Fault(call, -signal.SIGKILL, no_exchange))
        self._check_killed(folder, killed, where)
        self._check_end(folder, [killed, self._go_on(folder)], where)

    def go_on_from_each(self, every: int = 1) -> None:
        """Go on from the folder as SIGKILL leaves it at each call, copied from one run that stops there.

        A call that changes nothing, such as a sync, leaves the folder of the one before, which is gone on from once.
        """
        folder, copies = self.fresh("killed"), self.work / "copies"
        self.trainer.start(self.arguments(folder), folder, Fault(1, -signal.SIGSTOP))
        outputs: dict[str, tuple[int, str]] = {}
        for call, output in enumerate(self.trainer.stops(), start=1):
            self.counts["stops"] += 1
            if (copy := tree_sum(folder)) not in outputs and call % every == 0:
                outputs[copy] = call, output
                shutil.copytree(folder, copies / copy)
        assert self.trainer.wait().status == 0
        for copy, (call, output) in outputs.items():
            shutil.rmtree(folder)
            (copies / copy).rename(folder)
            self.counts["folders"] += 1
            self._check_whole(folder, where := f"stopped at call {call}")
            self._check_end(folder, [Ended(-signal.SIGKILL, output, "", call), self._go_on(folder)], where)

    def kill_resuming_at(self, call: int) -> None:
        """SIGKILL amid a run, then at a call of the process that resumes it; then it goes on to its end."""
        folder, where = self.fresh("killed twice"), f"SIGKILL at call {call} while resuming"
        first = self.trainer.run(self.arguments(folder), folder, Fault(150, -signal.SIGKILL))
        second = self._go_on(folder, Fault(call, -signal.SIGKILL))
        for killed in (first, second):
            self._check_killed(folder, killed, where)
        self._check_end(folder, [first, second, self._go_on(folder)], where)

    def deny_from(self, call: int, code: int) -> None:
        """From a call on the disk is full, broken, read-only or over quota; later it is not, and the run goes on."""
        folder, where = self.fresh("denied"), f"{errno.errorcode[code]} from call {call} on"
        denied = self.trainer.run(self.arguments(folder), folder, Fault(call, code))
        self.counts["denials"] += 1
        self._check_refused(folder, denied, code, where)
        self._check_end(folder, [denied, self._go_on(folder)], where)

    def stop_at(self, call: int, number: signal.Signals) -> None:
        """A signal to stop at a call: saved, and 128 + its number; then the run goes on to its end.

        At the default interval of checkpoints, so that the one which the signal asks for is needed.
        """
        folder, where = self.fresh("stopped"), f"{number.name} at call {call}"
        stopped = self.trainer.run(new_run(folder, self.data), folder, Fault(call, -number))
        self.counts["signals"] += 1
        published = stopped.status == 0 and what_was_finished(RunFolder(folder / "run"), None)
        if (stopped.status != 128 + number and not published) or stopped.errors:
            self.wrong.append(f"{where}: status {stopped.status}: {stopped.errors}")
        if "everything is saved" in stopped.output and steps_saved(folder) != steps_logged(folder):
            self.wrong.append(f"{where}: {steps_saved(folder)} steps saved, {steps_logged(folder)} done")
        self._check_whole(folder, where)
        self._check_end(folder, [stopped, self._go_on(folder)], where)

    def kill_at_random(self, longest: float) -> None:
        """SIGKILL after a random time, of the first process of a run and of all that go on with it, until one ends."""
        folder, processes = self.fresh("random"), []
        while True:
            processes.append(self._go_on(folder, kill_after=random.uniform(0, longest)))
            if not self._check_killed(folder, processes[-1], "at random"):
                return self._check_end(folder, processes, "at random")

    def fill_disk(self, kilobytes: int) -> None:
        """A run on a file system that is too small for it; then there is room, and it goes on. Needs root."""
        disk, where = self.work / "disk", f"tmpfs of {kilobytes} kB"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk], check=True)
        try:
            folder = disk / "full"
            full = self.trainer.run(self.arguments(folder))
            self.counts["full disks"] += 1
            self._check_refused(folder, full, errno.ENOSPC, where)
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            self._check_end(folder, [full, self._go_on(folder)], where)
        finally:
            subprocess.run(["umount", disk], check=True)
            disk.rmdir()

    def damage(self, trials: int) -> None:
        """Flip a bit of a saved file, or cut it anywhere: whoever reads it must refuse."""
        folder = self.work / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.reference, folder)
        run = RunFolder(folder / "run")
        readers: dict[Path, Callable[..., object]] = {
            path: lambda: load_model(folder / "model") for path in (folder / "model").iterdir()
        }
        readers |= {path: lambda: load_model(run.model) for path in run.model.iterdir()}
        readers = {path: reader for path, reader in readers.items() if path.name != README}  # for people, who edit it
        readers |= {path: lambda path=path: read_predictions(path) for path in (folder / "run" / "answers").iterdir()}
        readers[run.record] = lambda: run.read_record(whole=True)
        for name in checkpoint_names(run.checkpoints)[1:]:
            shutil.rmtree(run.checkpoints / name)
        (newest,) = run.checkpoints.iterdir()
        readers |= {path: lambda: load_checkpoint(run.checkpoints) for path in newest.iterdir()}
        for number in range(trials):
            path = sorted(readers)[number % len(readers)]
            whole = path.read_bytes()
            position = random.randrange(len(whole))
            flipped = whole[:position] + bytes([whole[position] ^ 1 << random.randrange(8)]) + whole[position + 1 :]
            path.write_bytes(random.choice((flipped, whole[:position])))
            try:
                readers[path]()
                self.wrong.append(f"{path.relative_to(folder)} damaged at byte {position}: read all the same")
            except UserError:
                self.counts["damages refused"] += 1
            path.write_bytes(whole)

    def _go_on(self, folder: Path, fault: Fault | None = None, kill_after: float | None = None) -> Ended:
        """Resume a run, or start it again if it was killed before it was one."""
        arguments = goes_on(folder)
        self.counts["resumes" if arguments else "starts"] += 1
        self.trainer.start(arguments or self.arguments(folder), folder, fault, kill_after)
        return self.trainer.wait()

    def _check_killed(self, folder: Path, ended: Ended, where: str) -> bool:
        """Whether a process was killed; what it left must be whole, whatever it was doing."""
        if ended.status != -signal.SIGKILL:
            return False
        self.counts["kills"] += 1
        self._check_whole(folder, where)
        return True

    def _check_refused(self, folder: Path, ended: Ended, code: int, where: str) -> None:
        """A process that could not write must say so in one line and leave with 1."""
        if ended.status != 1 or len(ended.errors.splitlines()) != 1 or os.strerror(code) not in ended.errors:
            self.wrong.append(f"{where}: status {ended.status}: {ended.errors}")
        self._check_whole(folder, where)

    def _check_whole(self, folder: Path, where: str) -> None:
        self.wrong += [f"{where}: {broken}" for broken in broken_models(folder)]

    def _check_end(self, folder: Path, processes: Sequence[Ended], where: str) -> None:
        """The last of a run's processes must have ended it well, and the run must be the undisturbed one."""
        *_, last = processes
        if last.status != 0 or last.errors:
            self.wrong.append(f"{where}: in the end status {last.status}: {last.errors}")
            return
        different = differences(folder, self.reference)
        if different:
            self.wrong.append(f"{where}: other than the undisturbed run: {', '.join(different)}")
        passes = [number for process in processes for number in passes_said(process.output)]
        if len(passes) != len(set(passes)):
            self.counts["lost passes"] += 1
            self.wrong.append(f"{where}: passes {passes}: trained again after they were done")
        if any("refused" in process.output for process in processes):
            self.wrong.append(f"{where}: a checkpoint was left that is not whole")
        self.counts["runs compared"] += 1


def main() -> int:
    """Run all of it, print a summary; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=150, help="kills after random times")
    parser.add_argument("--every", type=int, default=1, help="kill at each n-th call that changes a file")
    parser.add_argument("--each", action="store_true", help="go on from copies of the folder at each call, too")
    parser.add_argument("--damages", type=int, default=3000, help="files damaged")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-test-") as work, Trainer(Path(work)) as trainer:
        test = KillTest(Path(work), trainer)
        every, calls = options.every, test.calls()

        def report(part: str) -> None:
            print(f"{part}: so far {dict(test.counts)}, wrong: {len(test.wrong)}", flush=True)

        test.damage(options.damages)
        report("damage")
        if os.geteuid() == 0:
            for kilobytes in range(200, 2000, 200 * every):
                test.fill_disk(kilobytes)
            report("full disk")
        started = time.monotonic()
        test.calls()
        longest = time.monotonic() - started
        while test.counts["kills"] < options.random:
            test.kill_at_random(longest)
        report("SIGKILL at random")
        for call in range(1, calls + 1, every):
            test.kill_at(call)
        report(f"SIGKILL at {'each' if every == 1 else f'every {every}th'} of {calls} calls")
        if options.each:
            test.go_on_from_each()
            report("folders as SIGKILL at each call leaves them")
        for call in range(1, 60, 4 * every):
            test.kill_resuming_at(call)
        report("SIGKILL while resuming")
        for call in range(1, test.calls(no_exchange=True) + 1, 16 * every):
            test.kill_at(call, no_exchange=True)
        report("SIGKILL without exchange of folders")
        for number, call in enumerate(range(1, calls + 1, 12 * every)):
            test.deny_from(call, DENIALS[number % len(DENIALS)])
        report("denials")
        for number, call in enumerate(range(1, calls // 2, 6 * every)):
            test.stop_at(call, (signal.SIGTERM, signal.SIGINT)[number % 2])
        report("signals")
    counts = test.counts
    print(
        f"{counts['kills']} kills, {counts['folders']} folders of {counts['stops']} stops, "
        f"{counts['denials']} denials, {counts['full disks']} full disks, "
        f"{counts['signals']} other signals, {counts['resumes']} resumes, "
        f"{counts['runs compared']} runs compared with the undisturbed one, "
        f"{counts['damages refused']} damages refused; lost passes: {counts['lost passes']}; "
        f"wrong: {len(test.wrong)}; {time.monotonic() - began:.0f} s"
    )
    print("\n".join(test.wrong[:50]))
    return 1 if test.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
