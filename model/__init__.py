"""Networks, the programs made of them, the operators beneath them, and the saved model.

Importing this package does not import Paddle, it prepares the process for it: it must come before `import paddle`.
"""

import contextlib
import ctypes
import os
import pathlib
import warnings
import zlib  # noqa: F401  Paddle 2.6.2 exports zlib's symbols, and a zlib that is loaded after it crashes

from common.errors import UserError

# glog's information and warnings are about Paddle's insides; errors still show.
os.environ.setdefault("GLOG_minloglevel", "2")
# Operators run one after the other, in the program's order. On a CPU a step was a third faster (2 cores, AMD EPYC,
# Paddle 3.3.1) than with Paddle's own scheduling threads, which only get in the way of the operators' threads.
os.environ.setdefault("FLAGS_new_executor_serial_run", "1")
# Paddle's collector of dead tensors is off. At its default, 0, a thread wakes some twenty times a step to free what the
# next step allocates again; kept, the tensors of a step of a LeNet are some tens of megabytes.
os.environ.setdefault("FLAGS_eager_delete_tensor_gb", "-1")
# Paddle's matrix products are MKL's of 2019, which takes its slowest path on AMD's processors unless this variable
# claims AVX2 (5): a linear layer of 800 to 10 then took less than half as long (2 cores, AMD EPYC, Paddle 3.3.1). On
# Intel's it would disable AVX-512.
with contextlib.suppress(OSError):  # another system than Linux
    if b"AuthenticAMD" in pathlib.Path("/proc/cpuinfo").read_bytes()[:1000]:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
# A step's buffers, some megabytes each, come from the heap and stay there. By glibc's defaults the system maps and
# zeroes each of them anew at every step, which is a fifth of its time (2 cores, AMD EPYC, Paddle 3.3.1).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
for _option, _bytes in ((_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 2_000_000_000)):
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_option, _bytes)


def _expect_cache() -> None:
    """Make the folder that Paddle makes when it is imported; if it cannot be made, the error names a remedy.

    Raises:
        UserError: it cannot be made. If the home itself cannot be written, Paddle takes /tmp.
    """
    home = pathlib.Path(os.path.expanduser("~"))  # noqa: PTH111  (as Paddle does; Path.home() may raise)
    if os.access(home, os.W_OK):
        try:
            (home / ".cache/paddle/dataset").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{error.filename}: {error.strerror}: Paddle keeps files there; make it a folder that you can write, "
                "or name another home, as in HOME=/tmp"
            ) from error


_expect_cache()

for _noise in (
    "No ccache found",
    "When training, we now always track global mean and variance",
    "Tensor do not have 'place' interface for pir graph mode",
    "You are using GPU version Paddle",
):
    warnings.filterwarnings("ignore", message=_noise)
