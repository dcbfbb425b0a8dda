"""Who competes at what."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.commands import MALLOC
from benchmarks.contest import Contender, Contest
from model.inference import PREDICTION_BATCH
from model.recipes import PUBLISHED

FUSED = Contender("Paddle, fused kernel", "paddle_training", options={"kernel": "fused"})
STOCK = Contender("Paddle, stock kernels", "paddle_training", options={"kernel": "stock"})
FIRST_WRITTEN = Contender("Paddle, as in tutorials", "paddle_first_written")
TORCH_PLAIN = Contender("PyTorch eager, as it comes", "torch_training", peer=True, options={"mode": "eager"})


def torch(module: str, mode: str) -> Contender:
    """PyTorch with all that makes it faster without rewriting the network: malloc, and in training the fused Adam."""
    label = f"PyTorch {mode}, malloc tuned"
    return Contender(label, module, peer=True, options={"mode": mode, "fused_adam": True}, environment=MALLOC)


def cut(contender: Contender, at_a_time: int = PREDICTION_BATCH) -> Contender:
    """One that cuts the largest batch into pieces; at smaller ones it does not compete."""
    options = {**contender.options, "at_a_time": at_a_time}
    return replace(contender, label=f"{contender.label}, {at_a_time} at a time", options=options, batches=[1024])


TORCH_MODES = ("eager", "channels_last", "compile", "compile channels_last")
TORCH = [torch("torch_training", mode) for mode in TORCH_MODES]
JAX = Contender("JAX jit", "jax_training", peer=True)
KERAS = Contender("Keras on JAX", "keras_training", peer=True, environment={"KERAS_BACKEND": "jax"})
PREDICTOR = Contender("Paddle Inference", "paddle_inference")
ONNX = Contender("ONNX Runtime", "onnx_inference", peer=True)
ONNX_TUNED = replace(ONNX, label="ONNX Runtime, malloc tuned", environment=MALLOC)
TORCH_INFERENCE = [torch("torch_inference", mode) for mode in TORCH_MODES]
CUT = [cut(contender) for contender in (ONNX, ONNX_TUNED, *TORCH_INFERENCE[1:2])]
AT_A_TIME = [cut(PREDICTOR, images) for images in (PREDICTION_BATCH, 1, 8, 32, 128, 256, 1024)]
EVALUATION = [
    Contender(f"evaluation program, {kernel} kernel", "paddle_evaluation", options={"kernel": kernel})
    for kernel in ("fused", "stock")
]
MATRIX_PRODUCT = [
    Contender(f"matrix product, {library}", "matmul", peer=library != "numpy", options={"library": library})
    for library in ("numpy", "torch", "jax")
]

TRAINING = Contest(
    "training",
    "Training conv_pool_bn at batch 128",
    [FUSED, STOCK, FIRST_WRITTEN, TORCH_PLAIN, *TORCH, JAX, KERAS],
    batches=[128],
    rounds=20,
)

CONTESTS = [
    Contest("matmul", "Matrix product, 2048 x 2048, float32", MATRIX_PRODUCT, [1], rounds=10),
    Contest("matmul/1", "Matrix product on one thread", MATRIX_PRODUCT, [1], rounds=10, one_thread=True),
    TRAINING,
    Contest("threads", "Training on one thread", [FUSED, STOCK, *TORCH[:2], JAX], [128], rounds=10, one_thread=True),
    Contest("batches", "Training at other batch sizes", [FUSED, *TORCH[:2]], [16, 64, 512, 2048], rounds=8),
    *(
        Contest(f"networks/{name}", f"Training {name}", [FUSED, *TORCH], [128], rounds=8, network=name)
        for name in PUBLISHED
        if name != TRAINING.network
    ),
    Contest(
        "inference",
        "Inference",
        [PREDICTOR, ONNX, ONNX_TUNED, *TORCH_INFERENCE, *CUT],
        [1, 64, 1024],
        rounds=15,
        turn_seconds=0.2,
    ),
    Contest("inference/pieces", "Inference, so many images at a time", AT_A_TIME, [1024], rounds=10, turn_seconds=0.2),
    Contest("evaluation", "Scoring 10,000 images in the training loop", EVALUATION, [10_000], rounds=10),
]

QUICK_ONES = ("training", "networks/lenet5_1998", "inference", "evaluation", "matmul")
# Every kind of contest once, without what takes long to start or to run.
QUICK = [
    replace(
        contest,
        contenders=[one for one in contest.contenders if one.options.get("mode") in (None, "eager")],
        batches=[min(batch, 1024) for batch in contest.batches],
        rounds=2,
        turn_seconds=0.05,
    )
    for contest in CONTESTS
    if contest.name in QUICK_ONES
]
