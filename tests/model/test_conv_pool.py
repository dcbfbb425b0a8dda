"""The fused operator is the stock one, only faster: outputs, gradients, ties; and what happens where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paddle import static

from common.errors import UserError
from model.kernels import build
from model.ops.backend import backend, resolve_backend
from model.ops.conv_pool import conv_pool, fused_conv_pool
from tests.conftest import ROOT
from tests.model.operators import assert_close, child, need_fused, parameter, with_gradients

SOURCES = ROOT / "model" / "kernels"
ACTIVATIONS = ["relu", "tanh", "none"]
POOLINGS = ["max", "mean"]
PROGRAMS = ["conv_pool_sanitize", "step_sanitize"]

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler: there is no fused operator")


@pytest.fixture(autouse=True)
def _auto_is_left_to_choose(monkeypatch):
    monkeypatch.delenv("CONV_POOL_KERNEL", raising=False)


@pytest.fixture
def fused() -> None:
    need_fused()


def run(form, arrays, activation="relu", pooling="max", grad_x=True):
    """Output, and gradients of sum(output · grad_out) with respect to x (if asked for), weight and bias."""
    x, weight, bias, grad_out = arrays
    main, startup = static.Program(), static.Program()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        feeds = {"x": x, "grad_out": grad_out}
        image = static.data("x", [None, *x.shape[1:]], "float32")
        image.stop_gradient = not grad_x
        seed = static.data("grad_out", [None, *grad_out.shape[1:]], "float32")
        w, b = parameter(weight, "w"), parameter(bias, "b")
        with backend(form):
            out = conv_pool(image, w, b, activation, pooling)
        fetches = with_gradients(out, seed, [image, w, b] if grad_x else [w, b])
    with static.scope_guard(static.Scope()):
        executor = static.Executor(paddle.CPUPlace())
        executor.run(startup)
        return executor.run(main, feed=feeds, fetch_list=fetches)


def random_arrays(images, channels, height, width, filters, kernel, seed=0, whole_numbers=False):
    rng = np.random.default_rng(seed)
    pooled = [images, filters, (height - kernel + 1) // 2, (width - kernel + 1) // 2]
    shapes = [images, channels, height, width], [filters, channels, kernel, kernel], [filters], pooled
    if whole_numbers:
        return [rng.integers(-2, 3, shape).astype(np.float32) for shape in shapes]
    x, weight, bias, grad_out = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return [x, weight / np.float32(np.sqrt(channels) * kernel), bias, grad_out]


def assert_agree(got, expected, least=1e-3):
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b, least=least)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_stock_form_is_activation_of_convolution_then_pooling(activation, pooling):
    arrays = random_arrays(3, 2, 9, 8, 4, 3)
    x, weight, bias, _ = arrays
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,mcij->nmhw", windows.astype(np.float64), weight) + bias[:, None, None]
    functions: dict[str, Any] = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "none": lambda v: v}
    y = functions[activation](y)
    y = y[:, :, :6, :6].reshape(3, 4, 3, 2, 3, 2)  # the convolution's seventh row belongs to no window
    expected = y.max(axis=(3, 5)) if pooling == "max" else y.mean(axis=(3, 5))
    np.testing.assert_allclose(run("stock", arrays, activation, pooling)[0], expected, atol=1e-5)


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(19, 1, 28, 28, 20, 5), (19, 20, 12, 12, 50, 5), (5, 6, 14, 14, 16, 5)])
def test_fused_agrees_on_the_networks_of_the_project(shape, activation, pooling):
    arrays = random_arrays(*shape)
    for grad_x in (True, False):
        options = {"activation": activation, "pooling": pooling, "grad_x": grad_x}
        assert_agree(run("fused", arrays, **options), run("stock", arrays, **options))


@pytest.mark.usefixtures("fused")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    images=st.integers(1, 35),
    channels=st.integers(1, 20),
    kernel=st.integers(1, 7),
    beyond=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    filters=st.integers(1, 20),
    activation=st.sampled_from(ACTIVATIONS),
    pooling=st.sampled_from(POOLINGS),
)
@example(images=16, channels=1, kernel=5, beyond=(27, 27), filters=6, activation="relu", pooling="max")
@example(images=33, channels=3, kernel=4, beyond=(2, 9), filters=7, activation="tanh", pooling="max")
def test_fused_agrees_on_any_shape(images, channels, kernel, beyond, filters, activation, pooling):
    # Whole numbers are summed exactly: equal sums are equal in both, so ties must be broken alike. Where tanh is steep
    # no more, its gradients are small differences: their rounding is that of numbers of size 1.
    shape = (images, channels, kernel + beyond[0], kernel + beyond[1], filters, kernel)
    arrays = random_arrays(*shape, whole_numbers=True)
    assert_agree(run("fused", arrays, activation, pooling), run("stock", arrays, activation, pooling), least=1)


def test_an_image_too_small_is_an_error_of_one_line():
    with pytest.raises(UserError, match="an image of 3×4 is too small for a kernel of 3×3"):
        run("stock", random_arrays(1, 1, 3, 4, 1, 3))


# Of x, weight and bias: ranks, channels, a kernel that is no square, the number of biases.
UNFIT = {
    "channels": ([2, 64, 12, 12], [8, 32, 5, 5], [8]),
    "square": ([2, 3, 12, 12], [8, 3, 5, 3], [8]),
    "bias": ([2, 3, 12, 12], [8, 3, 5, 5], [7]),
    "rank of x": ([2, 3, 12], [8, 3, 5, 5], [8]),
    "rank of weight": ([2, 3, 12, 12], [8, 75], [8]),
    "rank of bias": ([2, 3, 12, 12], [8, 3, 5, 5], [8, 1]),
}
TOO_SMALL = {"height": ([2, 3, 5, 9], [8, 3, 5, 5], [8]), "width": ([2, 3, 9, 5], [8, 3, 5, 5], [8])}


@pytest.mark.parametrize("form", ["stock", "fused"])
@pytest.mark.parametrize("shapes", UNFIT.values(), ids=UNFIT)
def test_shapes_that_do_not_fit_are_an_error_of_one_line(shapes, form):
    with backend(form), pytest.raises(UserError, match=r"expected x .* got ") as error:
        x, weight, bias = (SimpleNamespace(shape=shape) for shape in shapes)
        conv_pool(x, weight, bias)
    assert str(error.value).endswith(f"got {shapes[0]}, {shapes[1]} and {shapes[2]}")


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("shapes", [*UNFIT.values(), *TOO_SMALL.values()], ids=[*UNFIT, *TOO_SMALL])
def test_the_fused_operator_looks_itself(shapes):
    arrays = {f"v{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    main = static.Program()
    with static.program_guard(main, static.Program()), paddle.utils.unique_name.guard():
        x, weight, bias = (static.data(name, array.shape, "float32") for name, array in arrays.items())
        out = fused_conv_pool(x, weight, bias, "relu", "max")
    with pytest.raises((RuntimeError, OSError, ValueError)):  # as each Paddle has it; 3.3 loses the message
        static.Executor(paddle.CPUPlace()).run(main, feed=arrays, fetch_list=[out])


@pytest.mark.usefixtures("fused")
@pytest.mark.filterwarnings("ignore:The fed Variable")
@pytest.mark.parametrize("grad_x", [True, False])
def test_tensors_that_do_not_fit_reach_no_memory(grad_x):
    """Pictures of other channels or too small, and gradients of another batch, in a program of other shapes."""
    x, weight, bias, seed = random_arrays(4, 2, 8, 8, 3, 3)
    unfit = [(x[:, :1], seed), (x[:, :, :3], seed[:, :, :1]), (x, seed[:2]), (x[:2], seed)]
    main, startup = static.Program(), static.Program()
    with static.program_guard(main, startup), paddle.utils.unique_name.guard():
        image, grad = static.data("x", [None, *x.shape[1:]]), static.data("grad_out", [None, *seed.shape[1:]])
        image.stop_gradient = not grad_x
        w = parameter(weight, "w")
        with backend("fused"):
            out = conv_pool(image, w, parameter(bias, "b"))
        grad_weight = static.gradients([out], [w], target_gradients=[grad])
    with static.scope_guard(static.Scope()):
        executor = static.Executor(paddle.CPUPlace())
        executor.run(startup)
        for pictures, gradients in unfit:
            with pytest.raises((RuntimeError, OSError, ValueError)):  # as each Paddle has it; 3.3 loses the message
                executor.run(main, feed={"x": pictures, "grad_out": gradients}, fetch_list=grad_weight)
        (got,) = executor.run(main, feed={"x": x, "grad_out": seed}, fetch_list=grad_weight)
        np.testing.assert_array_equal(got, run("fused", [x, weight, bias, seed], grad_x=grad_x)[-2])


@pytest.mark.usefixtures("fused")
def test_the_first_of_equal_maxima_gets_the_gradient():
    arrays = [np.zeros((1, 1, 4, 4)), np.ones((1, 1, 1, 1)), np.ones(1), np.ones((1, 1, 2, 2))]
    for form in ("stock", "fused"):
        _, grad_x, _, _ = run(form, [a.astype(np.float32) for a in arrays])
        np.testing.assert_array_equal(grad_x[0, 0], np.tile([[1, 0], [0, 0]], (2, 2)))


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("place", range(4))
def test_a_nan_anywhere_in_a_window_shows(place):
    arrays = random_arrays(2, 1, 3, 3, 2, 2)
    arrays[0][0, 0, place // 2 * 2, place % 2 * 2] = np.nan
    out = run("fused", arrays)[0]
    assert np.isnan(out[0]).all()
    assert np.isfinite(out[1]).all()


@pytest.mark.usefixtures("fused")
def test_twice_is_bit_for_bit_the_same_with_any_number_of_threads(monkeypatch):
    arrays = random_arrays(150, 3, 10, 11, 7, 3)
    results = []
    for threads in (2, 2, 1, 3):
        build.set_threads(threads)
        results.append(run("fused", arrays))
    build.set_threads(None)
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


LIMIT_THREADS = """
import resource, model
from model.kernels import build
from model.kernels.build import load_fused, threads
assert not load_fused()
usual = resource.getrlimit(resource.RLIMIT_AS)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 50 * 2**20, usual[1]))
build.set_threads(200)
few = threads()
resource.setrlimit(resource.RLIMIT_AS, usual)
build.set_threads(100_000)
print(few, threads())
"""


@pytest.mark.usefixtures("fused")
def test_there_are_no_more_threads_than_the_system_gives_nor_than_256():
    few, most = map(int, child(LIMIT_THREADS).split())
    assert 1 <= few < 200
    assert few < most <= 256


PRINT_BACKEND = "from model.ops.backend import resolve_backend; print(resolve_backend('auto', 'cpu'))"


def test_without_compiler_or_cache_the_stock_backend_is_used_and_one_line_says_why(tmp_path):
    out = child(PRINT_BACKEND, PATH="", CONV_POOL_CACHE=str(tmp_path))
    assert out.startswith("('stock', 'stock convolution-pooling operators, not the fused one: ")
    assert out.count("\n") == 1
    assert "no C++ compiler" in out


def test_a_failing_compiler_leaves_nothing_behind(tmp_path):
    compiler = tmp_path / "failing-compiler"
    compiler.write_text("#!/bin/sh\necho 'x.cc:1: error: no such luck' >&2\nexit 3\n")
    compiler.chmod(0o755)
    cache = tmp_path / "cache"
    out = child(PRINT_BACKEND, CXX=str(compiler), CONV_POOL_CACHE=str(cache))
    assert "failed with status 3: x.cc:1: error: no such luck" in out
    assert "'stock'" in out
    assert [path.name for path in cache.iterdir()] == ["lock"]


@needs_compiler
def test_a_cache_folder_that_cannot_be_made_is_a_reason_too(tmp_path):
    (tmp_path / "file").touch()
    out = child(PRINT_BACKEND, CONV_POOL_CACHE=str(tmp_path / "file" / "cache"))
    assert "'stock'" in out
    assert "Not a directory" in out


def cut_off(library):
    os.truncate(library, 300_000)


def alter(library):
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)


def empty(library):
    library.write_bytes(b"")


def make_a_folder_of(library):
    library.unlink()
    library.mkdir()
    (library / "file").touch()


@pytest.fixture
def cache(fused, tmp_path, monkeypatch):
    """A cache folder that holds the library, and a compiler, of two words, that has the library ready."""
    path = build._library(print)
    compiler = tmp_path / "compiler"
    compiler.write_text(f"while [ $1 != -o ]; do shift; done\nexec cp '{path}' $2\n")
    folder = tmp_path / "cache"
    folder.mkdir()
    shutil.copy(path, folder)
    monkeypatch.setenv("CONV_POOL_CACHE", str(folder))
    monkeypatch.setenv("CXX", f"sh '{compiler}'")
    return folder


@pytest.mark.parametrize("damage", [cut_off, alter, empty, make_a_folder_of])
def test_a_damaged_library_is_compiled_again(damage, cache):
    library = build._library(pytest.fail)
    whole = library.read_bytes()
    damage(library)
    lines: list[str] = []
    assert build._library(lines.append) == library
    assert library.read_bytes()[: len(whole)] == whole
    (line,) = lines
    assert line.startswith(
        "compiling the fused convolution-pooling operator, again, for the one in the cache is damaged"
    )
    assert build._library(pytest.fail) == library


def test_a_damaged_library_without_compiler_is_a_reason_for_the_stock_kernel(cache):
    cut_off(build._library(pytest.fail))
    out = child(PRINT_BACKEND, PATH="", CXX="")
    assert out.startswith("('stock', ")
    assert out.count("\n") == 1
    assert "no C++ compiler" in out


def test_what_a_killed_compilation_left_is_removed(cache):
    library = build._library(pytest.fail)
    library.unlink()
    (cache / ".tmp-killed").mkdir()
    (cache / ".tmp-killed" / "step.o").touch()
    build._library(print)
    assert {path.name for path in cache.iterdir()} == {library.name, "lock"}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("missing-compiler -m64", "no C\\+\\+ compiler missing-compiler, which CXX names, on PATH"),
        ("'g++", "CXX: expected a command, got 'g\\+\\+: No closing quotation"),
    ],
)
def test_a_compiler_that_is_not_there_is_named(command, reason, tmp_path, monkeypatch):
    monkeypatch.setenv("CONV_POOL_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", command)
    with pytest.raises(build._BuildError, match=reason):
        build._library(pytest.fail)


def test_a_gpu_uses_the_stock_backend(monkeypatch):
    name, reason = resolve_backend("auto", "gpu")
    assert name == "stock"
    assert "CPU" in reason
    with pytest.raises(UserError, match="--kernel fused"):
        resolve_backend("fused", "gpu")
    assert resolve_backend("stock", "cpu") == ("stock", "")
    monkeypatch.setenv("CONV_POOL_KERNEL", "fused")
    with pytest.raises(UserError, match=r"^CONV_POOL_KERNEL=fused: "):
        resolve_backend("auto", "gpu")


def test_the_environment_says_what_auto_is(monkeypatch):
    monkeypatch.setenv("CONV_POOL_KERNEL", "stock")
    name, reason = resolve_backend("auto", "cpu")
    assert (name, reason.split(": ")[-1]) == ("stock", "CONV_POOL_KERNEL=stock")
    monkeypatch.setenv("CONV_POOL_KERNEL", "fast")
    with pytest.raises(UserError, match="CONV_POOL_KERNEL: expected fused or stock, got fast"):
        resolve_backend("auto", "cpu")


# Each takes 10 s to compile with sanitizers, and all are made of one source.
ISAS = [pytest.param(isa, marks=() if isa == "generic" else pytest.mark.slow) for isa in build.kernel_flags()]


@pytest.fixture(scope="module", params=ISAS)
def sanitized(request, tmp_path_factory):
    """An instruction set, and a folder with the operators' own test programs, in which it has sanitizers."""
    work = tmp_path_factory.mktemp("sanitize")
    plain = ["-std=c++17", "-w", f"-I{SOURCES}"]
    flags = [*plain, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = subprocess.run(
        ["g++", *flags, "-xc++", "-", "-o", str(work / "probe")], input="int main() {}", text=True, capture_output=True
    )
    if probe.returncode != 0:
        pytest.skip("the compiler has no sanitizers")
    sources = ["conv_pool.cc", "thread_pool.cc", "isa.cc", "step.cc"]
    units = [(Path(source).stem, SOURCES / source, flags) for source in sources]
    for name, own in build.kernel_flags().items():
        more = [*(flags if name == request.param else plain), *own]
        units += [(f"{part}_{name}", SOURCES / f"{part}.cc", more) for part in build.VECTOR_SOURCES]
    run_all(["g++", *more, "-c", str(source), "-o", str(work / f"{name}.o")] for name, source, more in units)
    objects = [str(work / f"{name}.o") for name, _, _ in units]
    run_all(
        [
            "g++",
            *flags,
            str(ROOT / "tests" / "model" / f"{program}.cc"),
            *objects,
            "-pthread",
            "-o",
            str(work / program),
        ]
        for program in PROGRAMS
    )
    return request.param, work


def run_all(commands):
    processes = [subprocess.Popen(command) for command in commands]
    statuses = [process.wait() for process in processes]
    assert not any(statuses)


@needs_compiler
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_instruction_set_agrees_with_the_definition_under_sanitizers(sanitized, program):
    isa, folder = sanitized
    environment = {**os.environ, "CONV_POOL_ISA": isa}
    done = subprocess.run([folder / program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if not done.stdout.endswith(f" on {isa}\n"):
        pytest.skip(f"this processor has no {isa}: {done.stdout.strip()}")


@needs_compiler
@pytest.mark.parametrize("compiler", ["a quick one", pytest.param("g++", marks=pytest.mark.slow)])
def test_two_processes_at_once_compile_once(compiler, cache, tmp_path):
    folder = tmp_path / "empty"
    environment = {**os.environ, "GLOG_minloglevel": "2", "CONV_POOL_CACHE": str(folder)}
    if compiler == "g++":
        environment["CXX"] = compiler
    else:
        (tmp_path / "compiler").write_text(f"sleep 1\n{(tmp_path / 'compiler').read_text()}")
    command = [sys.executable, "-W", "ignore", "-c", PRINT_BACKEND]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert all("('fused', '')" in output for output in outputs)
    assert sum("once (about" in output for output in outputs) == 1
    assert len(list(folder.glob("*.so"))) == 1
    assert "compiling" not in child(PRINT_BACKEND, PATH="", CONV_POOL_CACHE=str(folder))
