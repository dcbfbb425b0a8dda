"""The memory of infer.py stays flat, however many pictures it reads."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cold import infer_peak_bytes
from data.dataset import Mnist
from recognition.cuts import Cuts
from recognition.reader import CHUNK, recognise

FILE_BYTES = 1_000_000  # of each picture, nearly all of it behind the picture's end


def write_pictures(images: np.ndarray, folder: Path, count: int) -> Path:
    """A folder of so many small pictures in large PNG files."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:03d}.png"
        Image.fromarray(images[number]).save(path)
        path.write_bytes(path.read_bytes().ljust(FILE_BYTES, b"\0"))
    return folder


def test_files_are_not_kept(mnist: Mnist, tmp_path: Path) -> None:
    few, many = (write_pictures(mnist.test_images, tmp_path / str(count), count) for count in (20, 200))
    assert infer_peak_bytes(many) - infer_peak_bytes(few) < 180 * FILE_BYTES // 2


def test_images_and_answers_are_not_kept() -> None:
    """A few chunks of images in memory at a time, whatever their number."""

    def read_cuts(paths: Iterable[str], way: str) -> Iterator[Cuts]:
        return (Cuts(np.zeros((1, 28, 28), np.uint8)) for _ in paths)

    def read(paths: list[str], cuts: list[Cuts]) -> list[bytes]:
        return [bytes(784) for _ in cuts]

    workers: Any = SimpleNamespace(read_cuts=read_cuts, limits=SimpleNamespace(max_bytes=1 << 20))
    network: Any = SimpleNamespace(read=read, way="digit")
    tracemalloc.start()
    told = sum(1 for _ in recognise((f"{number}.png" for number in range(20 * CHUNK)), network, workers))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == 20 * CHUNK and peak < 6 * CHUNK * 784
