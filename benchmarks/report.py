"""From the numbers of a benchmark to a page in Markdown and a plot.

python -m benchmarks.report docs/benchmarks.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.goals import goals_table, models_qualify, weaker
from benchmarks.plot import draw
from benchmarks.record import (
    Record,
    best,
    by_batch,
    machine,
    mebibytes,
    median,
    quartiles,
    rates_over,
    results,
    table,
    versions,
)
from common.files import write_file

# Multiplications and additions of conv_pool_bn for one image: two convolutions and a fully connected layer, and in
# training the gradients of their weights and inputs (the first layer's inputs need none).
FORWARD = 2 * (24 * 24 * 20 * 25 + 8 * 8 * 50 * 500 + 800 * 10)
TRAINING_FLOP = 3 * FORWARD - 2 * (24 * 24 * 20 * 25)

BUSY = 0.25  # load average per core before the start, above which the figures deserve a warning


def write_report(record: Record, folder: Path) -> None:
    """Write benchmarks.md and benchmarks.png into a folder."""
    sections = [_head(record), _goals(record), _weaker(record)]
    sections += [_suite(suite) for suite in record["contests"]]
    sections += [_commands(record["commands"])] if record.get("commands") else []
    sections += [_images(record["images"])] if record.get("images") else []
    sections += [_starts(record["starts"])] if record.get("starts") else []
    sections += [_memory(record["memory"])] if record.get("memory") else []
    write_file(folder / "benchmarks.md", ("\n\n".join(filter(None, sections)) + "\n").encode())
    draw(record, folder / "benchmarks.png")


def _head(record: Record) -> str:
    environment, load = record["environment"], record["load"][0]
    warnings = []
    if load > BUSY * environment["machine"]["cores"]:
        warnings.append("The machine was busy: libraries whose threads wait for each other suffer most.")
    warnings += [f"Missing: {problem}" for problem in record.get("problems", [])]
    warning = "".join(f"\n\n**{line}**" for line in warnings)
    return f"""# Speed beside other frameworks

[中文](zh/benchmarks.md)

Made by `make bench`, which measures all of this anew; not written by hand.

![Images per second and seconds, beside the peers](benchmarks.png)

Machine: {machine(record)}; {environment["machine"]["system"]}.
{versions(record)}.
Commit {(environment["commit"] or "unknown")[:12]}; load average before the start {load:.1f};
{record["minutes"]} minutes.{warning}

Competitors start from equal weights, see the same images in the same order, and take turns of a fraction of a second,
round after round; the others are stopped meanwhile. After two steps their losses or probabilities must agree within
0.1 %. A warm-up (twice 20 steps, or as many as 2,560 images make) is not timed, nor is compiling. A figure is the
median of the rounds with its quartiles; a ratio is the median of the rounds' ratios, so that a slow moment of the
machine, which meets all, cancels. Making batches is not timed here, but is in the commands below. Memory is the largest
resident set of the process.

## What each is given

- This project's own (Paddle, but "as in tutorials", and the evaluation programs): what `import model` sets. glibc
  serves blocks up to 32 MiB from the heap and gives nothing back before 2 GB lie free; Paddle runs operators one after
  the other (`FLAGS_new_executor_serial_run=1`) and does not collect dead tensors (`FLAGS_eager_delete_tensor_gb=-1`);
  on AMD's processors Paddle's MKL of 2019 is made to use AVX2 (`MKL_DEBUG_CPU_TYPE=5`), a variable that later
  MKLs, PyTorch's among them, do not read.
- "Malloc tuned" peers: by environment, glibc serves blocks up to 4 GiB from the heap, in steps of 64 MiB. It gives
  nothing back before 4 GiB lie free.
- PyTorch, malloc tuned: the fused Adam in training too. "compile" is `torch.compile` as it comes.
- PyTorch as it comes, Paddle as in tutorials, JAX, Keras and ONNX Runtime otherwise: nothing. Threads are as many for
  all; variables of the shell that steer these libraries are taken away.
- `Predictor`, as `infer.py` uses it, runs 64 images at a time whatever the batch, 1,024 as 16 × 64; the peers run the
  whole batch at once, unless a row has "64 at a time"."""


def _goals(record: Record) -> str:
    """The project's goals and the measurements; only those that were measured."""
    found = goals_table(record)
    return "\n\n".join(filter(None, ["## Goals", found, _fraction(record)])) if found else ""


def _weaker(record: Record) -> str:
    found = weaker(record)
    lines = ["## Where it is not faster, or needs more memory", "", *(f"- {line}" for line in found)]
    return "\n".join(lines) if found else ""


