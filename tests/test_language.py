"""The language rule, as far as a machine can keep it: docstrings begin with a noun or a verb of the field."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_house import FILES

WORDS = re.compile(
    r"\b(tells?|told|says?|said|whom)\b", re.IGNORECASE
)  # report, print, record, raise; name, state, show
PAGES = [
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "experiments")
    for page in folder.glob("*.md")
    if "zh-CN" not in page.name
]
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
NO_SENTENCE = re.compile(r"<!-- (.*?) -->\n.*?<!-- /\1 -->|^\|.*?$|^!\[.*?$|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
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


def prose() -> Iterator[tuple[str, str]]:
    """Comments, and texts that stand alone: docstrings, and what --help prints of each option; and the pages."""
    for module, path in FILES.items():
        source = path.read_text()
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield f"{module}:{token.start[0]}", token.string
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield f"{module}:{node.lineno}", text
    for page in PAGES:
        yield page.name, CODE.sub("code", page.read_text())


def test_programs_report_and_people_say() -> None:
    found = [
        f"{place}: {text[max(0, word.start() - 30) : word.end() + 20]}"
        for place, text in prose()
        for word in WORDS.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_sentences_of_a_page_are_short(page: Path) -> None:
    """25 words at most, also between semicolons and colons; items of a list are sentences."""
    text = CODE.sub("code", NO_SENTENCE.sub("", page.read_text()))
    items = [" ".join(each.split()) for each in re.split(r"\n\s*\n|\n(?=[-*] |\d+\. )", text)]
    sentences = [each for item in items for each in re.split(r"(?<=[.;:?])\s", item)]
    assert [each for each in sentences if len(each.split()) > 25] == []
