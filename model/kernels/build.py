"""From the C++ files beside this one to an operator that this process's Paddle knows: compiled once, then cached."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import paddle
import platformdirs

from common.errors import one_line
from common.files import open_own, real_path, remove_leftovers, sha256, user_path, write_file

Report = Callable[[str], object]
CACHE_VARIABLE = "CONV_POOL_CACHE"

_SOURCES = Path(__file__).parent
_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-w"]
# Sources that are compiled once per instruction set. The library chooses among these when it runs, so that a cache
# folder shared by different machines is right for each.
VECTOR_SOURCES = ("conv_pool_forward", "conv_pool_backward", "matrix", "loops")
_VECTOR_FLAGS = ["-fno-math-errno"]  # else no square root in vectors
_KERNEL_FLAGS = {
    "x86_64": {
        "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"],
        "avx2": ["-mavx2", "-mfma"],
        "generic": [],
    },
}
_USUAL_SECONDS = 10
_LONGEST_SECONDS = 600
_WORK_PREFIX = ".tmp-"


class _BuildError(Exception):
    """The operator cannot be built; the message is the reason, in one line."""


# Of this process's first load_fused(): Paddle refuses to register an operator twice.
_outcome: str | None = None
_loaded: ctypes.CDLL | None = None


def load_fused(report: Report = print) -> str:
    """Make the fused operator known to this process's Paddle; compile it first if the cache does not hold it.

    Args:
        report: is called with one line before a compilation starts.

    Returns:
        Empty if `model.ops.backend.backend("fused")` works from now on, else the reason why not, in one line.
    """
    global _outcome, _loaded
    if _outcome is None:
        try:
            _loaded = _load(_cache_folder(), report)
            _outcome = ""
        except _BuildError as error:
            _outcome = str(error)
        except OSError as error:
            where = one_line(error.filename or "its cache")
            _outcome = f"{where}: {error.strerror or one_line(error)}; name a folder for it with {CACHE_VARIABLE}"
    return _outcome


def set_threads(threads: int | None) -> None:
    """Set the thread count of the fused operators; None uses every processor that this process may use.

    `load_fused` must have succeeded. The environment variable CONV_POOL_THREADS sets the number from the start.
    There are never more than 256, nor than the system gives. Results do not depend on it, not by a bit.
    """
    _library_of_process().conv_pool_set_threads(threads or 0)


def threads() -> int:
    """Number of threads of a fused operator; `load_fused` must have succeeded."""
    return int(_library_of_process().conv_pool_threads())


def _library_of_process() -> ctypes.CDLL:
    if _loaded is None:
        raise RuntimeError("the fused operator is not loaded")
    return _loaded


def instruction_set() -> str:
    """Instruction set of the fused operators here: "avx512", "avx2" or "generic"; `load_fused` must have succeeded."""
    library = _library_of_process()
    library.conv_pool_isa.restype = ctypes.c_char_p
    return str(library.conv_pool_isa().decode())


def kernel_flags() -> dict[str, list[str]]:
    """For each instruction set that is compiled on this machine, the compiler's flags."""
    return _KERNEL_FLAGS.get(platform.machine(), {"generic": []})


def _register(path: Path) -> None:
    from paddle.utils.cpp_extension.extension_utils import load_op_meta_info_and_register_op

    try:
        load_op_meta_info_and_register_op(str(path))
    except RuntimeError as error:
        raise _BuildError(f"Paddle {paddle.__version__} does not load {path}: {one_line(error)}") from error


def _cache_folder() -> Path:
    """The folder that the environment names, which stays as it is, or the project's own, made this user's alone."""
    if named := os.environ.get(CACHE_VARIABLE):
        return user_path(named)
    folder = platformdirs.user_cache_path("lenet5-paddle") / "conv_pool"
    with suppress(OSError):  # then `_load` reports why
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # Releases before 0.2 made it as the umask allowed: 0775 with 002. A library there that only this user could
            # write is sound all the same; `_is_sound` refuses any other, since its sum is in it, for anyone to forge.
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)
    return folder


def _load(folder: Path, report: Report) -> ctypes.CDLL:
    """Load the compiled operator from the cache; from a folder of this process's own if others could change it there.

    Whoever can write the library, or any folder that it is in, decides what this process runs.
    """
    with ExitStack() as stack:
        if why := _not_ours_alone(folder):
            private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conv_pool-")))
            report(
                f"{one_line(folder)}: {why}: nothing is loaded from it; chmod 700 it, or name another "
                f"folder with {CACHE_VARIABLE}; compiling for this process alone"
            )
            folder = private
        path = _library(report, folder)
        _register(path)
        return ctypes.CDLL(str(path))


def _not_ours_alone(path: Path) -> str:
    """Why others than this user could change a file or folder, in words; empty if they cannot, or nothing is there."""
    if not path.exists():
        return ""
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        return "it belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others can write it"
    for above in real_path(path).parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:  # in a sticky one, such as /tmp, nobody renames another's
            return f"others can write {one_line(above)}"
    return ""


