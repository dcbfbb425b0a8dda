"""Connectionist temporal classification (Graves, Fernández, Gomez and Schmidhuber, ICML 2006)."""

from __future__ import annotations

import paddle
from paddle.nn import functional


def ctc_loss(scores: paddle.Tensor, label: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Loss of rows: minus the logarithm of the sum of the probabilities of all ways to place a row's digits.

    Args:
        scores: [N, T, K + 1], the softmax's input; the last score is that of no digit.
        label: [N, L] int64, 0 to K - 1, and -1 behind the last digit of a row.

    Returns:
        The batch's mean loss, nats a row; and [2]: the same, and how many rows greedy decoding reads rightly.
    """
    rows, columns = paddle.shape(scores)[0], paddle.shape(scores)[1]
    given = paddle.cast(paddle.greater_equal(label, paddle.zeros_like(label)), "int64")
    lengths = paddle.sum(given, axis=1)
    every = paddle.cast(paddle.expand(paddle.reshape(columns, [1]), paddle.reshape(rows, [1])), "int64")
    losses = functional.ctc_loss(
        paddle.transpose(scores, [1, 0, 2]),
        paddle.cast(paddle.clip(label, min=0), "int32"),
        every,
        lengths,
        blank=scores.shape[2] - 1,
        reduction="none",
    )
    loss = paddle.mean(losses)
    return loss, paddle.stack([loss, paddle.sum(_right(scores, label, lengths))])


def _right(scores: paddle.Tensor, label: paddle.Tensor, lengths: paddle.Tensor) -> paddle.Tensor:
    """1 for each row whose likeliest columns, repetitions and gaps left out, are its label, else 0; [N] float32."""
    none = scores.shape[2] - 1
    likeliest = paddle.argmax(scores, axis=2)
    before = paddle.concat([paddle.full_like(likeliest[:, :1], none), likeliest[:, :-1]], axis=1)
    is_new = paddle.logical_and(
        paddle.not_equal(likeliest, paddle.full_like(likeliest, none)), paddle.not_equal(likeliest, before)
    )
    is_new = paddle.cast(is_new, "int64")
    last = paddle.sum(paddle.ones_like(label), axis=1, keepdim=True) - 1
    place = paddle.minimum(paddle.cumsum(is_new, axis=1) - is_new, last)
    expected = paddle.take_along_axis(label, place, axis=1)
    wrong = paddle.sum(is_new * paddle.cast(paddle.not_equal(likeliest, expected), "int64"), axis=1)
    wrong = wrong + paddle.abs(paddle.sum(is_new, axis=1) - lengths)
    return paddle.cast(paddle.equal(wrong, paddle.zeros_like(wrong)), "float32")
