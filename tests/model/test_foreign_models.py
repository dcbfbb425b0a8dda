"""Model folders from strangers: only programs like our own exports reach Paddle, whatever their checksums say."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infer
from model.device import choose_device
from model.engine import Exporter
from model.networks import DIGIT_NETWORKS, NETWORKS
from model.predictor import Predictor
from model.program import NetworkConfig
from model.program_check import ProgramError, check_program
from model.saved_model import ModelError, SavedModel, load_model, read_model
from model.trial import TrialError
from tests.conftest import ROOT
from tests.models import write_model
from tests.scripts.test_old_folders import SAMPLES, run_main
from training.settings import Settings
from training.setup import make_engine


@pytest.fixture(scope="module")
def sound() -> SavedModel:
    return load_model(SAMPLES / "run" / "inference_model")


def parsed(program: bytes) -> Any:
    from paddle.base.proto import framework_pb2

    description = framework_pb2.ProgramDesc()
    description.ParseFromString(program)
    return description


def changed(program: bytes, change: Callable[[Any, Any], None]) -> bytes:
    """A program after `change`, which gets its description and its one block."""
    description = parsed(program)
    change(description, description.blocks[0])
    return bytes(description.SerializeToString())


def check(model: SavedModel, program: bytes | None = None, parameters: bytes | None = None) -> None:
    check_program(
        model.program if program is None else program,
        model.parameters if parameters is None else parameters,
        model.input["name"],
        model.input["shape"],
    )


CHOICES: list[tuple[str, dict[str, Any]]] = [
    *((network, {}) for network in DIGIT_NETWORKS),
    ("conv_pool_bn", {"pooling": "mean", "maps": (3, 4), "kernel_size": 3}),
    ("lenet5_1998", {"squashing": "sigmoid"}),
]


@pytest.mark.parametrize(("network", "options"), CHOICES)
def test_our_own_exports_are_accepted(network: str, options: dict[str, Any]) -> None:
    settings = Settings(network=network, **options)  # type: ignore[arg-type]
    choice = NetworkConfig(network, settings.network_options(), "stock")
    engine = make_engine("paddle", choice, settings.resolved_recipe(), choose_device("cpu"), 1)
    size = NETWORKS[network].image.size
    check_program(*Exporter(choice).files(engine.parameters()), "image", [-1, 1, size, size])


def add_operator(kind: str, **attributes: str) -> Callable[[Any, Any], None]:
    def change(description: Any, block: Any) -> None:
        operator = block.ops.add()
        operator.type = kind
        operator.inputs.add(parameter="X", arguments=[block.vars[0].name])
        operator.outputs.add(parameter="Out", arguments=[block.vars[0].name])
        for name, value in attributes.items():
            operator.attrs.add(name=name, type=2, s=value)

    return change


def add_loop(description: Any, block: Any) -> None:
    inner = description.blocks.add(idx=1, parent_idx=0)
    inner.ops.add(type="relu")
    block.ops.add(type="while").attrs.add(name="sub_block", type=8, block_idx=1)


def set_attribute(operator: str, name: str, *values: int) -> Callable[[Any, Any], None]:
    def change(description: Any, block: Any) -> None:
        attribute = next(each for op in block.ops if op.type == operator for each in op.attrs if each.name == name)
        if attribute.ints:
            del attribute.ints[:]
            attribute.ints.extend(values)
        else:
            attribute.i = values[0]

    return change


def set_shape(kind: str, *sides: int) -> Callable[[Any, Any], None]:
    def change(description: Any, block: Any) -> None:
        variable = next(each for each in block.vars if each.name.startswith(kind))
        tensor = (
            variable.type.dense_tensor if hasattr(variable.type, "dense_tensor") else variable.type.lod_tensor
        ).tensor
        del tensor.dims[:]
        tensor.dims.extend(sides)

    return change


def write_twice(description: Any, block: Any) -> None:
    block.ops.append(next(operator for operator in block.ops if operator.type == "relu"))


def drop_first_operator(description: Any, block: Any) -> None:
    del block.ops[0]


def rename_input(description: Any, block: Any) -> None:
    block.ops[1].inputs[0].arguments[0] = "nowhere"


HOSTILE: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "save": (add_operator("save", file_path="/tmp/written"), "operator save: not one"),
    "py_func": (add_operator("py_func"), "operator py_func: not one"),
    "custom": (add_operator("fused_conv_pool"), "operator fused_conv_pool: not one"),
    "print": (add_operator("print"), "operator print: not one"),
    "loop": (add_loop, "one block, got 2"),
    "stride 0": (set_attribute("conv2d", "strides", 0, 0), "expected strides of 1 to 32"),
    "window 0": (set_attribute("pool2d", "ksize", 0, 0), "expected ksize of 1 to 32"),
    "huge padding": (set_attribute("pool2d", "paddings", 1 << 30, 1 << 30), "expected paddings of 0 to 32"),
    "axis": (set_attribute("elementwise_add", "axis", 2), "expected axis of -1 to -1"),
    "huge variable": (set_shape("conv_pool_0.w_0", 1 << 20, 1 << 20, 5, 5), "elements"),
    "other parameters": (set_shape("conv_pool_0.w_0", 2, 1, 7, 5), "parameter conv_pool_0.w_0"),
    "filter of three sides": (set_shape("conv_pool_0.w_0", 2, 5, 5), "expected 4 sides"),
    "written twice": (write_twice, "nothing else wrote"),
    "no input": (drop_first_operator, "used before it is computed"),
    "undeclared": (rename_input, "is not declared"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_other_programs_are_refused_in_one_line(sound: SavedModel, name: str) -> None:
    change, reason = HOSTILE[name]
    with pytest.raises(ProgramError, match=reason) as refused:
        check(sound, changed(sound.program, change))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x0a\xff\xff\xff\xff\x0f", bytes(5 << 20)])
def test_bytes_that_are_no_program_are_refused(sound: SavedModel, damage: bytes) -> None:
    with pytest.raises(ProgramError):
        check(sound, damage)


def test_a_cut_program_or_file_of_parameters_is_refused(sound: SavedModel) -> None:
    for length in np.random.default_rng(0).integers(0, len(sound.program), 50):
        with pytest.raises(ProgramError):
            check(sound, sound.program[:length])
    for length in np.random.default_rng(1).integers(0, len(sound.parameters), 50):
        with pytest.raises(ProgramError):
            check(sound, parameters=sound.parameters[:length])
    with pytest.raises(ProgramError, match="more bytes"):
        check(sound, parameters=sound.parameters + b"\0")
    with pytest.raises(ProgramError):
        check(sound, parameters=struct.pack("<IQIi", 0, 0, 0, -1) + sound.parameters[20:])


def save(folder: Path, model: SavedModel, program: bytes) -> Path:
    """A model folder with another program, and checksums that fit."""
    write_model(folder, program, model.parameters, model.card, novelty=model.novelty)
    return folder


def test_a_folder_whose_sums_fit_is_refused_and_named(sound: SavedModel, tmp_path: Path) -> None:
    written = tmp_path / "written"
    program = changed(sound.program, add_operator("save", file_path=str(written)))
    folder = save(tmp_path / "model", sound, program)
    with pytest.raises(ModelError, match=r"operator save.*--trust"):
        load_model(folder)
    assert not written.exists() and read_model(folder).program == program


def test_a_trusted_program_is_tried_in_another_process(
    sound: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crashing = save(tmp_path / "crashing", sound, b"garbage")  # which ends Paddle 3.3.1 by SIGSEGV
    with pytest.raises(TrialError) as failed:
        load_model(crashing, trust=True)
    assert "\n" not in str(failed.value) and str(crashing) in str(failed.value)
    sound_folder = save(tmp_path / "sound", sound, sound.program)
    picture = SAMPLES / "pictures" / "two_from_mnist.png"
    assert run_main(infer, monkeypatch, "--trust", "--model-dir", sound_folder, picture) == 0
    assert "two_from_mnist" in capsys.readouterr().out


def test_a_killed_script_leaves_no_trial(tmp_path: Path) -> None:
    """Not even of a program that never ends: here, the import of Paddle does not."""
    (tmp_path / "paddle.py").write_text("import time\ntime.sleep(100)")
    program = "import sys; from pathlib import Path; from model.trial import survive_trial; survive_trial(Path('x'))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    script = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment)
    children, deadline = Path(f"/proc/{script.pid}/task/{script.pid}/children"), time.monotonic() + 60
    while not (begun := children.read_text().split()) or "model.predictor" not in _command(begun[0]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)  # for its first lines
    script.kill()
    script.wait()
    while _command(begun[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    if alive := _command(begun[0]):
        os.kill(int(begun[0]), signal.SIGKILL)
    assert not alive


def _command(process: str) -> str:
    """Command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def test_what_passes_the_check_answers_as_before(sound: SavedModel) -> None:
    answers = Predictor(sound).probabilities(np.zeros((2, 1, 28, 28), np.float32))
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