def _library(report: Report, folder: Path | None = None) -> Path:
    """The compiled operator, from the cache or new. Processes that need it at the same time compile it once."""
    if sys.platform != "linux":
        raise _BuildError(f"it is made for Linux, not for {sys.platform}")
    folder = folder or _cache_folder()
    path = folder / f"conv_pool-{_digest()}.so"
    if _is_sound(path):
        return path
    compiler = _compiler()
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    with _only_one(folder / "lock", report):
        if not _is_sound(path):
            fault = "not this user's alone" if _not_ours_alone(path) else "damaged"
            once = f"again, for the one in the cache is {fault}" if path.exists() else "once"
            command = one_line(shlex.join(compiler))
            report(f"compiling the fused convolution-pooling operator, {once} (about {_USUAL_SECONDS} s): {command}")
            _remove_remains(folder)
            with tempfile.TemporaryDirectory(dir=folder, prefix=_WORK_PREFIX) as work:
                library = _compile(compiler, Path(work)).read_bytes()
            if path.is_dir():
                shutil.rmtree(path)
            write_file(path, library + sha256(library).encode(), mode=0o600)
    return path


def _is_sound(path: Path) -> bool:
    """True if a library is this user's alone and ends with the SHA-256 of its contents, as `_library` wrote it.

    Loaders ignore that end. Of a library that was cut off, the system ends the process that loads it (SIGBUS); one with
    a changed byte may compute anything.
    """
    if not path.is_file() or path.is_symlink() or _not_ours_alone(path):
        return False
    data = path.read_bytes()
    return data[-64:] == sha256(data[:-64]).encode()


def _compiler() -> list[str]:
    """The command that CXX of the environment names, such as "ccache g++", or g++."""
    variable = os.environ.get("CXX", "")
    try:
        command = shlex.split(variable) or ["g++"]
    except ValueError as error:
        raise _BuildError(f"CXX: expected a command, got {one_line(variable, 80)}: {error}") from error
    program = shutil.which(command[0])
    if program is None:
        named = f"{one_line(command[0], 80)}, which CXX names," if variable else "g++"
        raise _BuildError(f"it must be compiled first, and there is no C++ compiler {named} on PATH; install one")
    return [program, *command[1:]]


def _remove_remains(folder: Path) -> None:
    """Remove what killed compilations left; the caller holds the lock, so no other compilation is at work."""
    remove_leftovers(folder)
    for work in folder.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(work, ignore_errors=True)


def _digest() -> str:
    """Digest of everything that the library depends on, but for the compiler: a library in the cache needs none."""
    digest = hashlib.sha256()
    for part in (
        paddle.version.full_version,
        paddle.version.commit,
        platform.machine(),
        _FLAGS,
        _VECTOR_FLAGS,
        _KERNEL_FLAGS,
    ):
        digest.update(f"{part}\n".encode())
    for source in sorted([*_SOURCES.glob("*.h"), *_SOURCES.glob("*.cc")]):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _only_one(path: Path, report: Report) -> Iterator[None]:
    """Hold a lock that ends with the process at the latest."""
    with os.fdopen(open_own(path, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is compiling the fused convolution-pooling operator: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(compiler: list[str], work: Path) -> Path:
    """Compile everything at once, one process per file and instruction set; link in `work`."""
    root = Path(paddle.__file__).parent
    paddle_flags = [f"-I{root}/include", f"-I{root}/include/third_party", "-DPADDLE_WITH_CUSTOM_KERNEL"]
    units: dict[str, tuple[Path, list[str]]] = {
        "conv_pool": (_SOURCES / "conv_pool.cc", []),
        "thread_pool": (_SOURCES / "thread_pool.cc", []),
        "conv_pool_op": (_SOURCES / "conv_pool_op.cc", ["-O1", *paddle_flags]),
        "isa": (_SOURCES / "isa.cc", []),
        "step": (_SOURCES / "step.cc", []),
        "step_ops": (_SOURCES / "step_ops.cc", ["-O1", *paddle_flags]),
    }
    for name, flags in kernel_flags().items():
        units |= {
            f"{source}_{name}": (_SOURCES / f"{source}.cc", [*_VECTOR_FLAGS, *flags]) for source in VECTOR_SOURCES
        }

    objects = [str(work / f"{name}.o") for name in units]
    _run(
        *(
            [*compiler, *_FLAGS, *flags, "-c", str(source), "-o", target]
            for (source, flags), target in zip(units.values(), objects, strict=True)
        )
    )
    library = work / "conv_pool.so"
    # Paddle's library is in the process already; naming it here is what makes its symbols visible to this one.
    link = [f"-L{root}/base", f"-Wl,-rpath,{root}/base", f"-Wl,-rpath-link,{root}/libs", "-l:libpaddle.so", "-pthread"]
    _run([*compiler, "-shared", "-o", str(library), *objects, *link])
    return library


def _run(*commands: list[str]) -> None:
    """Run compilers side by side; none of them, nor what they start, outlives this call, whatever ends it."""
    with ExitStack() as stack:
        processes = []
        for command in commands:
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            processes.append(stack.enter_context(process))
            stack.callback(_end, process)
        for process in processes:
            try:
                _, said = process.communicate(timeout=_LONGEST_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise _BuildError(f"{commands[0][0]} did not end within {_LONGEST_SECONDS} s") from error
            if process.returncode != 0:
                lines = [line for line in said.splitlines() if "error" in line] or said.splitlines() or ["?"]
                raise _BuildError(f"{commands[0][0]} failed with status {process.returncode}: {one_line(lines[0])}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
