"""The networks of the literature, one file each; `NETWORKS` is what `--network` chooses from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from common.errors import UsageError
from model.networks.conv_pool_bn import ConvPoolBN
from model.networks.network import ImageSpec, Kernel, Network

NETWORKS: dict[str, type[Network]] = {
    "conv_pool_bn": ConvPoolBN,
}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the network does not have, and sizes that leave no pixel.

    Raises:
        UsageError: naming the option, what was expected and what was given.
    """
    if name not in NETWORKS:
        raise UsageError(f"--network {name}: expected one of {', '.join(NETWORKS)}")
    known = inspect.signature(NETWORKS[name]).parameters
    for option in options:
        if option not in known:
            raise UsageError(f"--{option.replace('_', '-')}: the network {name} has no such option")
    maps = options.get("maps")
    if maps is not None:
        expected = len(known["maps"].default)
        if len(maps) != expected or min(maps) < 1:
            raise UsageError(f"--maps {' '.join(map(str, maps))}: expected {expected} numbers of at least 1")
    size = options.get("kernel_size")
    # Two valid convolutions and two halvings must leave at least one pixel: 28 → 9 fits (28-8)/2 = 10, (10-8)/2 = 1.
    if size is not None and not 1 <= size <= _largest_kernel(NETWORKS[name].image.size):
        raise UsageError(f"--kernel-size {size}: expected 1 to {_largest_kernel(NETWORKS[name].image.size)}")


def _largest_kernel(image_size: int) -> int:
    """The largest kernel side with which two convolution-pooling layers leave at least one pixel."""
    return max(k for k in range(1, image_size) if ((image_size - k + 1) // 2 - k + 1) // 2 >= 1)


def build_network(name: str, options: Mapping[str, Any], kernel: Kernel) -> Network:
    """Create the layers of a network inside the current program guard.

    Args:
        name: a key of `NETWORKS`.
        options: keyword arguments of the network's class, checked by `check_options`.
        kernel: which implementation of convolution-pooling the layers use.
    """
    return NETWORKS[name](**options, kernel=kernel)


__all__ = ["NETWORKS", "ImageSpec", "Kernel", "Network", "build_network", "check_options"]
