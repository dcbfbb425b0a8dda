"""Rows of digits to validate and test on, made of the single digits of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.dataset import Subset
from data.formats.idx import Bytes
from data.rows import MEAN_LENGTH, Labels, RowMaker, batch

SEED_OF_TESTS = 0  # validation and test rows are the same in every run


def rows_in_pass(digits: int) -> int:
    """Number of rows that hold about so many digits."""
    return max(round(digits / MEAN_LENGTH), 1)


@dataclass(frozen=True)
class RowSet:
    """Rows that were made: uint8 [32, W] each, and labels [N, 11], -1 behind the last digit of a row."""

    images: Sequence[Bytes]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def of(digits: Subset) -> RowSet:
        """Rows to validate or test on, of about as many digits as there are; none of no digits."""
        if not len(digits):
            return RowSet([], np.zeros((0, 0), np.int64))
        maker = RowMaker(digits.images, digits.labels, SEED_OF_TESTS, 0)
        rows, read = maker.rows(range(rows_in_pass(len(digits))))
        return RowSet(rows, batch(rows, read)[1])
