"""Answers as a table, as JSON Lines, as CSV. The shapes of JSON and CSV are a contract.

JSON, an object a line:  {"path": "7.png", "digit": "7", "probability": 0.998, "rejected": false,
                          "top": [{"digit": "7", "probability": 0.998}, …]}
                    or:  {"path": "7.png", "error": "why it could not be read"}
A rejected answer has "digit": null and "rejected": true; "top" still tells what the network thought.

CSV:  path,digit,probability,rejected,top,error   with top as "7:0.998 1:0.001", and empty cells where there is nothing;
a path's line breaks and other unprintable characters are escaped, so that a row is a line.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from typing import Any

from common.errors import one_line
from recognition.reader import Answer, Failure

CSV_COLUMNS = ("path", "digit", "probability", "rejected", "top", "error")


def as_json(answer: Answer | Failure) -> str:
    """One line of JSON; ASCII only, so that any file name survives any terminal and pipe."""
    if isinstance(answer, Failure):
        return json.dumps({"path": answer.path, "error": answer.error})
    top = [{"digit": digit, "probability": round(probability, 6)} for digit, probability in answer.digits]
    record: dict[str, Any] = {
        "path": answer.path,
        "digit": None if answer.rejected else top[0]["digit"],
        "probability": top[0]["probability"],
        "rejected": answer.rejected,
        "top": top,
    }
    return json.dumps(record)


def as_csv(answer: Answer | Failure) -> str:
    """One row of CSV, without its line end."""
    if isinstance(answer, Failure):
        return _csv_row([_whole(answer.path), "", "", "", "", answer.error])
    digit, probability = answer.digits[0]
    top = " ".join(f"{digit}:{probability:.6f}" for digit, probability in answer.digits)
    shown = "" if answer.rejected else digit
    return _csv_row([_whole(answer.path), shown, f"{probability:.6f}", str(answer.rejected).lower(), top, ""])


def as_table_row(answer: Answer | Failure) -> str:
    """One row for people; a failure has none, since stderr tells it."""
    if isinstance(answer, Failure):
        return ""
    digit, probability = answer.digits[0]
    others = "  ".join(f"{digit} {100 * probability:.1f} %" for digit, probability in answer.digits[1:])
    shown = f"({digit})" if answer.rejected else f" {digit} "
    return f"{shown:>5}  {100 * probability:10.2f} %  {others:<24}  {one_line(answer.path)}"


TABLE_HEADER = f"{'digit':>5}  {'probability':>12}  {'else':<24}  picture"

FORMATS: dict[str, tuple[str, Callable[[Answer | Failure], str]]] = {
    "table": (TABLE_HEADER, as_table_row),
    "json": ("", as_json),
    "csv": (",".join(CSV_COLUMNS), as_csv),
}


def _whole(path: str) -> str:
    return one_line(path, sys.maxsize)


def _csv_row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
