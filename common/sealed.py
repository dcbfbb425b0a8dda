"""JSON that carries its own SHA-256, so that a changed byte is noticed, whichever it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.files import sha256

SEAL = "sha256"


def sealed(values: Mapping[str, Any]) -> bytes:
    """`values` as indented JSON in UTF-8; its last entry is the SHA-256 of the same text without that entry.

    Raises:
        ValueError: a number that JSON does not know.
    """
    own = {name: value for name, value in values.items() if name != SEAL}
    return _text({**own, SEAL: sha256(_text(own))})


def unsealed(data: bytes) -> dict[str, Any]:
    """The values that `sealed` made `data` of, the seal among them.

    Raises:
        ValueError: any byte is not as `sealed` wrote it, or `data` is no JSON object at all.
    """
    values = parsed(data)
    if SEAL not in values:
        raise ValueError(f"no {SEAL} in it")
    if data != sealed(values):
        raise ValueError(f"altered or damaged: its contents do not match the {SEAL} in it")
    return values


def parsed(data: bytes) -> dict[str, Any]:
    """A JSON object, sealed or not.

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


def _text(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is no UTF-8 has surrogates in Python; backslashes make of them what JSON reads as the same ones.
    return text.encode(errors="backslashreplace")
