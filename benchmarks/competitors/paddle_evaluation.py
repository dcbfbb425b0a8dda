"""This project: scoring by the engine's evaluation program, as after each pass of training."""

from __future__ import annotations

import numpy as np

from benchmarks.competitors.paddle_engine import build
from benchmarks.protocol import PADDLE, Batch, Batches, serve, versions
from model.scoring import IMAGES_AT_A_TIME


def main() -> None:
    """Build the engine and serve; a step scores `batch` images, IMAGES_AT_A_TIME at a time."""
    engine = build()

    def run(batches: list[Batch]) -> float:
        for images, _ in batches:
            for start in range(0, len(images), IMAGES_AT_A_TIME):
                answers = engine.log_probabilities(images[start : start + IMAGES_AT_A_TIME])
        return np.square(np.exp(answers)).sum() / len(answers)

    serve(run, Batches(), versions=versions(*PADDLE))


if __name__ == "__main__":
    main()
