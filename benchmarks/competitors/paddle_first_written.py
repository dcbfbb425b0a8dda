"""Paddle as the tutorials write it: bias, then activation, then pooling; the loss fetched in every step."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn, static

from benchmarks.protocol import PADDLE, Batch, Batches, initial, options, serve, versions


def main() -> None:
    """Build the program and serve."""
    assert options["network"] == "conv_pool_bn"
    paddle.enable_static()
    main_program, startup = static.Program(), static.Program()
    with static.program_guard(main_program, startup):
        image = static.data("image", [None, 1, 28, 28], "float32")
        label = static.data("label", [None, 1], "int64")
        conv1, norm, conv2, output = nn.Conv2D(1, 20, 5), nn.BatchNorm2D(20), nn.Conv2D(20, 50, 5), nn.Linear(800, 10)
        x = norm(nn.functional.max_pool2d(nn.functional.relu(conv1(image)), 2, 2))
        x = nn.functional.max_pool2d(nn.functional.relu(conv2(x)), 2, 2)
        loss = paddle.mean(nn.functional.cross_entropy(output(paddle.flatten(x, 1)), label))
        paddle.optimizer.Adam(1e-3).minimize(loss)
    executor = static.Executor(paddle.CPUPlace())
    executor.run(startup)
    for layer, prefix in ((conv1, "conv1"), (norm, "norm"), (conv2, "conv2"), (output, "output")):
        for name, variable in [*layer.named_parameters(), *layer.named_buffers()]:
            value = initial(f"{prefix}.{name}", tuple(variable.shape))
            static.global_scope().find_var(variable.name).get_tensor().set(value, paddle.CPUPlace())

    def run(batches: list[Batch]) -> float:
        for images, labels in batches:
            feed = {"image": images, "label": labels[:, np.newaxis]}
            (value,) = executor.run(main_program, feed=feed, fetch_list=[loss])
        return value

    serve(run, Batches(), versions=versions(*PADDLE))


if __name__ == "__main__":
    main()
