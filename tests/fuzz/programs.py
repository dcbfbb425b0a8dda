"""Fuzz the check of saved programs: what it accepts must neither crash nor hang Paddle.

    python tests/fuzz/programs.py [--runs 50000] [--seed 1]

Half of the programs are changed as bytes, half in their structure: shapes, attributes, operators, and which variable
goes where. Each one that the check accepts answers for noise in a process of its own. Whatever crashes that process, or
takes longer than `SECONDS` of processor time, is kept in tests/fuzz/found/.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import model  # noqa: E402  before Paddle
from model.device import choose_device  # noqa: E402
from model.engine import Exporter, PaddleEngine  # noqa: E402
from model.networks import NETWORKS  # noqa: E402
from model.predictor import Predictor  # noqa: E402
from model.program import NetworkConfig  # noqa: E402
from model.program_check import ProgramError, _tensor, check_program  # noqa: E402
from model.recipes import Recipe  # noqa: E402
from model.saved_model import SavedModel  # noqa: E402
from tests.fuzz.mutate import mutations  # noqa: E402

assert model
SECONDS = 20  # an answer takes hundredths
FOUND = ROOT / "tests" / "fuzz" / "found"
SIDES = (1, 2, 3, 7, 10, 50, 100, 1000)
VALUES = (-4, -1, 0, 1, 2, 3, 4, 5, 28, 32, 100)
UNARY = ("relu", "tanh", "square", "scale", "softmax", "sigmoid")
DENSE_TENSOR, INT, FLOAT, STRING, INTS, BOOLEAN = 7, 0, 1, 2, 3, 6  # numbers of types in framework.proto


def exported() -> list[SavedModel]:
    """A model of each network, untrained."""
    import paddle

    paddle.enable_static()
    models = []
    for name, network in NETWORKS.items():
        config, spec = NetworkConfig(name, {}, "stock"), network.image
        engine = PaddleEngine(config, Recipe(), choose_device("cpu"), seed=1)
        picture = {"name": "image", "shape": spec.shape, "low": spec.low, "high": spec.high, "fit": spec.fit}
        card = {"input": picture, "labels": [str(digit) for digit in range(10)]}
        models.append(SavedModel(Path(name), card, *Exporter(config).files(engine.parameters())))
    return models


def change_shape(block: Any, chance: random.Random) -> bool:
    """Another side, or a side more or less; the parameters are to be written anew."""
    variable = chance.choice([each for each in block.vars if each.type.type == DENSE_TENSOR])
    sides = _tensor(variable).dims
    how = chance.randrange(3)
    if how == 0 and len(sides) > 1:
        del sides[-1]
    elif how == 1 or not len(sides):
        sides.append(chance.choice((1, 2, 5)))
    else:
        sides[chance.randrange(len(sides))] = chance.choice(SIDES)
    return True


def change_attribute(block: Any, chance: random.Random) -> bool:
    """Another value, or one more or less in a list."""
    attributes = chance.choice(block.ops).attrs
    if not len(attributes):
        return False
    attribute = chance.choice(attributes)
    if attribute.type == INT:
        attribute.i = chance.choice(VALUES)
    elif attribute.type == FLOAT:
        attribute.f = chance.choice((0.0, -1.0, 1e30, float("nan")))
    elif attribute.type == STRING:
        attribute.s = chance.choice(("NHWC", "SAME", "VALID", "max", "avg", "", "AnyLayout"))
    elif attribute.type == BOOLEAN:
        attribute.b = not attribute.b
    elif attribute.type == INTS and len(attribute.ints):
        how = chance.randrange(3)
        if how == 0:
            del attribute.ints[-1]
        elif how == 1:
            attribute.ints.append(chance.choice((0, 1, 2)))
        else:
            attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(VALUES)
    return False


def change_operator(block: Any, chance: random.Random) -> bool:
    """Another kind, another place, or none."""
    number, how = chance.randrange(len(block.ops)), chance.randrange(3)
    if how == 0:
        del block.ops[number]
    elif how == 1 and block.ops[number].type in UNARY:
        block.ops[number].type = chance.choice(UNARY)
    elif how == 2 and number:
        before = type(block.ops[number])()
        before.CopyFrom(block.ops[number - 1])
        block.ops[number - 1].CopyFrom(block.ops[number])
        block.ops[number].CopyFrom(before)
    return False


def change_flow(block: Any, chance: random.Random) -> bool:
    """Another variable as input or output, or as the one that is fetched."""
    operator = chance.choice(block.ops)
    slots = [slot for slot in (*operator.inputs, *operator.outputs) if slot.arguments]
    if slots:
        chance.choice(slots).arguments[0] = chance.choice(block.vars).name
    return False


def change_type(block: Any, chance: random.Random) -> bool:
    """Another type of a variable's elements, or a parameter that is none."""
    variable = chance.choice([each for each in block.vars if each.type.type == DENSE_TENSOR])
    if chance.random() < 0.7:
        _tensor(variable).data_type = chance.choice((0, 2, 3, 5))
    else:
        variable.persistable = not variable.persistable
    return True


