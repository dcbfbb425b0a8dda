"""The job of train.py as a plain PyTorch script: train, score every pass, save the best pass by validation.

    python -m benchmarks.torch_script DATA_DIR SAVE_FILE [--passes N] [--seed N] …

All images stay in memory and batches are picked by index, which is PyTorch's fastest way. The learning rate falls by
half a cosine, step by step, as that of train.py --schedule cosine. It prints the saved model's right answers on the
test images.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.competitors.torch_networks import ConvPoolBN

BATCH, EVALUATION_BATCH = 128, 1000


def read(path: Path, header: int) -> Tensor:
    """Bytes of an IDX file behind its header."""
    return torch.from_numpy(np.fromfile(path, np.uint8, offset=header))


def pictures(data: Path, part: str) -> tuple[Tensor, Tensor]:
    """Images [N, 1, 28, 28] uint8 and labels [N] int64."""
    images = read(data / f"{part}-images-idx3-ubyte", 16).view(-1, 1, 28, 28)
    return images, read(data / f"{part}-labels-idx1-ubyte", 8).long()


def scaled(images: Tensor) -> Tensor:
    """Bytes to [-1, 1]."""
    return images.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def evaluate(network: ConvPoolBN, images: Tensor, labels: Tensor) -> tuple[float, int]:
    """Loss (nats per image) and right answers."""
    loss, correct = 0.0, 0
    for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
        scores = network(scaled(x))
        loss += cross_entropy(scores, y, reduction="sum").item()
        correct += int((scores.argmax(1) == y).sum())
    return loss / max(1, len(labels)), correct


def save(weights: dict[str, Tensor], path: Path) -> None:
    """Under another name first: whoever finds `path` finds it whole."""
    unfinished = path.with_suffix(".part")
    torch.save(weights, unfinished)
    unfinished.replace(path)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("save", type=Path)
    for name, default in (("--passes", 1), ("--seed", 1), ("--validation-size", 5000)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    settings = parser.parse_args()
    torch.manual_seed(settings.seed)
    images, labels = pictures(settings.data, "train")
    test = pictures(settings.data, "t10k")
    held_out = len(labels) - settings.validation_size
    network = ConvPoolBN().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    steps = settings.passes * math.ceil(held_out / BATCH)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    best, correct, chosen_weights = float("inf"), 0, network.state_dict()
    for _ in range(settings.passes):
        network.train()
        for chosen in torch.randperm(held_out).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(network(scaled(images[chosen])), labels[chosen]).backward()
            optimizer.step()
            falling.step()
        network.eval()
        test_loss, right = evaluate(network, *test)
        loss = evaluate(network, images[held_out:], labels[held_out:])[0] if settings.validation_size else test_loss
        if loss < best:
            best, correct, chosen_weights = loss, right, copy.deepcopy(network.state_dict())
    save(chosen_weights, settings.save)  # once, at the end: the clock stops when the file is there
    print(correct)


if __name__ == "__main__":
    main()
