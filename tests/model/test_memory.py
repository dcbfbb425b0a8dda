"""Memory stays flat, however many pictures infer.py reads and however many engines a process makes."""

from __future__ import annotations

import ctypes
import gc
import resource
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cold import infer_peak_bytes
from data.dataset import Mnist
from model.device import choose_device
from model.engine import PaddleEngine
from model.image import network_input
from model.networks import NETWORKS
from model.program import NetworkConfig
from model.recipes import PUBLISHED
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


def test_an_engine_leaves_no_tensors_behind(mnist: Mnist) -> None:
    """Of a batch of 128, one kept 26 MB; the heap of this process keeps what is free, and is asked what is in use."""
    config = NetworkConfig("conv_pool_bn")
    images = network_input(mnist.train_images[:128], NETWORKS["conv_pool_bn"].image)

    def train(engines: int) -> int:
        """Bytes in use after that many engines, one after the other, each of which takes a step and answers."""
        for _ in range(engines):
            engine = PaddleEngine(config, PUBLISHED["conv_pool_bn"], choose_device("cpu"), seed=1)
            engine.train_step(images, mnist.train_labels[:128].astype(np.int64), 1e-3)
            engine.log_probabilities(images)
        del engine
        gc.collect()
        return bytes_in_use()

    before = train(2)
    assert train(4) - before < 30 << 20


def bytes_in_use() -> int:
    """Of the heap and of glibc's mappings (`mallinfo2`); else what the system has given."""
    fields = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
    layout = type("mallinfo2", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in fields]})
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # another C library, or one before 2021
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    ask.restype = layout
    found = ask()
    return int(found.uordblks + found.hblkhd)