CHANGES: tuple[Callable[[Any, random.Random], bool], ...] = (
    change_shape,
    change_attribute,
    change_attribute,
    change_operator,
    change_flow,
    change_type,
)


def restructured(one: SavedModel, chance: random.Random) -> SavedModel:
    """The model with one to three changes of its program's structure, and parameters that fit."""
    from paddle.base.proto import framework_pb2  # not above, where it would come before `model`

    description = framework_pb2.ProgramDesc()
    description.ParseFromString(one.program)
    (block,) = description.blocks
    changed = [chance.choice(CHANGES)(block, chance) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    parameters = parameters_of(block) if any(changed) else one.parameters
    return replace(one, program=description.SerializeToString(), parameters=parameters)


def parameters_of(block: Any) -> bytes:
    """A file of noise for the parameters that a program declares; see `model.program_check._tensors`."""
    data, noise = b"", np.random.default_rng(0)
    declared = [each for each in block.vars if each.persistable and each.type.type == DENSE_TENSOR]
    for variable in sorted(declared, key=lambda each: each.name):
        tensor = _tensor(variable)
        sides = [abs(side) for side in tensor.dims]
        if np.prod([*sides, 1.0]) > 1 << 22:
            return data
        described = tensor.SerializeToString()
        kind = {0: "?", 2: "<i4", 3: "<i8"}.get(tensor.data_type, "<f4")
        values = noise.normal(0, 0.1 if kind == "<f4" else 3, sides).astype(kind)
        data += struct.pack("<IQIi", 0, 0, 0, len(described)) + described + values.tobytes()
    return data


def outcome(one: SavedModel) -> str:
    """What becomes of a program: refused; or in Paddle an answer, an error, or the signal that ended it."""
    try:
        check_program(one.program, one.parameters, one.input["name"], one.input["shape"])
    except ProgramError:
        return "refused"
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            sides = [64 if side < 0 else side for side in one.input["shape"][1:]]
            Predictor(one).probabilities(np.random.default_rng(0).random((3, *sides), np.float32))
        except BaseException:  # Paddle's own errors are of many kinds
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return {0: "an answer", 1: "an error"}.get(status) or signal.Signals(-status).name


def main() -> int:
    """Fuzz; 1 if a program crashed or hung Paddle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with ProcessPoolExecutor(1, get_context("fork")) as other:  # what runs Paddle has threads, and none may fork
        models = other.submit(exported).result()
    chance, counts = random.Random(options.seed), Counter[str]()
    bytes_of = {one.folder.name: mutations([one.program], options.runs + 1, options.seed) for one in models}
    wrong, slowest, began = 0, 0.0, time.monotonic()
    for number in range(options.runs):
        one = chance.choice(models)
        one = restructured(one, chance) if number % 2 else replace(one, program=next(bytes_of[one.folder.name]))
        started = time.process_time()
        found = outcome(one)
        slowest = max(slowest, time.process_time() - started)
        counts[found] += 1
        if found.startswith("SIG"):
            wrong += 1
            FOUND.mkdir(exist_ok=True)
            name = f"{one.folder.name}-{options.seed}-{number}-{found}"
            (FOUND / f"{name}.pdmodel").write_bytes(one.program)
            (FOUND / f"{name}.pdiparams").write_bytes(one.parameters)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(
        f"{options.runs:,} programs: {dict(counts.most_common())}; crashed or hung: {wrong}; slowest check "
        f"{1000 * slowest:.0f} ms of processor time, largest process {children} MB; {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
