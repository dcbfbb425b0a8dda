"""The check of a model's card, card.json: its form, and the faults that make it unusable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.cells import is_formula
from common.errors import one_line
from common.project import __version__
from common.ranges import is_number

CARD_FORMAT = 1  # raised when a reader of the old form could not read the new one
MOST_LABELS = 1000
LARGEST_ODDS = 1e9  # a logarithm's


def card_problem(card: Mapping[str, Any], names: Sequence[str]) -> str:
    """The fault that makes a card unusable, in words; empty if there is none.

    Args:
        card: as it was read.
        names: of the model's files, whose sums it must hold.
    """
    if card.get("format") != CARD_FORMAT:
        got = one_line(card.get("format"), 40)
        release = one_line(card.get("version"), 20)
        return f"expected format {CARD_FORMAT}, got {got}: made by release {release}, this is {__version__}"
    files = card["files"] if isinstance(card.get("files"), dict) else {}
    for name in names:
        entry = files.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            return f"expected files.{name}.sha256, got none"
    picture = card.get("input")
    if not isinstance(picture, dict):
        return "expected the object input, got none"
    shapes = ([-1, 1, 32, -1],) if picture.get("fit") == "row" else ([-1, 1, 28, 28], [-1, 1, 32, 32])
    if picture.get("shape") not in shapes:
        return f"expected input.shape {' or '.join(map(str, shapes))}, got {one_line(picture.get('shape'), 60)}"
    for bound in ("low", "high"):
        if not is_number(value := picture.get(bound), -1e6, 1e6):
            return f"expected a number as input.{bound}, got {one_line(value, 60)}"
    if picture.get("fit") not in ("none", "pad", "resize", "row"):
        return f"expected input.fit none, pad, resize or row, got {one_line(picture.get('fit'), 60)}"
    if (picture["fit"] == "none") != (picture["shape"][2] == 28):
        return f"input.fit {picture['fit']} does not go with input.shape {picture['shape']}"
    labels = card.get("labels")
    if not isinstance(labels, list) or not 2 <= len(labels) <= MOST_LABELS or not all(map(_is_name, labels)):
        return "expected labels, a list of 2 to 1000 printable names that are no formulas to a spreadsheet"
    if twice := [label for place, label in enumerate(labels) if label in labels[:place]]:
        return f"expected a label of its own for each class, got {one_line(twice[0], 60)} twice"
    temperature = card.get("temperature", 1)
    if not is_number(temperature, 0.01, 100):
        return f"expected a temperature of 0.01 to 100, got {one_line(temperature, 60)}"
    marks = card.get("no_digit", {})
    if not isinstance(marks, dict) or not is_number(marks.get("least_odds", 0), -LARGEST_ODDS, LARGEST_ODDS):
        return f"expected no_digit.least_odds, a number, got {one_line(marks, 60)}"
    return ""


def _is_name(label: Any) -> bool:
    return isinstance(label, str) and label.isprintable() and 0 < len(label) <= 100 and not is_formula(label)
