"""ONNX Runtime on conv_pool_bn, as a graph built here: no converter has a part in it."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.competitors.conv_pool_bn import STATISTICS, TRAINED
from benchmarks.protocol import Batch, Batches, initial, options, pieces, serve, versions


def graph() -> bytes:
    """The network of the fluid tutorial, in operators of ONNX's opset 17."""
    pooling = {"kernel_shape": [2, 2], "strides": [2, 2]}
    norm = ["norm.weight", "norm.bias", "norm._mean", "norm._variance"]
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], **pooling),
        helper.make_node("BatchNormalization", ["p1", *norm], ["n"], epsilon=1e-5),
        helper.make_node("Conv", ["n", "conv2.weight", "conv2.bias"], ["c2"]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], **pooling),
        helper.make_node("Flatten", ["p2"], ["f"]),
        helper.make_node("Gemm", ["f", "output.weight", "output.bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probability"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 10])
    weights = [numpy_helper.from_array(initial(name, shape), name) for name, shape in {**TRAINED, **STATISTICS}.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "conv_pool_bn", [image], [probability], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return model.SerializeToString()


def main() -> None:
    """Build the session and serve."""
    assert options["network"] == "conv_pool_bn"
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(graph(), settings, providers=["CPUExecutionProvider"])

    def run(batches: list[Batch]) -> float:
        for images, _ in batches:
            answers = [session.run(None, {"image": piece})[0] for piece in pieces(images)]
            probabilities = np.concatenate(answers)
        return np.square(probabilities).sum() / len(probabilities)

    serve(run, Batches(), versions=versions("onnxruntime"))


if __name__ == "__main__":
    main()
