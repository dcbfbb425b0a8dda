"""JSON with its own sum holds what JSON knows, and nothing else."""

from __future__ import annotations

import math

import pytest

from common.checksummed import CHECKSUM, dump_checksummed, load_checksummed


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_know_is_neither_written_nor_read(number: float) -> None:
    with pytest.raises(ValueError):
        dump_checksummed({"scores": {"loss": number}})
    text = dump_checksummed({"loss": 0.5}).replace(b"0.5", str(number).replace("inf", "Infinity").encode())
    with pytest.raises(ValueError):
        load_checksummed(text.replace(b"nan", b"NaN"))


def test_a_sum_that_comes_along_is_made_anew() -> None:
    once = dump_checksummed({"a": 1, CHECKSUM: "0" * 64})
    assert once == dump_checksummed({"a": 1}) and load_checksummed(once)["a"] == 1
