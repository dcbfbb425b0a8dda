"""Items are made ahead in a thread; what fails there is raised where they are used."""

from __future__ import annotations

import pytest

from common.prefetch import prefetch


def test_an_error_in_making_a_batch_is_raised_where_it_is_used() -> None:
    def two_and_no_more():
        yield 1
        yield 2
        raise ValueError("no third")

    seen: list[int] = []
    with pytest.raises(ValueError, match="no third"), prefetch(two_and_no_more()) as items:
        seen += items
    with prefetch(iter(range(1000))) as items:
        assert next(items) == 0  # and the thread ends with the block
