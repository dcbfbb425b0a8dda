"""The layer table, computed from the built networks."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from model.device import choose_device
from model.engine import PaddleEngine
from model.networks import NETWORKS
from model.program import NetworkConfig
from model.recipes import PUBLISHED, NetworkName
from model.summary import layer_table, print_summary, rows

# Layer table of lenet5_1998, by its sources (docs/networks.md): maps, size, parameters, connections
LENET5_1998 = {
    "C1": (6, 28, 156, 122_304),
    "S2": (6, 14, 12, 5_880),
    "C3": (16, 10, 1_516, 151_600),
    "S4": (16, 5, 32, 2_000),
    "C5": (120, 1, 48_120, 48_120),
    "F6": (84, 1, 10_164, 10_164),
    "Output": (10, 1, 840, 840),
}


def test_lenet5_1998_is_the_papers_table_to_the_digit() -> None:
    table = layer_table("lenet5_1998")
    assert {row.layer: (row.maps, row.size, row.parameters, row.connections) for row in table} == LENET5_1998
    assert [row.layer for row in table] == list(LENET5_1998)
    assert sum(row.parameters for row in table) == 60_840
    assert sum(row.fixed for row in table) == 840
    assert sum(row.connections for row in table) == 340_908


def test_trainable_bitmaps_are_not_fixed() -> None:
    assert sum(row.fixed for row in layer_table("lenet5_1998", {"train_rbf": True})) == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_accounts_for_every_parameter_of_the_trained_program(name: NetworkName) -> None:
    engine = PaddleEngine(NetworkConfig(name), PUBLISHED[name], choose_device("cpu"), 1)
    table = layer_table(name)
    assert sum(row.parameters - row.fixed for row in table) == engine.training.trainable
    statistics = sum(v.size for n, v in engine.parameters().items() if n.endswith(("_mean", "_variance")))
    assert sum(row.parameters for row in table) == sum(v.size for v in engine.parameters().values()) - statistics


def test_a_convolution_pooling_layer_by_hand() -> None:
    """20 maps of 24×24 from 5×5 kernels on one map, and their pooling to 12×12."""
    conv, pool, *_ = layer_table("conv_pool_bn")
    assert (conv.maps, conv.size, conv.parameters) == (20, 24, 520)
    assert conv.connections == 520 * 24 * 24 and conv.multiply_adds == 500 * 24 * 24
    assert (pool.kind, pool.maps, pool.size, pool.parameters) == ("max-pool 2×2", 20, 12, 0)
    assert pool.connections == 20 * 12 * 12 * 4 and pool.multiply_adds == 0


def test_multiply_adds_leave_the_biases_out() -> None:
    """Batch norm multiplies each of 20 · 12 · 12 values once; 84 · 120 products make F6."""
    by_layer = {row.layer: row for row in layer_table("conv_pool_bn")}
    assert by_layer["Norm"].multiply_adds == 20 * 12 * 12 and by_layer["Norm"].parameters == 40
    by_layer = {row.layer: row for row in layer_table("lenet5_1998")}
    assert by_layer["F6"].multiply_adds == 84 * 120
    assert by_layer["C3"].multiply_adds == 1_500 * 10 * 10
    assert by_layer["S2"].multiply_adds == 6 * 14 * 14


def test_options_reach_the_table() -> None:
    first, _, second, output = [
        row for row in layer_table("conv_pool_bn", {"maps": (4, 6), "kernel_size": (7, 3)}) if row.parameters
    ]
    assert (first.kind, first.maps, first.size) == ("conv 7×7", 4, 22)
    assert (second.kind, second.maps, second.size) == ("conv 3×3", 6, 9)
    assert output.parameters == 6 * 4 * 4 * 10 + 10
    assert layer_table("conv_pool_bn", {"pooling": "mean"})[1].kind == "mean-pool 2×2"


def test_a_layer_that_is_not_known_is_not_passed_over() -> None:
    from paddle import nn

    with pytest.raises(TypeError, match="Dropout"):
        rows(nn.Dropout(), "Drop", (1,), (1,))


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_printed_whole_on_80_columns(name: str) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_summary(name, console=console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith(f"{name}: image 1 @ ")
    assert len(lines) == 3 + len(layer_table(name)) and not any("…" in line for line in lines)


def test_totals_are_printed() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_summary("lenet5_1998", console=console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[-1].split() == ["total", "60,840", "840", "340,908", "328,096"]
