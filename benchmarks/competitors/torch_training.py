"""PyTorch: eager or compiled, channels_last or not; tuned modes use the fused Adam."""

from __future__ import annotations

import os

import torch

from benchmarks.competitors.torch_networks import build
from benchmarks.protocol import Batch, Batches, options, serve, versions


def main() -> None:
    """Build the network and serve."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    mode = options["mode"]
    network = build(options["network"])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True if options.get("fused_adam") else None)
    layout = torch.channels_last if "channels_last" in mode else torch.contiguous_format
    network.to(memory_format=layout)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return network.loss(network(images), labels)

    if "compile" in mode:
        loss_of = torch.compile(loss_of)

    def run(batches: list[Batch]) -> float:
        for images, labels in batches:
            optimizer.zero_grad()
            loss = loss_of(torch.from_numpy(images).to(memory_format=layout), torch.from_numpy(labels))
            loss.backward()
            optimizer.step()
        return loss.item()

    serve(run, Batches(), versions=versions("torch"))


if __name__ == "__main__":
    main()
