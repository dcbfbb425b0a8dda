"""File names and other foreign text as cells of CSV, one rule for every script.

The rule: a cell is the name itself, with two exceptions, after which it still names the same file.

1. A name that begins with = + - or @, which a spreadsheet takes for a formula, has ./ before it; - alone is standard
   input and stays.
2. A backslash, a line break and other characters that are not printable are Python's escapes: \\\\, \\n, \\x1b, and
   \\udcff for a byte that is not UTF-8. So a row is one line, and a cell without a backslash needs no decoding. Python
   reads the others by cell.encode("latin-1", "backslashreplace").decode("unicode_escape").

JSON holds every name exactly.
"""

from __future__ import annotations

FORMULA = tuple("=+-@＝＋－＠")  # the wide ones: spreadsheets in Chinese and Japanese


def is_formula(text: str) -> bool:
    """True if a spreadsheet takes a text for a formula."""
    return text.lstrip().startswith(FORMULA)


def csv_cell(name: str) -> str:
    """`name` as the rule above has it, before the commas and quotation marks of CSV itself."""
    safe = f"./{name}" if is_formula(name) and name != "-" else name
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in safe)
