"""The competitors' half of the conversation with the driver: one JSON object a line, each way.

Requests come on standard input, answers go to a pipe of their own, so that what a library prints is no answer. The
competitor first states facts about itself. Then, for each request {"batch": 128, "steps": 40}, it does 40 steps of
128 images each and answers {"seconds": …, "value": …}. Only the steps are timed; the images are made before.
`value` (a loss, a probability) is how the driver sees that all competitors compute the same.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Batch = tuple[Floats, npt.NDArray[np.int64]]

PADDLE = ("paddlepaddle", "paddlepaddle-gpu")  # the two packages that may bring it

OPTIONS = "COMPETITOR_OPTIONS"  # the environment variable that holds them, as JSON
options: dict[str, Any] = json.loads(os.environ.get(OPTIONS, "{}"))


def serve(run: Callable[[Any], float], prepare: Callable[..., Any], **facts: Any) -> None:
    """Answer requests until the driver closes the pipe.

    Args:
        run: does the work on what `prepare` made, to the end, and returns the value.
        prepare: takes a request's fields; it is not timed.
        facts: what the driver should know, such as versions.
    """
    with os.fdopen(options["reply_to"], "w", buffering=1) as replies:
        print(json.dumps(facts), file=replies)
        for line in sys.stdin:
            material = prepare(**json.loads(line))
            start = time.perf_counter()
            value = run(material)
            seconds = time.perf_counter() - start
            print(json.dumps({"seconds": seconds, "value": float(value)}), file=replies)


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed, for the facts."""
    found = {distribution.name: distribution.version for distribution in metadata.distributions()}
    return {package: found[package] for package in packages if package in found}


class Batches:
    """Endless batches in file order: images [batch, 1, size, size] float32, labels [batch] int64.

    They are read from the driver's two raw files as they are asked for, so that the data set does not count as memory.
    """

    def __init__(self) -> None:
        self.shape = (1, options["size"], options["size"])
        self.count = os.path.getsize(options["labels"]) // 8  # noqa: PTH202
        self.position = 0

    def __call__(self, batch: int, steps: int) -> list[Batch]:
        """The next `steps` batches."""
        return [self._next(batch) for _ in range(steps)]

    def _next(self, batch: int) -> Batch:
        if self.position + batch > self.count:
            self.position = 0
        first, self.position = self.position, self.position + batch
        pixels = int(np.prod(self.shape))
        images = np.fromfile(options["images"], np.float32, batch * pixels, offset=first * pixels * 4)
        labels = np.fromfile(options["labels"], np.int64, batch, offset=first * 8)
        return images.reshape(batch, *self.shape), labels


def pieces(images: Floats) -> list[Floats]:
    """A batch cut into as many images at a time as the option `at_a_time` gives; without it, whole."""
    size = options.get("at_a_time", len(images))
    return [images[start : start + size] for start in range(0, len(images), size)]


def initial(name: str, shape: tuple[int, ...]) -> Floats:
    """The initial value of a parameter, the same in every competitor: around 1 for scales and variances, else around 0.

    Args:
        name: as in the project's network ("conv1.weight", "norm._mean").
        shape: as there; matrices of fully connected layers are [inputs, outputs].
    """
    noise = np.random.default_rng(zlib.crc32(name.encode())).uniform(-0.1, 0.1, shape)
    around_one = name.endswith(("variance", "coefficient")) or (name.endswith("weight") and len(shape) == 1)
    return (noise + around_one).astype(np.float32)
