"""Names of runs where there is little room: a terminal, a legend."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def shorten(name: str, width: int) -> str:
    """A name, with its middle left out if it is wider than so many cells of a terminal."""
    if cell_len(name) <= width:
        return name
    left = set_cell_size(name, (width - 1) // 2)
    right = set_cell_size(name[::-1], width // 2)[::-1]
    return f"{left.rstrip()}…{right.lstrip()}"
