"""Texts that fit the width of a terminal, counted in its cells: a name shortened, a line broken between words."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def shorten(name: str, width: int) -> str:
    """A name, with its middle left out if it is wider than `width` cells of a terminal."""
    if cell_len(name) <= width:
        return name
    left = set_cell_size(name, (width - 1) // 2)
    right = set_cell_size(name[::-1], width // 2)[::-1]
    return f"{left.rstrip()}…{right.lstrip()}"


def wrapped(line: str, width: int) -> str:
    """A line broken into as few lines of at most `width` cells as possible, of about the same length, best at a comma.

    A wider word, such as a path, stays whole: what the terminal breaks can still be copied.
    """
    words = line.split(" ")
    sizes = [size if (size := cell_len(word)) <= width else size % width for word in words]
    # From each word on: the number of lines, their raggedness, and their text.
    best: list[tuple[int, int, str]] = [(0, 0, "")] * (len(words) + 1)
    for start in reversed(range(len(words))):
        found = []
        for end in range(start + 1, len(words) + 1):
            room = width - sum(sizes[start:end]) - (end - start - 1)
            if room < 0 and end > start + 1:
                break
            lines, raggedness, rest = best[end]
            inside = end < len(words) and not words[end - 1].endswith((",", ";", ":", "."))
            raggedness += room**2 + inside * (width // 2) ** 2
            found.append((lines + 1, raggedness, "\n".join(filter(None, (" ".join(words[start:end]), rest)))))
        best[start] = min(found)
    return best[0][2]
