"""The check of a saved program before Paddle gets it: only what our own exports are made of.

Paddle runs whatever a program contains: operators that read and write files, run Python or never end, and it crashes on
sizes that do not fit. A program is parsed as data here (Paddle's own framework.proto). It must be one block of the
operators below, each with the inputs and outputs that our exports give it. Attributes and sizes must be within bounds,
and the parameters must fill their file to the byte.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from common.errors import UserError, one_line

MAX_PROGRAM_BYTES = 4 << 20  # ours have 9 to 32 thousand
MAX_OPERATORS = 300  # lenet5_1998 has 81
MAX_ELEMENTS = 1 << 26  # of a tensor for one image; a network's largest has 400,000

# Inputs and outputs of each operator by Paddle's names; each takes one variable, but concat's X, which takes many.
OPERATORS: Mapping[str, tuple[set[str], set[str]]] = {
    "feed": ({"X"}, {"Out"}),
    "fetch": ({"X"}, {"Out"}),
    "conv2d": ({"Input", "Filter"}, {"Output"}),
    "depthwise_conv2d": ({"Input", "Filter"}, {"Output"}),
    "pool2d": ({"X"}, {"Out"}),
    "batch_norm": (
        {"X", "Scale", "Bias", "Mean", "Variance"},
        {"Y", "MeanOut", "VarianceOut", "SavedMean", "SavedVariance"},
    ),
    "matmul_v2": ({"X", "Y"}, {"Out"}),
    "elementwise_add": ({"X", "Y"}, {"Out"}),
    "elementwise_mul": ({"X", "Y"}, {"Out"}),
    "elementwise_sub": ({"X", "Y"}, {"Out"}),
    "relu": ({"X"}, {"Out"}),
    "tanh": ({"X"}, {"Out"}),
    "sigmoid": ({"X"}, {"Out"}),
    "square": ({"X"}, {"Out"}),
    "scale": ({"X"}, {"Out"}),
    "softmax": ({"X"}, {"Out"}),
    "reduce_mean": ({"X"}, {"Out"}),
    "reduce_sum": ({"X"}, {"Out"}),
    "reshape2": ({"X"}, {"Out", "XShape"}),
    "transpose2": ({"X"}, {"Out", "XShape"}),
    "flatten_contiguous_range": ({"X"}, {"Out", "XShape"}),
    "slice": ({"Input"}, {"Out"}),
    "gather": ({"X", "Index"}, {"Out"}),
    "concat": ({"X"}, {"Out"}),
    "fill_constant": (set(), {"Out"}),
    "fill_any_like": ({"X"}, {"Out"}),
    "assign_value": (set(), {"Out"}),
}
OPTIONAL = {"XShape"}  # outputs that Paddle 2.6 and 3.3 do not both write

# Lowest and highest value of the attributes that decide on memory and loops; of a list, of each of its values.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "strides": (1, 32),
    "ksize": (1, 32),
    "dilations": (1, 1),
    "groups": (1, 1),
    "paddings": (0, 32),
    "col": (0, 0),
    "axis": (-4, 4),
    "axes": (0, 4),
    "dim": (-4, 4),
    "start_axis": (0, 4),
    "stop_axis": (-1, 4),
    "starts": (0, 1 << 16),
    "ends": (0, 1 << 16),
    "shape": (-1, 1 << 20),
    # Another one makes Paddle 3.3.1 write beyond a tensor's end.
    "elementwise_add.axis": (-1, -1),
    "elementwise_mul.axis": (-1, -1),
    "elementwise_sub.axis": (-1, -1),
}
# Sides of all their tensors: a filter of three ends Paddle 3.3.1 by SIGSEGV.
RANKS: Mapping[str, int] = {"conv2d": 4, "depthwise_conv2d": 4, "pool2d": 4}
ATTRIBUTES: tuple[Callable[[Any], list[Any]], ...] = (  # values by the type's number in framework.proto
    lambda a: [a.i],
    lambda a: [a.f],
    lambda a: [],
    lambda a: list(a.ints),
    lambda a: list(a.floats),
    lambda a: [],
    lambda a: [a.b],
    lambda a: list(a.bools),
)
BLOCK, LONG, BLOCKS, LONGS = 8, 9, 10, 11
DENSE_TENSOR, FEED, FETCH = 7, 9, 10
ELEMENT_BYTES = {0: 1, 2: 4, 3: 8, 5: 4}  # bool, int32, int64, float32


class ProgramError(UserError):
    """A saved program is not one that this project exports."""


def check_program(program: bytes, parameters: bytes, input_name: str, input_shape: list[int]) -> None:
    """Make sure that a saved program is like those that this project exports.

    Args:
        program: contents of `inference.pdmodel`.
        parameters: contents of `inference.pdiparams`.
        input_name: of the picture, by the model's card.
        input_shape: [-1, 1, S, S].

    Raises:
        ProgramError: it is not; in one line, what was expected and found.
    """
    block = _block(program)
    variables = {variable.name: variable for variable in block.vars}
    if len(variables) != len(block.vars):
        raise ProgramError("expected variables of different names, got two of one name")
    for variable in block.vars:
        _check_variable(variable)
    feeds, fetches = _check_flow(block, variables)
    if feeds != [input_name] or len(fetches) != 1:
        raise ProgramError(f"expected one input, {input_name}, and one output, got {len(feeds)} and {len(fetches)}")
    if list(_tensor(variables[input_name]).dims) != input_shape:
        raise ProgramError(f"expected an input of shape {input_shape}, got {list(_tensor(variables[input_name]).dims)}")
    _check_parameters(parameters, variables)


def _check_flow(block: Any, variables: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Names of what the program is fed and of what is fetched from it.

    Raises:
        ProgramError: an operator reads what nothing computed, or writes what is there already.
    """
    known = {name for name, variable in variables.items() if variable.persistable}
    feeds: list[str] = []
    fetches: list[str] = []
    for operator in block.ops:
        inputs, outputs = _check_operator(operator)
        for name in (*inputs, *outputs):
            _check_argument(operator.type, name, variables)
        unknown = [name for name in inputs if name not in known]
        if unknown:
            raise ProgramError(f"operator {operator.type}: {_short(unknown[0])} is used before it is computed")
        kept = {"fetch", *(inputs if operator.type == "batch_norm" else ())}  # its running statistics stay in place
        again = (known - kept) & set(outputs)
        if again or len(set(outputs)) != len(outputs):  # a second writing can end Paddle 3.3.1 by SIGSEGV
            raise ProgramError(f"operator {operator.type}: expected outputs that nothing else wrote")
        known |= set(outputs)
        feeds += outputs if operator.type == "feed" else []
        fetches += inputs if operator.type == "fetch" else []
    return feeds, fetches


