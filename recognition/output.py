"""Answers as a table, as JSON Lines, as CSV. The shapes of JSON and CSV are a contract.

JSON, an object a line:  {"path": "7.png", "digit": "7", "probability": 0.998, "rejected": false, "no_digit": false,
                          "top": [{"digit": "7", "probability": 0.998}, …]}
                    or:  {"path": "7.png", "error": "why it could not be read", "no_digit": false}
A rejected answer has "digit": null and "rejected": true; "top" still holds the network's answers. "no_digit" is true
where the picture is unlike every digit; "digit" is then what it is likest all the same. It is no error, except for a
picture with nothing in it at all, which has no digit. "several": true is there if the picture plainly holds several
digits, of which the answer is one; --lines reads them all.

With --lines:  {"path": "number.jpg", "lines": [{"text": "2024", "probability": 0.95, "rejected": false,
                "no_digit": false, "box": [40, 52, 310, 96], "digits": [{"digit": "2", "probability": 0.99,
                "rejected": false, "no_digit": false, "box": [40, 55, 60, 93], "top": […]}, …]}, …]}
A box is [left, top, width, height] in pixels of the picture, turned upright by its EXIF data. Lines go from the
top, digits from the left. "probability" is that of all digits being right; a rejected digit is "?" in "text", and a
line is rejected, or "no_digit", where one of its digits is.

CSV:  path,digit,probability,rejected,top,error,no_digit,several
with top as "7:0.998 1:0.001", and empty cells where there is nothing. In top the name of a class that holds a space, a
colon or a quotation mark is a JSON string: "Ankle boot":0.998 Bag:0.001. A path is the file's name. One that begins
with = + - or @, or holds a backslash or what is not printable, is escaped as in `common/cells.py`: still the same
file's name, no formula of a spreadsheet, and in one line.
With --lines, a row a line of digits:  path,line,text,probability,rejected,no_digit,left,top,width,height,error
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from common.cells import csv_cell
from common.errors import one_line
from common.width import shorten
from recognition.kind import PictureKind
from recognition.reader import Answer, Failure
from recognition.row_answers import PageAnswer

CSV_COLUMNS = ("path", "digit", "probability", "rejected", "top", "error", "no_digit", "several")
BOX_COLUMNS = ("left", "top", "width", "height")
LINES_COLUMNS = ("path", "line", "text", "probability", "rejected", "no_digit", *BOX_COLUMNS, "error")
NO_DIGIT, NO_CLASS = "no digit?", "unlike every class?"
SHORTEST_NAME = 12  # characters of a picture's name, on a terminal however narrow
SEVERAL = "several digits? Read them with --lines"


def model_line(folder: Path, card: Mapping[str, Any]) -> str:
    """Which model answers: its folder, network, pass, run and score, as far as its card has them."""
    parts = [str(folder), card.get("network")]
    if "pass" in card and "run" in card:
        parts.append(f"pass {card['pass']} of run {card['run']}")
    scores = card.get("scores")
    test = scores.get("test") if isinstance(scores, dict) else None
    if isinstance(test, dict) and "correct" in test and "total" in test:
        parts.append(f"{test['correct']} of {test['total']} test images right")
    if PictureKind.of_card(card).sizes_vary:
        parts.append("trained on digits of no usual size, so that its answers may be wrong")
    return one_line(f"model: {', '.join(str(part) for part in parts if part)}", 1000)


def as_json(answer: Answer | PageAnswer | Failure) -> str:
    """One line of JSON; ASCII only, so that any file name survives any terminal and pipe."""
    if isinstance(answer, Failure):
        return json.dumps({"path": answer.path, "error": answer.error, "no_digit": answer.no_digit})
    if isinstance(answer, Answer):
        return json.dumps({"path": answer.path, **_record(answer), **({"several": True} if answer.several else {})})
    lines = [
        {
            "text": line.text,
            "probability": round(line.probability, 6),
            "rejected": line.rejected,
            "no_digit": line.no_digit,
            "box": line.box,
            "digits": [{**_record(digit.answer), "box": digit.box} for digit in line.digits],
        }
        for line in answer.rows
    ]
    return json.dumps({"path": answer.path, "lines": lines})


def _record(answer: Answer) -> dict[str, Any]:
    top = [{"digit": digit, "probability": round(probability, 6)} for digit, probability in answer.digits]
    return {
        "digit": None if answer.rejected else top[0]["digit"],
        "probability": top[0]["probability"],
        "rejected": answer.rejected,
        "no_digit": answer.no_digit,
        "top": top,
    }


def as_csv(answer: Answer | PageAnswer | Failure) -> str:
    """One row of CSV, without its line end."""
    if isinstance(answer, Failure):
        return _csv_row([csv_cell(answer.path), "", "", "", "", answer.error, _yes_no(answer.no_digit), ""])
    assert isinstance(answer, Answer)
    digit, probability = answer.digits[0]
    top = " ".join(f"{_in_top(digit)}:{probability:.6f}" for digit, probability in answer.digits)
    shown = "" if answer.rejected else digit
    marks = _yes_no(answer.rejected), top, "", _yes_no(answer.no_digit), _yes_no(answer.several)
    return _csv_row([csv_cell(answer.path), shown, f"{probability:.6f}", *marks])


def _in_top(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if set(name) & set(' :"') else name


def rows_as_csv(answer: Answer | PageAnswer | Failure) -> str:
    """A row of CSV for each line of digits, without the last line end."""
    if isinstance(answer, Failure):
        empty = [""] * len(BOX_COLUMNS)
        return _csv_row([csv_cell(answer.path), *[""] * 4, _yes_no(answer.no_digit), *empty, answer.error])
    assert isinstance(answer, PageAnswer)
    rows = []
    for number, line in enumerate(answer.rows, start=1):
        marks = _yes_no(line.rejected), _yes_no(line.no_digit)
        cells = [str(number), line.text, f"{line.probability:.6f}", *marks, *map(str, line.box), ""]
        rows.append(_csv_row([csv_cell(answer.path), *cells]))
    return "\n".join(rows)


def as_table_row(answer: Answer | PageAnswer | Failure, names: int = 0, width: int = 0) -> str:
    """One row for people; a failure has none, since stderr reports it.

    Args:
        answer: for the picture.
        names: longest name of a class, characters; 0 for digits.
        width: of the terminal, characters; 0 for rows of any length.
    """
    if not isinstance(answer, Answer):
        return ""
    digit, probability = answer.digits[0]
    others = [f"{digit} {100 * probability:.1f} %" for digit, probability in answer.digits[1:]]
    shown = f"({digit})" if answer.rejected else digit if names else f" {digit} "
    marks = [NO_CLASS if names else NO_DIGIT] if answer.no_digit else []
    marks += [SEVERAL] if answer.several else []
    head = f"{shown:>{_wide(names)}}  {100 * probability:10.2f} %"
    return _with_picture(head, others, _others(names), answer.path, marks, width)


def _with_picture(head: str, others: Sequence[str], column: int, path: str, marks: Sequence[str], width: int) -> str:
    """A row: its head, `others` in a column of its own, the picture's name, marks.

    On a narrower terminal the name is shortened, and what of the others does not fit its column stands below, as the
    marks do.
    """
    name = one_line(path)
    whole = "  ".join([head, f"{'  '.join(others):<{column}}", name, *marks])
    if not width or cell_len(whole) <= width:
        return whole
    lines: list[str] = []
    for other in others:
        if lines and cell_len(lines[-1]) + 2 + cell_len(other) <= column:
            lines[-1] += f"  {other}"
        else:
            lines.append(other)
    first, *rest = lines or [""]
    room = width - cell_len(head) - column - 4
    beside = [shorten(name, room)] if room >= SHORTEST_NAME else []
    below = [" " * (cell_len(head) + 2) + line for line in rest]
    at_right = [*([] if beside else [shorten(name, width)]), *marks]
    below += [" " * (width - cell_len(text)) + text for text in at_right]
    return "\n".join(["  ".join([head, f"{first:<{column}}", *beside]).rstrip(), *below])


def _wide(names: int) -> int:
    return max(5, names + 2) if names else 5


def _others(names: int) -> int:
    return max(24, 2 * names + 18)


def rows_as_table(answer: Answer | PageAnswer | Failure, width: int = 0) -> str:
    """One row for people for each line of digits; `width` as of `as_table_row`."""
    if not isinstance(answer, PageAnswer):
        return ""
    rows = []
    for line in answer.rows:
        box = "{},{} {}x{}".format(*line.box)
        head, marks = f"{line.text:<16}  {100 * line.probability:10.2f} %", [NO_DIGIT] if line.no_digit else []
        rows.append(_with_picture(head, [box], 20, answer.path, marks, width))
    return "\n".join(rows)


LINES_HEADER = f"{'number':<16}  {'probability':>12}  {'left,top size':<20}  picture"

Print = Callable[[Answer | PageAnswer | Failure], str]


def formats(labels: Sequence[str], width: int = 0) -> dict[str, tuple[str, Print]]:
    """Header and rows of each format, for answers of these classes; the table's columns fit their names.

    Args:
        labels: names of the classes.
        width: of the terminal, characters; 0 for rows of any length.
    """
    names = 0 if all(len(label) == 1 for label in labels) else max(map(len, labels))
    header = (
        f"{'class' if names else 'digit':>{_wide(names)}}  {'probability':>12}  {'else':<{_others(names)}}  picture"
    )
    return {
        "table": (header, partial(as_table_row, names=names, width=width)),
        "json": ("", as_json),
        "csv": (",".join(CSV_COLUMNS), as_csv),
    }


def row_formats(width: int = 0) -> dict[str, tuple[str, Print]]:
    """The same with --lines."""
    return {
        "table": (LINES_HEADER, partial(rows_as_table, width=width)),
        "json": ("", as_json),
        "csv": (",".join(LINES_COLUMNS), rows_as_csv),
    }


def _yes_no(mark: bool) -> str:
    return str(mark).lower()


def _csv_row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
