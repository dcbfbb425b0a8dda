"""The loss of a batch, and the losses of the latest batches."""

from __future__ import annotations

import paddle
from paddle.nn import functional

from model.ops.backend import is_fused
from model.ops.custom_op import fused_op


def softmax_loss(
    logits: paddle.Tensor, label: paddle.Tensor, classes: int, smoothing: float
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Cross-entropy of a softmax, and the number of right answers.

    Args:
        logits: [N, K], of which the first `classes` are those of classes.
        label: [N] int64, 0 to classes - 1.
        classes: the others take part in the softmax, and no label names them.
        smoothing: part of each label that is spread evenly over the classes (Szegedy et al. 2016).

    Returns:
        The batch's mean loss, nats, of the smoothed labels, which is to be minimised; and [2]: the loss of the labels
        as they are, and the number of right answers.
    """
    if is_fused():
        loss, log, _ = fused_op(
            "fused_softmax_loss",
            {"Scores": logits, "Label": label},
            {"Loss": "float32", "Log": "float32", "Probability": "float32"},
            {"classes": classes, "smoothing": smoothing},
        )
        return loss, log
    log_probability = first(classes, log_softmax(logits))
    loss = functional.nll_loss(log_probability, label)
    right = paddle.equal(paddle.argmax(first(classes, logits), axis=1), label)
    log = paddle.stack([loss, paddle.sum(paddle.cast(right, "float32"))])
    return (1 - smoothing) * loss - smoothing * paddle.mean(log_probability) if smoothing else loss, log


def log_softmax(logits: paddle.Tensor) -> paddle.Tensor:
    """Logarithm of the softmax over the second axis, [N, K] -> [N, K].

    Paddle's own log_softmax has a floor of -64 on the CPU, which an untrained `lenet5_numpy` is far below.
    """
    return paddle.subtract(logits, paddle.logsumexp(logits, axis=1, keepdim=True))


def first(columns: int, values: paddle.Tensor) -> paddle.Tensor:
    """The first columns of values [N, K]; no operator is appended if these are all."""
    return values if values.shape[1] == columns else values[:, :columns]


def append_to_recent(recent: paddle.Tensor, row: paddle.Tensor) -> None:
    """Shift the variable `recent` [R, L] by one row and put `row` [L] at its end."""
    if is_fused():
        fused_op("fused_remember", {"Recent": recent, "Row": row}, in_place=["Recent"])
    else:
        paddle.assign(paddle.concat([recent[1:], paddle.unsqueeze(row, 0)]), output=recent)