def _check_argument(operator: str, name: str, variables: Mapping[str, Any]) -> None:
    if name not in variables:
        raise ProgramError(f"operator {operator}: variable {_short(name)} is not declared")
    rank = len(_tensor(variables[name]).dims)
    if rank != RANKS.get(operator, rank):
        raise ProgramError(f"operator {operator}: expected {RANKS[operator]} sides of {_short(name)}, got {rank}")


def _block(program: bytes) -> Any:
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2

    if len(program) > MAX_PROGRAM_BYTES:
        raise ProgramError(f"expected at most {MAX_PROGRAM_BYTES} bytes, got {len(program)}")
    description = framework_pb2.ProgramDesc()
    try:
        description.ParseFromString(program)
    except DecodeError as error:
        raise ProgramError("expected a program, got bytes that cannot be parsed") from error
    if len(description.blocks) != 1:
        raise ProgramError(f"expected a program of one block, got {len(description.blocks)}: loops and branches")
    (block,) = description.blocks
    if not 0 < len(block.ops) <= MAX_OPERATORS:
        raise ProgramError(f"expected 1 to {MAX_OPERATORS} operators, got {len(block.ops)}")
    return block


def _tensor(variable: Any) -> Any:
    """The description of a variable's tensor; the field has another name in Paddle 2.6."""
    kind = variable.type
    return (kind.dense_tensor if hasattr(kind, "dense_tensor") else kind.lod_tensor).tensor


def _check_variable(variable: Any) -> None:
    name, kind = _short(variable.name), variable.type.type
    if kind in (FEED, FETCH):
        if variable.name not in ("feed", "fetch"):
            raise ProgramError(f"variable {name}: expected a tensor, got a list")
        return
    tensor = _tensor(variable)
    if kind != DENSE_TENSOR or tensor.data_type not in ELEMENT_BYTES:
        raise ProgramError(f"variable {name}: expected a tensor of numbers, got kind {kind}, {tensor.data_type}")
    if len(tensor.dims) > 6 or min(tensor.dims, default=0) < -1 or _elements(tensor) > MAX_ELEMENTS:
        raise ProgramError(f"variable {name}: expected at most {MAX_ELEMENTS} elements, got {list(tensor.dims)[:6]}")


