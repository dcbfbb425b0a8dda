"""JSON that carries its own SHA-256, so that any changed byte is noticed; entries for the files that it lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.files import sha256

CHECKSUM = "sha256"


def dump_checksummed(values: Mapping[str, Any]) -> bytes:
    """Write `values` as indented JSON in UTF-8; the last entry is the SHA-256 of the same text without that entry.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    own = {name: value for name, value in values.items() if name != CHECKSUM}
    return _text({**own, CHECKSUM: sha256(_text(own))})


def load_checksummed(data: bytes) -> dict[str, Any]:
    """Read what `dump_checksummed` wrote; the checksum is among the values.

    Raises:
        ValueError: any byte is not as `dump_checksummed` wrote it, or `data` is no JSON object.
    """
    values = parse_object(data)
    if CHECKSUM not in values:
        raise ValueError(f"no {CHECKSUM} in it")
    if data != dump_checksummed(values):
        raise ValueError(f"altered or damaged: its contents do not match the {CHECKSUM} in it")
    return values


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object, with a checksum or without.

    Raises:
        ValueError: `data` is no JSON object.
    """
    try:
        values = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
    return values


def file_entry(data: bytes) -> dict[str, int | str]:
    """Entry of a file in such a list: its size in bytes and its SHA-256."""
    return {"bytes": len(data), "sha256": sha256(data)}


def _text(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is no UTF-8 has surrogates in Python; JSON reads their backslash escapes as the same ones.
    return text.encode(errors="backslashreplace")
