"""What was read, and what was compared, as HTML."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape
from PIL import Image

from common.errors import one_line
from page.reader import Layer, ReadDigit
from page.texts import Texts, translated
from results.records import Row
from results.runs import Group, Run, test_interval
from results.significance import Verdict

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def reading_view(digits: Sequence[ReadDigit], texts: Texts) -> str:
    """The digits of a picture with all that is known of each."""
    shown = [
        {
            "image": png(digit.image),
            "no_digit": digit.no_digit,
            "answers": digit.answers,
            "layers": [_layer_view(layer, texts) for layer in digit.layers],
        }
        for digit in digits
    ]
    return _filled("reading.html", digits=shown, texts=texts)


def head_view(texts: Texts) -> str:
    """The page's heading, with the link to the other language."""
    return _filled("head.html", texts=texts)


def heading_view(text: str) -> str:
    """A heading inside the page."""
    return f"<h3>{escape(text)}</h3>"


def board_view(max_bytes: int, texts: Texts) -> str:
    """The sheet to draw on, which page/board.js brings to life."""
    return _filled("board.html", max_bytes=max_bytes, texts=texts)


def message_view(message: str, kind: str = "hint") -> str:
    """One line in place of an answer; `kind`: hint or problem."""
    return _filled("message.html", message=one_line(message), kind=kind)


def comparison_view(
    passes: Sequence[tuple[Run, Row, Verdict]],
    groups: Sequence[Group],
    curves: bytes,
    problems: Iterable[str],
    texts: Texts,
) -> str:
    """The best pass of each run with its verdict, the groups of runs, the curves (PNG), and what could not be read."""
    rows = [
        (
            run.name,
            run.network or "",
            str(row.pass_number),
            _number(row.validation_loss, 4),
            f"{row.test_correct}/{row.test_total}" if row.test_total else "",
            _number(row.test_accuracy, 2, 100),
            " – ".join(_number(bound, 2, 100) for bound in test_interval(row) or ()),
            _number(verdict.difference, 2, 100, sign="+"),
            "" if verdict.p_value is None else f"{verdict.p_value:.2g}",
            translated(verdict.verdict, texts),
        )
        for run, row, verdict in passes
    ]
    group_rows = [
        (
            group.network or "",
            group.recipe_in_words,
            str(group.runs),
            _number(group.test_accuracy_mean, 2, 100),
            _number(group.test_accuracy_sd, 2, 100),
            _number(group.test_accuracy_lowest, 2, 100),
            _number(group.test_accuracy_highest, 2, 100),
            translated(group.verdict, texts),
        )
        for group in groups
    ]
    return _filled(
        "comparison.html",
        rows=rows,
        group_rows=group_rows,
        curves=_data_url(curves),
        problems=list(problems),
        texts=texts,
    )


def png(grey: np.ndarray) -> str:
    """Grey levels [H, W] uint8 as the data URL of a PNG picture."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return _data_url(file.getvalue())


def _filled(template: str, **values: object) -> str:
    """A template with its values; what is no Unicode in them (half a surrogate pair of a card's JSON) as an escape."""
    return _templates.get_template(template).render(**values).encode(errors="backslashreplace").decode()


def _data_url(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _layer_view(layer: Layer, texts: Texts) -> dict[str, object]:
    """One picture per map, or one of all units; the layer's lowest value black, its highest white."""
    low, high = float(layer.output.min()), float(layer.output.max())
    levels = np.rint((layer.output - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    if levels.ndim == 3:
        maps, height, width = levels.shape
        return {
            "name": layer.name,
            "size": texts.maps.format(maps=maps, height=height, width=width),
            "pictures": [png(level) for level in levels],
            "columns": 10 if maps <= 20 else 25,
        }
    return {
        "name": layer.name,
        "size": texts.units.format(units=levels.size),
        "pictures": [png(np.ascontiguousarray(levels.reshape(1, -1)))],
        "columns": 1,
    }


def _number(value: float | None, digits: int, scale: float = 1.0, sign: str = "-") -> str:
    return "" if value is None or not math.isfinite(value) else f"{scale * value:{sign}.{digits}f}"
