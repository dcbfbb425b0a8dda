"""Style of all figures: colours, words, files.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), which colour-blind readers can distinguish. Words
are English; names of runs and classes are drawn in any language that an installed font has.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Set
from pathlib import Path

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from common.errors import UsageError, one_line
from common.files import write_file
from common.replacing import may_be_replaced

BLACK, ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip

SUFFIXES = (".pdf", ".png", ".svg")  # of single figures; a run's are drawn as the last two
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
DRAWN_BY = b"Matplotlib v"  # in each figure: as its software, its creator or its producer
WIDTH = 10.0  # inches; a README shows it 830 pixels wide, and text of 9 points then 10 pixels high


OWN_FONT = "DejaVu Sans"  # comes with matplotlib
# With Chinese characters, of Linux, Windows and macOS; JP is the first one in the file that has SC too.
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB"),
)
FILES = re.compile(r"NotoSans(CJK|SC)|SourceHanSans|wqy-|msyh|simhei|PingFang|Hiragino Sans GB", re.IGNORECASE)


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, inches: no pyplot, so no global state, no screen, no back end to choose."""
    return Figure(figsize=(width, height), layout="constrained")


def plain(axes: Axes) -> None:
    """A light grid behind the data, and no frame above and to the right."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def bare(axes: Axes) -> None:
    """No ticks and no frame: what is shown are pictures."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def tiled(pictures: np.ndarray, columns: int, gap: int, below: int = 0) -> np.ma.MaskedArray:
    """Pictures [N, H, W] side by side in rows of `columns`, as one; drawn at once, they cost what one costs.

    Args:
        pictures: at least one.
        columns: in a row; the last row may be shorter.
        gap: pixels between two, masked.
        below: masked pixels more under each, for words.

    Returns:
        [rows · (H + gap + below), columns · (W + gap)]; picture k begins at row (k // columns) · (H + gap + below).
    """
    count, height, width = pictures.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height + gap + below, width + gap), np.nan)
    sheet[:count, :height, :width] = pictures
    sheet = sheet.reshape(rows, columns, height + gap + below, width + gap).swapaxes(1, 2)
    return np.ma.masked_invalid(sheet.reshape(rows * (height + gap + below), columns * (width + gap)))


def text(words: str) -> str:
    """Foreign text as matplotlib shows it letter by letter: no TeX; a question mark for what no font has."""
    if _is_plain(words):
        return words.replace("$", r"\$")
    known = characters((OWN_FONT, *chinese_fonts()))
    return "".join(each if ord(each) in known else "?" for each in words).replace("$", r"\$")


def _is_plain(words: str) -> bool:
    return words.isascii() or {ord(each) for each in words} <= characters((OWN_FONT,))


@functools.cache
def chinese_fonts() -> tuple[str, ...]:
    """Names of the installed fonts that have Chinese characters."""
    manager = font_manager.fontManager
    if not {font.name for font in manager.ttflist} & {*FONTS}:  # matplotlib's list may be older than a font
        for file in font_manager.findSystemFonts():
            if FILES.match(Path(file).name):
                manager.addfont(file)
    return tuple(name for name in FONTS if name in {font.name for font in manager.ttflist})


@functools.cache
def characters(fonts: tuple[str, ...]) -> Set[int]:
    """All characters that these fonts have."""
    files = {font.fname for font in font_manager.fontManager.ttflist if font.name in fonts}
    return {code for file in files for code in font_manager.get_font(file).get_charmap()}


def check_path(path: Path) -> None:
    """Refuse a figure's file name before any work is done for it.

    Raises:
        UsageError: `path` ends in none of them, or there is no folder to hold it, or something else has that name.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{one_line(path)}: expected a figure's name that ends in .pdf, .png or .svg")
    if not path.parent.is_dir():
        raise UsageError(f"{one_line(path)}: expected a name in an existing folder, found no {one_line(path.parent)}")
    if not may_be_replaced(path, DRAWN_BY):
        raise UsageError(f"{one_line(path)}: it is there already and is no figure of Matplotlib's; name another file")


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the form that the suffix of `path` names; the same figure gives the same bytes.

    Raises:
        OSError: it cannot be written; an old file is untouched.
    """
    write_file(path, drawn(figure, path.suffix.lower()))


def save_both(figure: Figure, path: Path) -> None:
    """Write a figure as .png and as .svg; `path` is without a suffix. See `save`."""
    for name, picture in drawn_both(figure, path.name).items():
        write_file(path.with_name(name), picture)


def drawn_both(figure: Figure, stem: str) -> dict[str, bytes]:
    """A figure as the bytes of a .png and of an .svg file, by the files' names."""
    pictures = {}
    for suffix in SUFFIXES[1:]:
        pictures[stem + suffix] = drawn(figure, suffix)
        figure.set_layout_engine("none")  # laid out now; the second drawing need not do it again
    return pictures


def drawn(figure: Figure, suffix: str) -> bytes:
    """A figure as the bytes of a .pdf, .png or .svg file: no date, and no random names inside SVG."""
    for each in figure.findobj(Text):
        if isinstance(each, Text) and not _is_plain(each.get_text()):
            each.set_fontfamily([OWN_FONT, *chinese_fonts()])
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "training.figures"}):
        figure.savefig(picture, format=suffix[1:], dpi=150, metadata=UNDATED.get(suffix))
    return picture.getvalue()
