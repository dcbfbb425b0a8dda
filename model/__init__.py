"""WHAT is computed: networks, the programs made of them, the operator beneath them, and the saved model.

Importing this package does not import Paddle, it prepares the process for it: it must come before `import paddle`.
"""

import os
import warnings
import zlib  # noqa: F401  Paddle 2.6.2 exports zlib's symbols: a zlib loaded after it crashes (shared/paddle-notes.md, 3)

# glog's information and warnings are about Paddle's insides; errors still show.
os.environ.setdefault("GLOG_minloglevel", "2")
# One operator after the other: their order is the program's, and on CPU the step is a third faster than with Paddle's
# own scheduling threads, which only get in the way of the operators' threads.
os.environ.setdefault("FLAGS_new_executor_serial_run", "1")

for _noise in (
    "No ccache found",
    "When training, we now always track global mean and variance",
    "Tensor do not have 'place' interface for pir graph mode",
    "You are using GPU version Paddle",
):
    warnings.filterwarnings("ignore", message=_noise)
