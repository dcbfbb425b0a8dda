"""An operator of this project's C++ library in a static program, under both representations of programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import paddle
from paddle.base.layer_helper import LayerHelper

Variable: TypeAlias = Any  # a paddle.Tensor, or a sequence of them

# Paddle 2.6 has the first only, and knows only programs of the old representation.
_in_new_representation = getattr(paddle.framework, "in_pir_mode", lambda: False)


def fused_op(
    name: str,
    inputs: Mapping[str, Variable],
    outputs: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    in_place: Sequence[str] = (),
) -> list[paddle.Tensor]:
    """Append an operator to the program that is being built; model/kernels/build.py must have loaded the library.

    Args:
        name: as in PD_BUILD_OP.
        inputs: by their names there, in that order; a sequence for a Vec.
        outputs: the types of those that are new, "float32" for one that gradients flow through.
        attributes: by their names, in that order.
        in_place: inputs that the operator changes; the output that is such an input has its name and "Out".

    Returns:
        The new outputs.
    """
    attributes, outputs = attributes or {}, outputs or {}
    if _in_new_representation():
        made = paddle._C_ops._run_custom_op(name, *map(_listed, inputs.values()), *attributes.values())
        return list(made[: len(outputs)]) if isinstance(made, (list, tuple)) else [made][: len(outputs)]
    helper = LayerHelper(name)
    new = {
        output: helper.create_variable_for_type_inference(dtype, stop_gradient=dtype != "float32")
        for output, dtype in outputs.items()
    }
    changed = {_key(f"{put}Out", inputs[put]): inputs[put] for put in in_place}
    helper.append_op(
        type=name,
        inputs={_key(put, variable): variable for put, variable in inputs.items()},
        outputs={**new, **changed},
        attrs=dict(attributes),
    )
    return list(new.values())


def _key(name: str, variable: Variable) -> str:
    return name if isinstance(variable, paddle.static.Variable) else f"{name}@VECTOR"


def _listed(variable: Variable) -> Any:
    return list(variable) if isinstance(variable, (list, tuple)) else variable
