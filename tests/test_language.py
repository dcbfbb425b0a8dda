"""The language rule, as far as a machine can keep it: docstrings begin with a noun or a verb of the field."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
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
ENTRY = re.compile(r"^ {4}(?=\w+: )", re.MULTILINE)  # of a docstring's list
NO_PROSE = re.compile(r"^.*(?:→|python ).*$", re.MULTILINE)  # chains of layers, examples of commands
BEGINNINGS = ("What", "Who", "Where", "How", "Whether", "Let")


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """All parts of all modules, each after its module's name."""
    return [(module, node) for module, path in FILES.items() for node in ast.walk(ast.parse(path.read_text()))]


def docstrings() -> Iterator[tuple[str, str]]:
    """Each docstring, after the name of its module, class or function; and each help text of an option."""
    for module, node in nodes():
        match node:
            case ast.ClassDef(name=name, body=[_, *body]):
                for part in body:
                    match part:
                        case ast.Expr(value=ast.Constant(value=str(text))):
                            yield f"{module}.{name}, line {part.lineno}", text
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if text := ast.get_docstring(node):
            yield f"{module}.{getattr(node, 'name', '')}".rstrip("."), text


def test_no_docstring_begins_with_a_question() -> None:
    found = dict(docstrings())
    assert len(found) > 500
    assert [name for name, text in found.items() if text.split()[0] in BEGINNINGS] == []


def sentences(text: str) -> list[str]:
    """Sentences, and their parts between semicolons and colons, of a text whose paragraphs and items are apart."""
    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n|\n(?=[-*] |\d+\. )", text)]
    return [each for paragraph in paragraphs for each in re.split(r"(?<=[.;:?])\s|(?<=[.;:?]\))\s", paragraph)]


def test_the_sentences_of_a_docstring_are_short() -> None:
    """25 words at most; chains of layers and examples of commands are no sentences."""
    long = [
        f"{name}: {sentence}"
        for name, text in docstrings()
        for sentence in sentences(ENTRY.sub("\n", NO_PROSE.sub("", text)))
        if len(sentence.split()) > 25
    ]
    assert long == []


def prose() -> Iterator[tuple[str, str]]:
    """Comments, and texts of several words: docstrings, help of the options, messages; and the pages."""
    for module, path in FILES.items():
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT:
                yield f"{module}:{token.start[0]}", token.string
    for module, node in nodes():
        match node:
            case ast.Constant(value=str(text)) if " " in text:
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
    assert [each for each in sentences(text) if len(each.split()) > 25] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_of_a_page_begins_with_a_question(page: Path) -> None:
    """Sentences, items of lists and cells of tables, but not headings."""
    text = CODE.sub("code", re.sub(r"^#.*$", "", page.read_text(), flags=re.MULTILINE))
    begun = re.findall(rf"(?:^|[.:;!?|]\s|\n\n|^[-*] |\d\. )((?:{'|'.join(BEGINNINGS)})\b[^.|]*)", text)
    assert begun == []
