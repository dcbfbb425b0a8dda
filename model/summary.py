"""The layer table of a network, computed from the network itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import paddle
from paddle import nn, static
from rich.console import Console
from rich.table import Table

from common.console import ScriptConsole
from model.networks import NETWORKS, build_network
from model.networks.layers import ConvPool, WholeMapConv
from model.networks.lenet5_1998 import RBF, PartialConv, Subsampling

Shape = Sequence[int]


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        layer: its name in the network, capitalised; what belongs to one convolution-pooling layer shares it.
        kind: what it is.
        maps: feature maps, or units.
        size: side of a map in pixels; 1 for units.
        parameters: numbers that make it up, trainable or fixed; not the running statistics of a batch normalisation.
        fixed: those of them that training leaves alone.
        connections: for each of its units, the inputs and the bias that it reads.
        multiply_adds: multiplications of an input by a parameter, for one image; without biases.
        width: of a map in pixels, if it is not as wide as high.
    """

    layer: str
    kind: str
    maps: int
    size: int
    parameters: int
    fixed: int
    connections: int
    multiply_adds: int
    width: int | None = None

    @property
    def shape(self) -> str:
        """Maps and their size, as printed."""
        width = self.width or self.size
        return f"{self.maps} @ {self.size}×{width}" if max(self.size, width) > 1 else f"{self.maps}"


def layer_table(name: str, options: Mapping[str, Any] | None = None) -> list[LayerRow]:
    """The layers of a network in the order in which an image goes through them.

    The network is built in a static program, and each layer describes itself and the shapes that reached it.

    Args:
        name: a key of `NETWORKS`.
        options: keyword arguments of its class, checked by `check_options`.

    Raises:
        TypeError: the network has a layer that this module does not know.
    """
    paddle.enable_static()
    table: list[LayerRow] = []
    with static.program_guard(static.Program(), static.Program()), paddle.utils.unique_name.guard():
        network = build_network(name, options or {})
        for inner, layer in network.named_sublayers():

            def record(
                layer: nn.Layer, inputs: tuple[paddle.Tensor], output: paddle.Tensor, inner: str = inner
            ) -> None:
                table.extend(rows(layer, inner.capitalize(), tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

            layer.register_forward_post_hook(record)
        network(static.data("image", [None, 1, network.image.size, network.image.size], "float32"))
    return table


@singledispatch
def rows(layer: nn.Layer, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    """The rows of a layer in the summary.

    Args:
        layer: as built.
        name: for the table.
        taken: shape of one image's input to the layer.
        given: shape of its output.
    """
    raise TypeError(f"the layer table knows no {type(layer).__name__}")


@rows.register
def _(layer: ConvPool, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    maps, _, size, _ = layer.weight.shape
    pooling = LayerRow(name, f"{layer.pooling}-pool 2×2", maps, given[1], 0, 0, 4 * math.prod(given), 0)
    return [_shared(layer, name, f"conv {size}×{size}", maps, taken[1] - size + 1), pooling]


@rows.register
def _(layer: PartialConv, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    maps, _, size, _ = layer.dense_shape
    return [_shared(layer, name, f"conv {size}×{size}", maps, taken[1] - size + 1)]


@rows.register
def _(layer: Subsampling, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    # The layer takes the means of 2×2 inputs; a unit reads the four inputs and the bias.
    parameters, fixed = _count(layer)
    units = math.prod(given)
    return [LayerRow(name, "subsampling", given[0], given[1], parameters, fixed, 5 * units, units)]


@rows.register
def _(layer: WholeMapConv, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    maps, _, size, _ = layer.weight.shape
    return [_shared(layer, name, f"conv {size}×{size}", maps, 1)]


@rows.register
def _(layer: nn.Linear, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    return [_shared(layer, name, "full", given[0], 1)]


@rows.register
def _(layer: RBF, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    return [_shared(layer, name, "RBF", given[0], 1)]


@rows.register
def _(layer: nn.BatchNorm2D, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    return [_shared(layer, name, "batch norm", given[0], given[1], given[2])]


@rows.register
def _(layer: nn.Conv2D, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    sides = "×".join(map(str, layer.weight.shape[2:]))
    return [_shared(layer, name, f"conv {sides}", given[0], given[1], given[2])]


@rows.register
def _(layer: nn.MaxPool2D, name: str, taken: Shape, given: Shape) -> list[LayerRow]:
    height, width = layer.ksize
    maps, size, wide = given
    kind, connections = f"max-pool {height}×{width}", height * width * math.prod(given)
    return [LayerRow(name, kind, maps, size, 0, 0, connections, 0, wide)]


def _shared(layer: nn.Layer, name: str, kind: str, maps: int, size: int, width: int | None = None) -> LayerRow:
    """A layer that uses each of its parameters once at every place of its maps."""
    parameters, fixed = _count(layer)
    places = size * (width or size)
    biases = math.prod(layer.bias.shape) if getattr(layer, "bias", None) is not None else 0
    return LayerRow(
        name, kind, maps, size, parameters, fixed, parameters * places, (parameters - biases) * places, width
    )


def _count(layer: nn.Layer) -> tuple[int, int]:
    """Number of parameters of a layer, and of those that are fixed."""
    # Running statistics, which Paddle has among the parameters of a static program, have names such as _mean.
    own = [parameter for inner, parameter in layer.named_parameters() if not inner.startswith("_")]
    fixed = sum(math.prod(parameter.shape) for parameter in own if parameter.stop_gradient)
    return sum(math.prod(parameter.shape) for parameter in own), fixed


def print_summary(name: str, options: Mapping[str, Any] | None = None, console: Console | None = None) -> None:
    """Print the layer table of a network, with its totals.

    Args:
        name: a key of `NETWORKS`.
        options: keyword arguments of its class, checked by `check_options`.
        console: where to; otherwise standard output.
    """
    image = NETWORKS[name].image
    fit = {"none": "", "pad": " (28×28 and background)", "resize": " (28×28 resized)", "row": " of a row"}[image.fit]
    table = Table(
        title=f"{name}: image 1 @ {image.size}×{image.size}{fit}, pixels {image.low:.4g} to {image.high:.4g}",
        title_style="",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_footer=True,
    )
    found = layer_table(name, options)
    table.add_column("layer", footer="total")
    table.add_column("kind")
    table.add_column("maps @ size", justify="right")
    for column in ("parameters", "fixed", "connections", "multiply_adds"):
        total = sum(getattr(row, column) for row in found)
        table.add_column(column.replace("_", "-"), footer=f"{total:,}", justify="right")
    for row in found:
        numbers = row.parameters, row.fixed, row.connections, row.multiply_adds
        table.add_row(row.layer, row.kind, row.shape, *(f"{number:,}" for number in numbers))
    (console or ScriptConsole()).print(table)
