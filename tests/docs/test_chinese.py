"""The Chinese texts: full-width punctuation beside Chinese characters, and no English in the headers of tables."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from pathlib import Path

import pytest

from docs.tables.options import CHINESE, SCRIPTS, key
from tests.conftest import ROOT
from tests.test_house import FILES

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
HAS_HAN = re.compile(f"[{HAN}]")
NARROW = re.compile(rf"[{HAN}][,.:;?!()\"']|[,.:;?!()\"'][{HAN}]")
TIGHT = re.compile(rf"[{HAN}][A-Za-z0-9]|[A-Za-z0-9%][{HAN}]")
PAGES = sorted([*(ROOT / "docs" / "zh").glob("*.md"), ROOT / "README.zh-CN.md"])
NOTEBOOK = ROOT / "docs" / "aistudio.ipynb"
DICTIONARIES = sorted((ROOT / "docs" / "tables").glob("*.zh.json"))
TEXTS = sorted(path for path in FILES.values() if HAS_HAN.search(path.read_text()))
TEMPLATES = sorted(
    path
    for room in ("page", "results")
    for pattern in ("*.html", "*.js", "*.css")
    for path in (ROOT / room).rglob(pattern)
    if HAS_HAN.search(path.read_text())
)
SOURCES = [*PAGES, NOTEBOOK, *DICTIONARIES, *TEXTS, *TEMPLATES]

NO_PROSE = re.compile(r"^ *```.*?^ *```$|\]\([^)]*\)|<[^>]*>|https?://[^\s`]+", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def chinese_of(path: Path, text: str) -> str:
    """The Chinese of a file, outside code and addresses; code in a line stands as a word."""
    match path.suffix:
        case ".ipynb":
            cells = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(text)["cells"]]
            comments = (line for source, kind in cells if kind == "code" for line in re.findall("#.*", source))
            parts = [*(source for source, kind in cells if kind == "markdown"), *comments]
        case ".json":
            parts = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
        case ".py":
            comments = (
                each.string
                for each in tokenize.generate_tokens(io.StringIO(text).readline)
                if each.type == tokenize.COMMENT
            )
            strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            parts = [*comments, *(each for each in strings if isinstance(each, str))]
        case _:
            parts = [text]
    paragraphs = (each for part in parts for each in NO_PROSE.sub("", part).split("\n\n"))
    return "\n\n".join(CODE.sub("码", each) for each in paragraphs if HAS_HAN.search(each))


def narrow(text: str) -> list[str]:
    """Places of ASCII punctuation that touches Chinese characters."""
    return [text[max(0, found.start() - 15) : found.end() + 15] for found in NARROW.finditer(text)]


def test_all_places_of_chinese_are_looked_at() -> None:
    names = {str(path.relative_to(ROOT)) for path in SOURCES}
    assert {"page/texts.py", "results/comparison_texts.py", "docs/tables/options.zh.json"} < names and len(PAGES) > 12


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_punctuation_beside_chinese_characters_is_full_width(path: Path) -> None:
    """And marks that are planted are found."""
    text = path.read_text()
    assert narrow(chinese_of(path, text)) == []
    planted = re.sub(f"(?<=[{HAN}])[，；：](?=[{HAN}])", ",", text)
    assert planted == text or narrow(chinese_of(path, planted))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_space_stands_between_chinese_and_latin(path: Path) -> None:
    text = path.read_text()
    assert TIGHT.findall(chinese_of(path, text)) == []
    planted = re.sub(f"(?<=[{HAN}]) (?=[A-Za-z])", "", text)
    assert planted == text or TIGHT.search(chinese_of(path, planted))


@pytest.mark.parametrize("mark", ",.:;?!()\"'")
def test_every_mark_is_found_on_either_side(mark: str) -> None:
    assert narrow(f"数字{mark} a") and narrow(f"a {mark}数字")


# Names that stay as they are; code between backticks is no word.
NAMES = {"published", "best", "Adam", "Paddle", "lenet_row", "fluid", "JSON", "GPU", "SHA", "NumPy"}
WORD = re.compile(r"[A-Za-z_]{2,}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_table_has_an_english_header(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headers = re.findall(r"^(\|.*)\n\|[-| ]+$", text, re.MULTILINE)
    words = [word for header in headers for word in WORD.findall(re.sub(r"\]\([^)]*\)", "", CODE.sub("", header)))]
    assert set(words) - NAMES == set()


# Names in the cells of generated tables: of optimizers, machines, frameworks, settings of early stopping.
CELLS = NAMES | {"adam", "adamw", "sgd", "SGD", "momentum", "patience", "AMD", "EPYC", "Intel", "Xeon", "numpy", "MiB"}
CELLS |= {"PyTorch", "ONNX", "Runtime", "JAX", "Keras", "compile", "eager", "malloc", "infer"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_generated_table_has_english_cells(page: Path) -> None:
    """But options, whose words docs/tables/options.zh.json has, and names of arrays."""
    found = re.findall(
        r"<!-- ((?!options)[\w ]+) -->\n(\|.*?)\n\n?(?:[^|].*\n)?<!-- /\1 -->", page.read_text(), re.DOTALL
    )
    cells = [cell for _, table in found for line in table.splitlines() for cell in line.strip("| ").split(" | ")]
    prose = [re.sub(r"--[\w-]+|\w+[._]\w+", "", CODE.sub("", cell)) for cell in cells]
    assert {word for cell in prose if " " in cell for word in WORD.findall(cell)} - CELLS == set()


def test_every_option_is_explained_in_chinese() -> None:
    """What is missing belongs into docs/tables/options.zh.json; what is too much, too."""
    page = (ROOT / "docs" / "zh" / "options.md").read_text()
    for script in SCRIPTS:
        [table] = re.findall(rf"<!-- options {script} -->\n(.*?)<!-- /options", page, re.DOTALL)
        rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines()[2:]]
        english = [name for name, _, what in rows if not re.search(f"[{HAN}]", what)]
        assert english == [], script
        names = {key(name.strip("`").replace("\\|", "|")) for name, *_ in rows}
        assert set(CHINESE[script]) == names, script
        assert [what for *_, what in rows if NARROW.search(re.sub(r"`[^`]*`", "", what))] == []
