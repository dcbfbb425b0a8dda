"""The suites and their competitors."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.commands import MALLOC
from benchmarks.suite import Competitor, Suite
from model.predictor import PREDICTION_BATCH
from model.recipes import PUBLISHED

FUSED = Competitor("Paddle, fused kernel", "paddle_training", options={"kernel": "fused"})
STOCK = Competitor("Paddle, stock kernels", "paddle_training", options={"kernel": "stock"})
FIRST_WRITTEN = Competitor("Paddle, as in tutorials", "paddle_first_written")
TORCH_PLAIN = Competitor("PyTorch eager, as it comes", "torch_training", peer=True, options={"mode": "eager"})


def torch(module: str, mode: str) -> Competitor:
    """PyTorch with all that makes it faster without rewriting the network: malloc, and in training the fused Adam."""
    label = f"PyTorch {mode}, malloc tuned"
    return Competitor(label, module, peer=True, options={"mode": mode, "fused_adam": True}, environment=MALLOC)


def cut(competitor: Competitor, at_a_time: int = PREDICTION_BATCH) -> Competitor:
    """One that cuts the largest batch into pieces; at smaller ones it does not compete."""
    options = {**competitor.options, "at_a_time": at_a_time}
    return replace(competitor, label=f"{competitor.label}, {at_a_time} at a time", options=options, batches=[1024])


TORCH_MODES = ("eager", "channels_last", "compile", "compile channels_last")
TORCH = [torch("torch_training", mode) for mode in TORCH_MODES]
JAX = Competitor("JAX jit", "jax_training", peer=True)
KERAS = Competitor("Keras on JAX", "keras_training", peer=True, environment={"KERAS_BACKEND": "jax"})
PREDICTOR = Competitor("Paddle Inference", "paddle_inference")
ONNX = Competitor("ONNX Runtime", "onnx_inference", peer=True)
ONNX_TUNED = replace(ONNX, label="ONNX Runtime, malloc tuned", environment=MALLOC)
TORCH_INFERENCE = [torch("torch_inference", mode) for mode in TORCH_MODES]
CUT = [cut(competitor) for competitor in (ONNX, ONNX_TUNED, *TORCH_INFERENCE[1:2])]
AT_A_TIME = [cut(PREDICTOR, images) for images in (PREDICTION_BATCH, 1, 8, 32, 128, 256, 1024)]
EVALUATION = [
    Competitor(f"evaluation program, {kernel} kernel", "paddle_evaluation", options={"kernel": kernel})
    for kernel in ("fused", "stock")
]
MATRIX_PRODUCT = [
    Competitor(f"matrix product, {library}", "matmul", peer=library != "numpy", options={"library": library})
    for library in ("numpy", "torch", "jax")
]

TRAINING = Suite(
    "training",
    "Training conv_pool_bn at batch 128",
    [FUSED, STOCK, FIRST_WRITTEN, TORCH_PLAIN, *TORCH, JAX, KERAS],
    batches=[128],
    rounds=20,
)

SUITES = [
    Suite("matmul", "Matrix product, 2048 x 2048, float32", MATRIX_PRODUCT, [1], rounds=10),
    Suite("matmul/1", "Matrix product on one thread", MATRIX_PRODUCT, [1], rounds=10, one_thread=True),
    TRAINING,
    Suite("threads", "Training on one thread", [FUSED, STOCK, *TORCH[:2], JAX], [128], rounds=10, one_thread=True),
    Suite("batches", "Training at other batch sizes", [FUSED, *TORCH[:2]], [16, 64, 512, 2048], rounds=8),
    *(
        Suite(f"networks/{name}", f"Training {name}", [FUSED, *TORCH], [128], rounds=8, network=name)
        for name in PUBLISHED
        if name not in (TRAINING.network, "lenet_row")  # rows are another task
    ),
    Suite(
        "inference",
        "Inference",
        [PREDICTOR, ONNX, ONNX_TUNED, *TORCH_INFERENCE, *CUT],
        [1, 64, 1024],
        rounds=15,
        turn_seconds=0.2,
    ),
    Suite("inference/pieces", "Inference, so many images at a time", AT_A_TIME, [1024], rounds=10, turn_seconds=0.2),
    Suite("evaluation", "Scoring 10,000 images in the training loop", EVALUATION, [10_000], rounds=10),
]

QUICK_ONES = ("training", "networks/lenet5_1998", "inference", "evaluation", "matmul")
# Every kind of suite once, without what takes long to start or to run.
QUICK = [
    replace(
        suite,
        competitors=[one for one in suite.competitors if one.options.get("mode") in (None, "eager")],
        batches=[min(batch, 1024) for batch in suite.batches],
        rounds=2,
        turn_seconds=0.05,
    )
    for suite in SUITES
    if suite.name in QUICK_ONES
]
