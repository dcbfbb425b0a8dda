"""This project: the Predictor of infer.py, on a saved model."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np

from benchmarks.protocol import PADDLE, Batch, Batches, options, serve, versions
from model.predictor import PREDICTION_BATCH, Predictor
from model.saved_model import SavedModel, load_model, save_model


def save(folder: Path) -> None:
    """Save the network with the competitors' common values; in a process of its own, whose memory does not count."""
    from benchmarks.competitors.paddle_engine import build
    from model.engine import Exporter
    from model.program import NetworkConfig

    size = options["size"]
    fit = "none" if size == 28 else "pad"
    picture = {"shape": [-1, 1, size, size], "low": 0.0, "high": 1.0, "fit": fit}
    card = {"input": picture, "labels": [str(digit) for digit in range(10)]}
    files = Exporter(NetworkConfig(options["network"])).files(build().parameters())
    save_model(folder, SavedModel(folder, card, *files))


def main() -> None:
    """Save, load and serve."""
    folder = Path(options["labels"]).with_name(f"model-{options['network']}")  # the driver's, for all of them
    if not folder.exists():
        saving = multiprocessing.get_context("spawn").Process(target=save, args=(folder,))
        saving.start()
        saving.join()
    model = load_model(folder)
    at_a_time = options.get("at_a_time", PREDICTION_BATCH)
    predictor = Predictor(model, "cpu", threads=len(os.sched_getaffinity(0)), batch=at_a_time)

    def run(batches: list[Batch]) -> float:
        for images, _ in batches:
            probabilities = predictor.probabilities(images)
        return np.square(probabilities).sum() / len(probabilities)

    serve(run, Batches(), versions=versions(*PADDLE))


if __name__ == "__main__":
    main()
