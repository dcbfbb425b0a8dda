"""The language rule, as far as a machine can keep it: docstrings begin with a noun or a verb of the field."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.test_house import FILES

BEGINNINGS = ("What", "Who", "Where", "How", "Whether", "Let")


def docstrings() -> Iterator[tuple[str, str]]:
    """Each docstring, after the name of its module, class or function."""
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if text := ast.get_docstring(node):
                yield f"{module}.{getattr(node, 'name', '')}".rstrip("."), text


def test_no_docstring_begins_with_a_question() -> None:
    found = dict(docstrings())
    assert len(found) > 500
    assert [name for name, text in found.items() if text.split()[0] in BEGINNINGS] == []


def test_the_first_sentence_of_a_docstring_is_short() -> None:
    """25 words at most; of one that ends in a colon or a semicolon, its part before that."""
    long = {
        name: len(words)
        for name, text in docstrings()
        if len(words := re.split(r"(?<=[.;:])\s", text.split("\n\n")[0])[0].split()) > 25
    }
    assert long == {}
