"""`with backend("fused"):` chooses the operators of what is built inside it, and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import paddle
import pytest

from common.errors import UserError
from model.networks import NETWORKS
from model.ops.backend import backend, is_fused
from model.program import NetworkConfig, Program, evaluation_program, inference_program, layers_program
from tests.model.operators import need_fused


def test_blocks_nest_and_an_error_ends_them() -> None:
    need_fused()
    assert not is_fused()
    with pytest.raises(ZeroDivisionError), backend("fused"):
        with backend("stock"):
            assert not is_fused()
        assert is_fused()
        raise ZeroDivisionError
    assert not is_fused()


def test_operators_that_cannot_be_had_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paddle would end the process when the first of them is built."""
    monkeypatch.setattr("model.ops.backend.load_fused", lambda: "there is no compiler")
    with pytest.raises(UserError, match="there is no compiler"), backend("fused"):
        pass
    assert not is_fused()


def fused_operators(program: Program) -> list[str]:
    return [operator for operator in str(program.main).split() if "fused_conv_pool" in operator]


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_programs_are_stock_inside_any_block(name: Any) -> None:
    """The evaluation program has the config's backend; what is saved or shown has stock operators."""
    need_fused()
    paddle.enable_static()
    fused = NetworkConfig(name, backend="fused")
    assert fused_operators(evaluation_program(fused))
    with backend("fused"):
        assert not fused_operators(evaluation_program(replace(fused, backend="stock")))
        assert not fused_operators(inference_program(fused)) and not fused_operators(layers_program(fused))
