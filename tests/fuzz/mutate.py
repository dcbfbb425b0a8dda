"""Bytes made of other bytes: what a fuzzer without coverage tries, and the short fuzz of the tests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

# Numbers at the edges of the types that headers use, and the words that readers look for.
EDGES = [number.to_bytes(size, "big") for size in (1, 2, 4, 8) for number in (0, 1, (1 << 8 * size - 1) - 1)]
EDGES += [b"\xff" * size for size in (1, 2, 4, 8)] + [b"\x80" + bytes(size - 1) for size in (2, 4, 8)]
WORDS = [
    b"nan",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"null",
    b"[]",
    b"{}",
    b'"',
    b",",
    b"\n",
    b"\r\n",
    b"\x00",
    b"true",
    b"../",
]
LONGEST = 1 << 16


def mutations(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs: each seed as it is, then changed in one to eight places; the same for the same seed."""
    chance = random.Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
            _mutate(data, chance, seeds)
        yield bytes(data[:LONGEST])


def _mutate(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    to = min(len(data), at + chance.choice((1, 2, 4, 8, 64)))
    how = chance.randrange(8)
    if how == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif how == 1:
        data[at:to] = chance.randbytes(to - at)
    elif how == 2:
        data[at:to] = chance.choice(EDGES)
    elif how == 3:
        data[at:to] = chance.choice(WORDS)
    elif how == 4:
        del data[at:to]
    elif how == 5:
        del data[at:]
    elif how == 6:
        data[at:at] = data[at:to] * chance.choice((1, 2, 50))
    else:
        other = chance.choice(seeds)
        start = chance.randrange(len(other) + 1)
        data[at:to] = other[start : start + chance.choice((4, 64, len(other) + 1))]
