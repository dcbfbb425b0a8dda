"""The parts of the page as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import escape
from PIL import Image

from common.errors import one_line
from page.reader import Layer, ReadDigit
from page.texts import Texts
from results.html import filled, templates

_templates = templates(Path(__file__).parent / "templates")


def reading_view(digits: Sequence[ReadDigit], texts: Texts, several: bool = False) -> str:
    """The digits of a picture, each with the models' answers and the layers' outputs.

    Args:
        digits: from `Reader.answer`.
        texts: of the page's language.
        several: name the row mode, since the picture holds several digits and one was looked for.
    """
    shown = [
        {
            "image": png(digit.image),
            "no_digit": digit.no_digit,
            "answers": digit.answers,
            "layers": [_layer_view(layer, texts) for layer in digit.layers],
        }
        for digit in digits
    ]
    return filled(_templates, "reading.html", digits=shown, texts=texts, several=several)


def head_view(texts: Texts) -> str:
    """The page's heading, with the link to the other language."""
    return filled(_templates, "head.html", texts=texts)


def heading_view(text: str) -> str:
    """A heading inside the page."""
    return f"<h2>{escape(text)}</h2>"


def board_view(max_bytes: int, texts: Texts) -> str:
    """The sheet to draw on; page/board.js is its code."""
    return filled(_templates, "board.html", max_bytes=max_bytes, texts=texts)


def message_view(message: str, kind: str = "hint") -> str:
    """One line in place of an answer; `kind`: hint or problem."""
    return filled(_templates, "message.html", message=one_line(message), kind=kind)


def png(grey: np.ndarray) -> str:
    """Grey levels [H, W] uint8 as the data URL of a PNG picture."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _layer_view(layer: Layer, texts: Texts) -> dict[str, object]:
    """One picture per map, or one of all units; the layer's lowest finite value black, its highest white."""
    output = layer.output.astype(np.float64)  # the difference of two float32 may be beyond float32
    finite = output[np.isfinite(output)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    shares = (np.nan_to_num(output, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12)
    levels = np.rint(255 * shares).astype(np.uint8)
    more = texts.not_finite.format(values=output.size - finite.size) if finite.size < output.size else ""
    if levels.ndim == 3:
        maps, height, width = levels.shape
        return {
            "name": layer.name,
            "size": texts.maps.format(maps=maps, height=height, width=width) + more,
            "pictures": [png(level) for level in levels],
            "columns": 10 if maps <= 20 else 25,
        }
    return {
        "name": layer.name,
        "size": texts.units.format(units=levels.size) + more,
        "pictures": [png(np.ascontiguousarray(levels.reshape(1, -1)))],
        "columns": 1,
    }
