"""What a training step does beside its convolutions, each by stock operators and, on a CPU, by a fused one.

The stock operators of a step of `conv_pool_bn` at batch 128 take longer than their arithmetic: each costs Paddle's
executor some ten microseconds, and none of them uses a second thread. Together they were a third of the step
(2 cores, AMD EPYC, Paddle 3.3.1).
"""

from __future__ import annotations

from model.step.batch_norm import BatchNorm
from model.step.linear import linear
from model.step.loss import append_to_recent, softmax_loss
from model.step.update import minimize, move_averages

__all__ = ["BatchNorm", "append_to_recent", "linear", "minimize", "move_averages", "softmax_loss"]
