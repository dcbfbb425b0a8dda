"""Generated tables in Chinese: headers, words and footers by the phrases of tables.zh.json; code and names stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

Phrases = Mapping[str, str]

_PHRASES: Mapping[str, Phrases] = json.loads(Path(__file__).with_name("tables.zh.json").read_text(encoding="utf-8"))
_NUMBER = r"(\d[\d,.]*\d|\d)"
_CODE = re.compile(r"(`[^`]*`)")
_RULE = re.compile(r"\|[-| ]+\|")  # below a header
_HAN = "\u4e00-\u9fff"
_FULL_WIDTH = str.maketrans(",;:()", "，；：（）")


def in_chinese(block: str) -> str:
    """Translate the tables of a generated block, and the lines below them; console output between fences stays."""
    if block.startswith("```"):
        return block
    return "\n".join(_lines(block.splitlines()))


def _lines(lines: list[str]) -> Iterator[str]:
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if _RULE.fullmatch(line):
            yield line
        elif line.startswith("|"):
            phrases = _PHRASES["headers" if _RULE.fullmatch(after) else "words"]
            cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
            yield f"| {' | '.join(_translated(cell, phrases) for cell in cells)} |"
        else:
            yield _translated(line, _PHRASES["words"])


def _translated(text: str, phrases: Phrases) -> str:
    """Replace phrases, the longest first; each # in one stands for a number, which stays."""
    parts = _CODE.split(text)
    for phrase in sorted(phrases, key=len, reverse=True):
        pattern = re.compile(rf"(?<![\w.-]){re.escape(phrase).replace(chr(92) + '#', _NUMBER)}(?![\w-])")
        words = phrases[phrase].replace("#", "{}")
        parts[::2] = [
            pattern.sub(lambda found, words=words: words.format(*found.groups()), part) for part in parts[::2]
        ]
    text = "".join(parts)
    return _punctuated(text) if re.search(rf"[{_HAN}]|\(`", text) else text


def _punctuated(text: str) -> str:
    """Full-width punctuation, outside code, and no spaces between Chinese words; thousands keep their commas."""
    parts = _CODE.split(text)
    parts[::2] = [
        re.sub(r" ?\(|\) ?|[,;:](?: |$)", lambda mark: mark[0].strip().translate(_FULL_WIDTH), part)
        for part in parts[::2]
    ]
    return re.sub(rf"(?<=[{_HAN}]) (?=[{_HAN}])| (?=[，；：（])", "", re.sub(r"\.$", "。", "".join(parts)))
