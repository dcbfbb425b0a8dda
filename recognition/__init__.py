"""A saved model and pictures in, digits out: the library behind infer.py and the page.

from recognition import DigitReader   # prepares the process for Paddle, and imports it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recognition.reader import Answer, DigitReader

__all__ = ["Answer", "DigitReader"]


def __getattr__(name: str) -> Any:
    """Import the reader when it is asked for: its modules that decode pictures must not import Paddle."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recognition import reader

    return getattr(reader, name)
