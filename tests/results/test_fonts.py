"""Names in figures: drawn in Chinese if a font has the characters, never as escapes, shortened in the middle."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager

from results.figures import style
from results.figures.curves import comparison_curves
from results.figures.predictions import confusion_figure
from results.figures.style import drawn, text
from tests.results.test_compare import row

NAME = "第一次训练_" + "a" * 50 + "_seed2"


def names_drawn(name: str) -> list[str]:
    """The legend of a comparison of one run, which is drawn without a warning of a missing glyph."""
    figure = comparison_curves({name: [row("a", 1, 0.1, 9900), row("a", 2, 0.05, 9910)]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in (".png", ".svg", ".pdf"):
            assert drawn(figure, suffix)
    return [each.get_text() for each in figure.legends[0].get_texts()]


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[font_manager.FontEntry]]:
    """Matplotlib's own fonts alone; a test may append others."""
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    for cached in (style.chinese_fonts, style.characters):
        cached.cache_clear()
    yield own
    for cached in (style.chinese_fonts, style.characters):
        cached.cache_clear()


def chinese_font(path: Path) -> font_manager.FontEntry:
    """A font of squares for the characters of `NAME`."""
    pen = TTGlyphPen(None)
    for point in ((0, 0), (0, 800), (800, 800), (800, 0)):
        pen.lineTo(point) if point != (0, 0) else pen.moveTo(point)
    pen.closePath()
    square, characters = pen.glyph(), sorted(set(NAME) - set(map(chr, range(128))))
    glyphs = [".notdef", *(f"uni{ord(each):04X}" for each in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(each): glyph for each, glyph in zip(characters, glyphs[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(glyphs, square))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "SimHei", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)
    return font_manager.FontEntry(fname=str(path), name="SimHei")


def test_a_name_is_drawn_as_it_is_if_a_font_has_its_characters(fonts: list, tmp_path: Path) -> None:
    fonts.append(chinese_font(tmp_path / "simhei.ttf"))
    [name, *_] = names_drawn(NAME)
    assert name.startswith(" 第一次训练_a") and name.endswith("a_seed2") and "…" in name
    assert confusion_figure(np.eye(2, dtype=int), ["第", "b"]).axes[0].get_xticklabels()[0].get_text() == "第"


def test_a_font_that_matplotlibs_list_lacks_is_found(
    fonts: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is kept in a file, and a font may have been installed since."""
    path = tmp_path / "simhei.ttf"
    chinese_font(path)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "other.ttf"), str(path)])
    assert names_drawn("第一次")[0] == " 第一次"


def test_without_such_a_font_a_question_mark_stands_for_each(fonts: list) -> None:
    [name, *_] = names_drawn(NAME)
    assert name.startswith(" ?????_a") and name.endswith("a_seed2") and "\\u" not in name


def test_no_text_is_taken_for_tex(fonts: list) -> None:
    assert text("$x$ é") == r"\$x\$ é"
