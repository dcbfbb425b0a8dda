"""The project's goals of speed, what was measured, and where others are faster or need less memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.record import (
    Record,
    Result,
    best,
    by_batch,
    is_ours,
    machine,
    mebibytes,
    median,
    ours_and_theirs,
    quartiles,
    rates_over,
    ratios,
    results,
    table,
    versions,
)

MODEL_CORRECT = 9850  # of 10,000: what every model must reach for the seconds to count


@dataclass(frozen=True)
class Goal:
    """A ratio that was measured, and what it should be.

    Attributes:
        what: in words.
        found: the ratio, round by round.
        least: what its median should reach; 0 for no such bound.
        most: what it should not exceed; 0 for no such bound.
        counts: whether what was measured is worth anything.
    """

    what: str
    found: Sequence[float]
    least: float = 0
    most: float = 0
    counts: bool = True

    def row(self) -> list[str]:
        """For a table: what, bound, median and quartiles, n, whether it is met."""
        low, middle, high = quartiles(self.found)
        bound = f"≥ {self.least:g}" if self.least else f"≤ {self.most:g}" if self.most else ""
        met = self.counts and self.least <= middle and (not self.most or middle <= self.most)
        verdict = ("yes" if met else "no") if bound else ""
        return [self.what, bound, f"{middle:.2f} ({low:.2f} to {high:.2f})", str(len(self.found)), verdict]


def models_qualify(record: Record) -> bool:
    """True if every saved model, the peers' too, reached MODEL_CORRECT."""
    return all(command["correct"] >= MODEL_CORRECT for command in record.get("commands", []))


def goals(record: Record) -> Iterator[Goal]:
    """Those that were measured."""
    for suite in record["contests"]:
        part, _, network = suite["name"].partition("/")
        if part in ("training", "networks", "threads"):
            yield from _training(part, network or "conv_pool_bn", suite["results"])
    for found in by_batch(results(record, "inference")):
        if onnx := best(found, "ONNX"):
            batch = found[0]["batch"]
            what = f"inference at batch {batch}: × {onnx['label']}"
            yield Goal(what, rates_over(found[0], onnx), least=1.2 if batch > 1 else 0)
    if len(evaluation := results(record, "evaluation")) == 2:
        yield Goal("scoring 10,000 images in the training loop: × stock kernels", rates_over(*evaluation), least=5)
    ours, theirs = ours_and_theirs(record.get("commands", []), "seconds")
    if ours and theirs:
        what = "command to saved model of ≥ 98.5 %: seconds / PyTorch script's"
        yield Goal(what, ratios(ours, theirs), most=0.6, counts=models_qualify(record))
    if starts := record.get("starts"):
        over = [start["infer"] / start["paddle"] for start in starts]
        yield Goal("infer.py on one picture, from a cold start: seconds / `import paddle`'s", over, most=1.3)
    if memory := record.get("memory"):
        what = f"infer.py's memory for {memory[-1]['pictures']:,} pictures / for {memory[0]['pictures']:,}"
        yield Goal(what, [memory[-1]["peak_bytes"] / memory[0]["peak_bytes"]], most=1.1)


def _training(part: str, network: str, found: Sequence[Result]) -> Iterator[Goal]:
    what = f"training {network}{' on one thread' if part == 'threads' else ''}"
    if peer := best(found, "PyTorch"):
        least = {"training": 3.3, "networks": 1.0}.get(part, 0)
        yield Goal(f"{what}: × {peer['label']}", rates_over(found[0], peer), least)
    if part == "training" and (first := best(found, "Paddle, as in tutorials")):
        yield Goal(f"{what}: × Paddle's stock operators as first written", rates_over(found[0], first), least=12)


def goals_table(record: Record) -> str:
    """All of them, in Markdown; empty if none was measured."""
    rows = [goal.row() for goal in goals(record)]
    return table(["goal", "bound", "median (quartiles)", "n", "met"], rows) if rows else ""


IN_README = ("training conv_pool_bn: × PyTorch", "training conv_pool_bn: × Paddle", "inference at batch 64:")


def readme_table(record: Record) -> str:
    """The three ratios of the README, and the machine that they were measured on, in Markdown."""
    rows = [goal.row() for goal in goals(record) if goal.what.startswith(IN_README)]
    commit = (record["environment"]["commit"] or "unknown")[:12]
    found = table(["speed", "median (quartiles)", "rounds"], [[what, ratio, n] for what, _, ratio, n, _ in rows])
    return f"{found}\n\n{machine(record)}; {versions(record)}; commit {commit}."


def weaker(record: Record) -> list[str]:
    """A sentence for each case in which a peer is faster or needs less memory."""
    found, more_memory, compared = [], [], 0
    for suite in record["contests"]:
        for at in by_batch(suite["results"]):
            ours, peers = at[0], [result for result in at if not is_ours(result)]
            if suite["name"].startswith("matmul") or not peers:
                continue
            where = f"{suite['title']}, batch {ours['batch']:,}"
            for peer in peers:
                if (slower := median(rates_over(peer, ours))) > 1:
                    found.append(f"{where}: {peer['label']} is {slower:.2f} × as fast.")
            compared += 1
            leanest = min(peers, key=lambda peer: peer["peak_bytes"])
            more = ours["peak_bytes"] / leanest["peak_bytes"]
            own = f"{mebibytes(ours['peak_bytes'])}, {leanest['label']} {mebibytes(leanest['peak_bytes'])}"
            more_memory += [(more, f"{more:.1f} × ({where}: {own})")] if more > 1 else []
    found += _weaker_commands(record.get("images", []))
    if more_memory:
        most = max(more_memory)[1]
        found.append(f"Memory: more than the leanest peer's in {len(more_memory)} of {compared} tables, up to {most}.")
    return found


def _weaker_commands(commands: Sequence[Record]) -> Iterator[str]:
    for images in dict.fromkeys(command["images"] for command in commands):
        at = [command for command in commands if command["images"] == images]
        where = f"Command to saved model, one pass over {images:,} images"
        for (ours, theirs), unit in (
            (ours_and_theirs(at, "seconds"), "{:.1f} s".format),
            (ours_and_theirs(at, "peak_bytes"), mebibytes),
        ):
            if theirs and median(ours) > median(theirs):
                yield f"{where}: {unit(median(ours))}, the PyTorch script {unit(median(theirs))}."
