"""Rows of digits to train on: pure functions of seed, pass and number, with each ingredient by its switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from data.dataset import Mnist
from data.row_paper import PAPER, levelled
from data.rows import MOST_DIGITS, PLAIN, Ingredients, RowMaker, batch, row_batches


def maker(mnist: Mnist, seed: int = 1, pass_number: int = 1, use: Ingredients | None = None) -> RowMaker:
    return RowMaker(mnist.train_images[:2000], mnist.train_labels[:2000], seed, pass_number, use)


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def test_a_row_depends_on_seed_pass_and_number_alone(mnist: Mnist) -> None:
    rows, digits = maker(mnist).rows(range(12))
    again, read = maker(mnist).rows([9, 3])
    assert same(again, [rows[9], rows[3]]) and read == [digits[9], digits[3]]
    assert not same(maker(mnist, seed=2).rows(range(12))[0], rows)
    assert not same(maker(mnist, pass_number=2).rows(range(12))[0], rows)


def test_rows_have_none_to_eleven_digits_of_all_classes(mnist: Mnist) -> None:
    rows, digits = maker(mnist).rows(range(256))
    assert {len(read) for read in digits} == set(range(MOST_DIGITS + 1))
    assert {digit for read in digits for digit in read} == set(range(10))
    assert all(row.dtype == np.uint8 and row.shape[0] == 32 for row in rows)


def test_a_row_shows_the_digits_of_its_label(mnist: Mnist) -> None:
    """Without ingredients, ink stands on white paper, and digits stand apart: a piece each, but for some that meet."""
    rows, digits = maker(mnist, use=PLAIN).rows(range(200))
    pieces = []
    for row in rows:
        inked = np.pad((row < 128).any(axis=0), 1)
        pieces.append(np.count_nonzero(inked[1:] & ~inked[:-1]))
        assert row.max() == 255 and row.min() < 60
    lengths = [len(read) for read in digits]
    assert sum(pieces) == pytest.approx(sum(lengths), rel=0.15)
    assert np.corrcoef(pieces, lengths)[0, 1] > 0.9


def test_only_the_given_digits_are_used(mnist: Mnist) -> None:
    fours = mnist.train_labels == 4
    made = RowMaker(mnist.train_images[fours], mnist.train_labels[fours], 1, 1)
    assert {digit for read in made.rows(range(20))[1] for digit in read} == {4}


@pytest.mark.parametrize("name", [field.name for field in fields(Ingredients)])
def test_each_ingredient_has_a_switch(name: str, mnist: Mnist) -> None:
    """It changes some rows among these, and none of their labels."""
    indices = range(96)
    rows, digits = maker(mnist).rows(indices)
    without, read = maker(mnist, use=replace(Ingredients(), **{name: False})).rows(indices)
    assert not same(rows, without)
    assert all(one == other or (name == "blank" and not one) for one, other in zip(digits, read, strict=True))


def test_levelled_rows_have_dark_paper_whatever_was_the_darker_one(mnist: Mnist) -> None:
    for row in maker(mnist, use=PLAIN).rows(range(10))[0]:
        level = levelled(row)
        assert np.median(level) == PAPER and level.max() == 255
        faint = (180 - (255 - row.astype(int)) // 8).astype(np.uint8)
        for other in (255 - row, faint, 255 - faint):
            assert np.abs(levelled(other).astype(int) - level).max() <= 10  # of 207 between paper and ink


def test_a_pass_has_every_row_once_and_can_begin_anywhere(mnist: Mnist) -> None:
    whole = list(row_batches(maker(mnist), 139, 4))
    assert [len(labels) for _, labels in whole] == [4] * 34 + [3]
    rows, digits = maker(mnist).rows(range(139))
    expected = sorted(labels.tolist() for labels in batch(rows, digits)[1])
    assert sorted(row for _, labels in whole for row in labels.tolist()) == expected
    for first in (1, 16, 33):
        rest = list(row_batches(maker(mnist), 139, 4, first))
        assert same([images for images, _ in rest], [images for images, _ in whole[first:]])


def test_batches_take_turns_anew_in_each_pass(mnist: Mnist, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same rows, so that only the order can differ."""
    made = maker(mnist).rows(range(64))
    monkeypatch.setattr(RowMaker, "rows", lambda self, indices: made)
    orders = [[images for images, _ in row_batches(maker(mnist, pass_number=number), 64, 4)] for number in (1, 1, 2)]
    assert same(orders[0], orders[1]) and not same(orders[0], orders[2])


def test_rows_of_a_batch_are_of_like_width(mnist: Mnist) -> None:
    """Then little paper is added: in batches of rows as they come, it is half of the pixels.

    Rows that are cut out of a page have as even a paper of their own.
    """
    added = total = 0
    for images, _ in row_batches(maker(mnist, use=replace(Ingredients(), cleaned=False)), 256, 16):
        added += int((images == PAPER).all(axis=1).sum())
        total += images.shape[0] * images.shape[2]
    assert added < 0.25 * total
