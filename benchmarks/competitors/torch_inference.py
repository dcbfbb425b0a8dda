"""PyTorch, eager or compiled, channels_last or not."""

from __future__ import annotations

import os

import torch

from benchmarks.competitors.torch_networks import build
from benchmarks.protocol import Batch, Batches, options, pieces, serve, versions


def main() -> None:
    """Build the network and serve."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layout = torch.channels_last if "channels_last" in options["mode"] else torch.contiguous_format
    network = build(options["network"]).eval().to(memory_format=layout)
    if "compile" in options["mode"]:
        network = torch.compile(network, dynamic=False)

    @torch.inference_mode()
    def run(batches: list[Batch]) -> float:
        for images, _ in batches:
            answers = [network(torch.from_numpy(piece).to(memory_format=layout)).softmax(1) for piece in pieces(images)]
            probabilities = torch.cat(answers)
        return probabilities.square().sum().item() / len(probabilities)

    serve(run, Batches(), versions=versions("torch"))


if __name__ == "__main__":
    main()
