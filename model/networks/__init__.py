"""The networks of the literature, one file each.

A new one needs its file here, an entry in `NETWORKS`, and its name and settings in `model/recipes.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from common.errors import UsageError
from model.image import ImageSpec
from model.networks.conv_pool_bn import ConvPoolBN
from model.networks.layers import KernelSize, pooled_twice, two_sizes
from model.networks.lenet5_1998 import LeNet51998
from model.networks.lenet5_numpy import LeNet5NumPy
from model.networks.lenet5_relu import LeNet5ReLU
from model.networks.lenet_row import LeNetRow
from model.networks.lenet_tanh import LeNetTanh
from model.networks.network import Network
from model.networks.two_branch import TwoBranch

NETWORKS: dict[str, type[Network]] = {
    "conv_pool_bn": ConvPoolBN,
    "lenet5_1998": LeNet51998,
    "two_branch": TwoBranch,
    "lenet5_relu": LeNet5ReLU,
    "lenet_tanh": LeNetTanh,
    "lenet5_numpy": LeNet5NumPy,
    "lenet_row": LeNetRow,
}

DIGIT_NETWORKS = [name for name, network in NETWORKS.items() if not network.image.is_row]  # others read rows

MOST_MAPS = 1024  # in a layer; two such layers have 27 million parameters, and a batch of 128 takes a gigabyte


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the network does not have, and sizes that leave no pixel.

    Raises:
        UsageError: naming the option, what was expected and what was given.
    """
    if name not in NETWORKS:
        raise UsageError(f"--network {name}: expected one of {', '.join(NETWORKS)}")
    known = inspect.signature(NETWORKS[name]).parameters
    for option in options:
        if option == "classes" and option not in known:
            raise UsageError(
                f"--network {name}: its bitmaps exist for the ten digits, and the data has {options[option]} classes; "
                "take another network"
            )
        if option not in known:
            raise UsageError(f"--{option.replace('_', '-')}: the network {name} has no such option")
    maps = options.get("maps")
    if maps is not None:
        expected = len(known["maps"].default)
        if len(maps) != expected or not all(1 <= count <= MOST_MAPS for count in maps):
            wanted = f"{expected} numbers of at least 1, at most {MOST_MAPS}"
            raise UsageError(f"--maps {' '.join(map(str, maps))}: expected {wanted}")
    if options.get("kernel_size") is not None:
        _check_kernel_size(NETWORKS[name].image.size, options["kernel_size"])


def _check_kernel_size(image_size: int, kernel_size: KernelSize) -> None:
    """Two convolutions without padding and two halvings must leave at least one pixel."""
    sizes = two_sizes(kernel_size)
    if min(sizes) >= 1 and pooled_twice(image_size, sizes) >= 1:
        return
    largest = max(size for size in range(1, image_size) if pooled_twice(image_size, size) >= 1)
    shown = " ".join(map(str, sizes if isinstance(kernel_size, tuple) else [kernel_size]))
    raise UsageError(f"--kernel-size {shown}: expected 1 to {largest}, or two sizes such as 7 3 that leave a pixel")


def with_classes(options: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The options of a network for that many classes; for ten digits `options` itself, as models have always had it."""
    return {**options} if classes == Network.classes else {**options, "classes": classes}


def build_network(name: str, options: Mapping[str, Any]) -> Network:
    """Create the layers of a network inside the current program guard.

    Args:
        name: a key of `NETWORKS`.
        options: keyword arguments of the network's class, checked by `check_options`.
    """
    return NETWORKS[name](**options)


__all__ = [
    "DIGIT_NETWORKS",
    "NETWORKS",
    "ImageSpec",
    "Network",
    "build_network",
    "check_options",
    "with_classes",
]
