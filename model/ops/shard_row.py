"""Numbers of many variables, one after the other: as the row of a shard, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle

from model.ops.backend import is_fused
from model.ops.custom_op import fused_op


def restart(shard: paddle.Tensor, statistics: Sequence[paddle.Tensor], before: paddle.Tensor) -> None:
    """Append the start of a shard: each begins with the running statistics that were there before the first.

    Args:
        shard: [2], as of `write_row`; that of row 0 is the first.
        statistics: variables that a shard changes.
        before: variable [n], for the numbers of these, one after the other.
    """
    if is_fused():
        inputs = {"Shard": shard, "Statistics": statistics, "Before": before}
        fused_op("fused_restart", inputs, in_place=["Statistics", "Before"])
        return
    is_first = paddle.equal(shard[1:], paddle.zeros([1]))
    kept = paddle.where(is_first, paddle.concat([paddle.reshape(each, [-1]) for each in statistics]), before)
    paddle.assign(kept, output=before)
    assign_pieces(kept, statistics)


def write_row(rows: paddle.Tensor, shard: paddle.Tensor, parts: Sequence[paddle.Tensor], log: paddle.Tensor) -> None:
    """Append operators that write one row of the variable `rows` [K, n]: the parts and the log of a shard, weighted.

    Args:
        rows: of all shards that this process computes.
        shard: [2], its share of the batch, and the number of its row.
        parts: of any shapes, n - 2 numbers in all; each is multiplied by the share.
        log: [2], mean loss and number of right answers; an empty shard, of share 0, has neither.
    """
    if is_fused():
        inputs = {"Part": parts, "Log": log, "Shard": shard, "Rows": rows}
        fused_op("fused_shard_row", inputs, in_place=["Rows"])
        return
    share, number = paddle.split(shard, 2)
    weighted = paddle.multiply(paddle.concat([paddle.reshape(part, [-1]) for part in parts]), share)
    counted = paddle.cast(paddle.greater_than(share, paddle.zeros([1])), "float32")
    row = paddle.concat([weighted, paddle.multiply(log, paddle.concat([share, counted]))])
    paddle.assign(paddle.scatter(rows, paddle.cast(number, "int64"), paddle.unsqueeze(row, 0)), output=rows)


def sum_rows(rows: paddle.Tensor, count: int) -> paddle.Tensor:
    """Rows [K, n], of which neighbours are added in pairs until `count` are left; it may change `rows`."""
    if rows.shape[0] > count and is_fused():
        return fused_op("fused_sum_rows", {"Rows": rows}, {"Sums": "float32"}, {"count": count}, in_place=["Rows"])[0]
    while rows.shape[0] > count:
        pairs = paddle.reshape(rows, [rows.shape[0] // 2, 2, rows.shape[1]])
        rows = paddle.add(pairs[:, 0], pairs[:, 1])
    return rows


def assign_pieces(flat: paddle.Tensor, variables: Sequence[paddle.Tensor]) -> None:
    """Append the assignment of the numbers of `flat` [n] to variables, one after the other."""
    if is_fused():
        fused_op("fused_assign_pieces", {"Flat": flat, "Piece": variables}, in_place=["Piece"])
        return
    for variable, piece in zip(variables, pieces(flat, variables), strict=True):
        paddle.assign(piece, output=variable)


def pieces(flat: paddle.Tensor, like: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
    """The numbers of `flat` [n], cut into pieces of the shapes of `like`."""
    cut = paddle.split(flat, [math.prod(each.shape) for each in like])
    return [paddle.reshape(piece, list(each.shape)) for piece, each in zip(cut, like, strict=True)]
