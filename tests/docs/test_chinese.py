"""The Chinese pages: full-width punctuation beside Chinese characters, outside code, addresses and generated tables."""

from __future__ import annotations

import json
import re

import pytest

from docs.tables.options import CHINESE, SCRIPTS, key
from tests.conftest import ROOT

PAGES = sorted(str(page.relative_to(ROOT)) for page in [*(ROOT / "docs" / "zh").glob("*.md"), ROOT / "README.zh-CN.md"])
NO_PROSE = re.compile(
    r"<!-- (.*?) -->\n.*?<!-- /\1 -->|^ *```.*?^ *```$|\]\([^)]*\)|<[^>]*>|https?://\S+", re.MULTILINE | re.DOTALL
)
CODE = re.compile(r"`[^`\n]*`")
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
NARROW = re.compile(f"[{HAN}][,:;?!()]|[,:;?!()][{HAN}]")


def prose_of(page: str) -> str:
    text = (ROOT / page).read_text()
    if page.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        paragraphs = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown").split(
            "\n\n"
        )
        text = "\n\n".join(each for each in paragraphs if re.search(f"[{HAN}]", each))
    return CODE.sub("码", NO_PROSE.sub("", text))  # code is a word like others


@pytest.mark.parametrize("page", [*PAGES, "docs/aistudio.ipynb"])
def test_punctuation_beside_chinese_characters_is_full_width(page: str) -> None:
    prose = prose_of(page)
    assert len(re.findall(f"[{HAN}]", prose)) > 100
    assert [prose[max(0, found.start() - 15) : found.end() + 15] for found in NARROW.finditer(prose)] == []


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
