"""Fuzz the readers of foreign bytes, guided by the coverage of our own code (atheris), or by mutation alone.

    python tests/fuzz/fuzz.py [TARGET …] [--runs 100000] [--seed 1]

A crash, more than a second of processor time for one input, or more than 512 MB beyond what the imports took, ends the
target with the input in tests/fuzz/found/TARGET-…; a kept case belongs into tests/fuzz/corpus/TARGET/. Each target has
a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

try:
    import atheris
except ImportError:
    atheris = None

import model  # noqa: E402  before Paddle

if atheris and "--here" in sys.argv:
    with atheris.instrument_imports(
        include=[
            *("common", "data", "recognition", "results", "training", "model.saved_model", "model.program_check"),
            *("PIL", "pickle", "json"),
        ]
    ):
        from tests.fuzz import targets
else:
    from tests.fuzz import targets

from tests.fuzz.mutate import mutations  # noqa: E402

assert model
SECONDS = 1.0
KILOBYTES = 512 << 10
FOUND = ROOT / "tests" / "fuzz" / "found"


def fuzz(name: str, runs: int, seed: int, folder: Path) -> None:
    """Run one target in this process, which atheris ends without cleaning up."""
    FOUND.mkdir(exist_ok=True)
    target = targets.TARGETS[name]
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = most = done = 0.0

    def once(data: bytes) -> None:
        nonlocal slowest, most, done
        began = time.process_time()
        try:
            targets.run_once(target, data, folder)
            done += 1
            slowest = max(slowest, time.process_time() - began)
            most = max(most, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start)
            if slowest > SECONDS:
                raise AssertionError(f"it took {slowest:.1f} s")
            if most > KILOBYTES:
                raise AssertionError(f"it took {most / 1024:.0f} MB")
        except BaseException:
            (FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
            raise
        if done == runs or done % 10_000 == 0:
            print(
                f"{name}: {done:,.0f} executions, {'guided by coverage' if atheris else 'mutated'}; slowest "
                f"{1000 * slowest:.0f} ms of processor time, at most {most / 1024:.0f} MB beyond the start",
                flush=True,
            )

    seeds = targets.seeds(name)
    if atheris is None:
        for data in mutations(seeds, runs, seed):
            once(data)
        return
    corpus = folder / "seeds"
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)
    longest = max(4096, 2 * max(map(len, seeds)))  # a seed that were cut off would never be read
    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-max_len={longest}",
        "-timeout=60",
        "-rss_limit_mb=0",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={FOUND}/{name}-", str(corpus)], once)
    atheris.Fuzz()


def main() -> int:
    """Fuzz the targets, each in a process of its own; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*targets.TARGETS, []], help="all, unless named")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--here", type=Path, help="one target, in this process, with its files in this folder")
    options = parser.parse_args()
    names = options.targets or list(targets.TARGETS)
    if options.here:
        fuzz(names[0], options.runs, options.seed, options.here)
        return 0
    failed = 0
    for name in names:
        with targets.scratch() as folder:
            command = [sys.executable, __file__, name, f"--runs={options.runs}", f"--seed={options.seed}"]
            done = subprocess.run([*command, "--here", folder], stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode:
            failed += 1
            print(f"{name}: failed\n{done.stderr[-3000:]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