def _elements(tensor: Any) -> int:
    return math.prod(abs(side) for side in tensor.dims)


def _check_operator(operator: Any) -> tuple[list[str], list[str]]:
    """Names of an operator's inputs and outputs.

    Raises:
        ProgramError: it is none of ours, or has other inputs, outputs or attributes.
    """
    if operator.type not in OPERATORS:
        raise ProgramError(f"operator {_short(operator.type)}: not one that this project's networks are made of")
    found = []
    for slots, expected in zip((operator.inputs, operator.outputs), OPERATORS[operator.type], strict=True):
        taken = {slot.parameter: list(slot.arguments) for slot in slots if slot.arguments}
        if not expected - OPTIONAL <= taken.keys() <= expected:
            raise ProgramError(f"operator {operator.type}: expected {sorted(expected)}, got {sorted(taken)[:10]}")
        many = operator.type == "concat" and slots is operator.inputs
        if not many and any(len(names) != 1 for names in taken.values()):
            raise ProgramError(f"operator {operator.type}: expected one variable for each input and output")
        found.append([name for names in taken.values() for name in names])
    for attribute in operator.attrs:
        _check_attribute(operator.type, attribute)
    return found[0], found[1]


def _check_attribute(operator: str, attribute: Any) -> None:
    if attribute.type in (BLOCK, BLOCKS):
        raise ProgramError(f"operator {operator}: expected no block in attribute {_short(attribute.name)}")
    bounds = BOUNDS.get(f"{operator}.{attribute.name}") or BOUNDS.get(attribute.name)
    if bounds is None:
        return
    lowest, highest = bounds
    if attribute.type < len(ATTRIBUTES):
        values = ATTRIBUTES[attribute.type](attribute)
    else:
        values = {LONG: [attribute.l], LONGS: list(attribute.longs)}.get(attribute.type, [math.inf])
    if len(values) > 6 or any(not lowest <= value <= highest for value in values):
        raise ProgramError(f"operator {operator}: expected {attribute.name} of {lowest} to {highest}, got {values[:6]}")
    if attribute.name == "shape" and math.prod(abs(value) for value in values) > MAX_ELEMENTS:
        raise ProgramError(f"operator {operator}: expected at most {MAX_ELEMENTS} elements, got {values}")


def _check_parameters(data: bytes, variables: Mapping[str, Any]) -> None:
    """Compare a file of parameters with their declarations: Paddle reads it by these, in the order of the names."""
    from google.protobuf.message import DecodeError

    names = sorted(name for name, each in variables.items() if each.persistable and each.type.type == DENSE_TENSOR)
    tensors = _tensors(data)
    for name in names:
        declared = _tensor(variables[name])
        try:
            saved = next(tensors, None)
        except (struct.error, DecodeError) as error:
            raise ProgramError(
                f"parameter {_short(name)}: expected a tensor, got bytes that cannot be parsed"
            ) from error
        if saved is None or (saved.data_type, list(saved.dims)) != (declared.data_type, list(declared.dims)):
            got = "the file's end" if saved is None else f"{list(saved.dims)[:6]}"
            raise ProgramError(f"parameter {_short(name)}: expected {list(declared.dims)}, got {got}")
    try:
        left = next(tensors, None)
    except (struct.error, DecodeError):
        left = True
    if left is not None:
        raise ProgramError(f"expected {len(names)} parameters, got more bytes behind them")


def _tensors(data: bytes) -> Iterator[Any]:
    """Descriptions of the tensors of a file that Paddle's save_combine wrote, in their order.

    Each is: version (4 bytes), levels of detail (8 bytes, 0 here), version (4 bytes), length of the description (4
    bytes), description (TensorDesc of framework.proto), values.
    """
    from paddle.base.proto import framework_pb2

    place = 0
    while place < len(data):
        version, levels, inner, length = struct.unpack_from("<IQIi", data, place)
        place += 20
        if version or levels or inner or not 0 <= length <= 1000:
            raise struct.error("no tensor")
        tensor = framework_pb2.VarType.TensorDesc()
        tensor.ParseFromString(data[place : place + length])
        place += length + _elements(tensor) * ELEMENT_BYTES.get(tensor.data_type, len(data))
        if place > len(data) or min(tensor.dims, default=1) < 1:
            raise struct.error("no tensor")
        yield tensor


def _short(name: str) -> str:
    return one_line(name, 60)