def _fraction(record: Record) -> str:
    """Speed of training as a fraction of the machine's matrix product."""
    sentences = []
    for product, training in (("matmul", "training"), ("matmul/1", "threads")):
        speeds, steps = results(record, product), results(record, training)
        if (fastest := best(speeds, "")) and steps:
            gflops = median(fastest["rates"]) * fastest["facts"]["flop"] / 1e9
            rate = median(steps[0]["rates"])
            reached = rate * TRAINING_FLOP / 1e9
            sentences.append(
                f"- Threads: {fastest['threads']}. The fastest large float32 {fastest['label']}: {gflops:.0f} GFLOP/s "
                f"(n = {len(fastest['rates'])}). A training step's {TRAINING_FLOP / 1e6:.1f} MFLOP an image at "
                f"{rate:,.0f} images/s (n = {len(steps[0]['rates'])}): {reached:.0f} GFLOP/s, "
                f"{100 * reached / gflops:.0f} % of it, as if its backward pass were dense."
            )
    return "\n".join(sentences)


def _suite(suite: Record) -> str:
    """A table per batch size; products per second become GFLOP/s."""
    blocks = [f"## {suite['title']}"]
    for at in by_batch(suite["results"]):
        scale, unit = 1.0, "images/s"
        if "flop" in at[0]["facts"]:
            scale, unit = at[0]["facts"]["flop"] / 1e9, "GFLOP/s"
        reference = at[0]
        rows = []
        for result in at:
            low, middle, high = (value * scale for value in quartiles(result["rates"]))
            slower = quartiles(rates_over(reference, result))
            ratio = "1" if result is reference else f"{slower[1]:.2f} ({slower[0]:.2f} to {slower[2]:.2f})"
            speed = f"{middle:,.0f} ({low:,.0f} to {high:,.0f})"
            rows.append([result["label"], speed, ratio, mebibytes(result["peak_bytes"])])
        head = [f"batch {reference['batch']}", unit, f"{reference['label']} is × faster", "peak memory"]
        blocks += [table(head, rows), f"Threads: {reference['threads']}; n = {len(reference['rates'])} rounds."]
    return "\n\n".join(blocks)


def _commands(commands: list[Record]) -> str:
    rows = []
    for label in dict.fromkeys(command["label"] for command in commands):
        own = [command for command in commands if command["label"] == label]
        low, middle, high = quartiles([command["seconds"] for command in own])
        correct = ", ".join(str(command["correct"]) for command in own)
        memory = mebibytes(max(command["peak_bytes"] for command in own))
        rows.append([label, f"{middle:.1f} ({low:.1f} to {high:.1f})", correct, memory])
    qualify = models_qualify({"commands": commands})
    verdict = "Every model reached 98.5 %." if qualify else "**Not every model reached 98.5 %: the goal is missed.**"
    found = table(["command", "seconds (quartiles)", "right of 10,000 test images", "peak memory"], rows)
    images, passes, rounds = commands[0]["images"], commands[0]["passes"], len(commands) // len(rows)
    rate = commands[0].get("learning_rate")
    schedule = f"; learning rate {rate:g}, falling by half a cosine" if rate else ""
    return f"""## From the command to a saved model

Passes: {passes}; training images, the held out ones among them: {images:,}; batch 128{schedule};
n = {rounds} rounds, each with a seed of its own. A new process each time: imports, reading the data, training, scoring
the held out and the test images after every pass, and saving are in it. The clock stops when the saved model is there,
whole. Before that train.py also writes its log and checkpoints, draws its curves beside the training, and reads its
model back and scores it anew; its other figures are drawn afterwards, and are not in the seconds. Compiling the fused
operators, once per machine (about 10 s), is not in them either, nor are files read from a cold disk.

{found}

{verdict}"""


def _images(commands: list[Record]) -> str:
    rows = [
        [
            f"{c['images']:,}",
            c["label"],
            f"{c['seconds']:.1f}",
            f"{c['images'] / c['seconds']:,.0f}",
            mebibytes(c["peak_bytes"]),
        ]
        for c in commands
    ]
    found = table(["training images", "command", "seconds", "images/s of the whole command", "peak memory"], rows)
    return f"## Cost against the number of images\n\nOne pass over MNIST, cut or repeated; n = 1.\n\n{found}"


def _starts(starts: list[Record]) -> str:
    rows = []
    for label, key in (("infer.py on one picture", "infer"), ("`import paddle` alone", "paddle")):
        low, middle, high = quartiles([start[key] for start in starts])
        rows.append([label, f"{middle:.2f} ({low:.2f} to {high:.2f})"])
    return f"""## Cold start

A new process each time, the two in turn, files in the system's cache; n = {len(starts)} pairs.

{table(["command", "seconds (quartiles)"], rows)}"""


def _memory(memory: list[Record]) -> str:
    rows = [[f"{one['pictures']:,}", mebibytes(one["peak_bytes"]), f"{one['seconds']:.1f}"] for one in memory]
    return f"""## Memory of infer.py against the number of pictures

MNIST's test images as PNG files; the largest resident sets of infer.py and of its reading processes, added up; n = 1.

{table(["pictures", "peak memory", "seconds"], rows)}"""


if __name__ == "__main__":
    write_report(json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[1]).parent)
