"""This project: training by the engine of train.py, with the fused or the stock backend."""

from __future__ import annotations

from benchmarks.competitors.paddle_engine import LEARNING_RATE, build
from benchmarks.protocol import PADDLE, Batch, Batches, options, serve, versions
from model.kernels.build import instruction_set


def main() -> None:
    """Build the engine and serve."""
    engine = build()

    def run(batches: list[Batch]) -> float:
        for images, labels in batches:
            engine.train_step(images, labels, LEARNING_RATE)
        return engine.recent(1)[0, 0]

    facts = {"instructions": instruction_set()} if options.get("kernel") == "fused" else {}
    serve(run, Batches(), versions=versions(*PADDLE), **facts)


if __name__ == "__main__":
    main()
