"""The released models: their pages, and the confidence of the one that reads digits, in tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.project import FOLDER
from model.calibration import rejection_threshold
from model.saved_model import RELEASED, ROWS, read_model, save_model

MODELS = (FOLDER / "inference_model" / RELEASED, FOLDER / "inference_model" / RELEASED / ROWS)
ERROR_RATES = (0.005, 0.002, 0.001)


def write_pages() -> None:
    """Write README.md of each released model as `save_model` writes any model's: from the card, which then lists it.

    Raises:
        UserError: a model cannot be read.
    """
    for folder in MODELS:
        save_model(folder, read_model(folder))


def confidence_table(card: Mapping[str, Any]) -> str:
    """Right answers, temperature, calibration errors, and errors among the rest when 1 % of the test is rejected."""
    scores, calibration = card["scores"], card["calibration"]
    rejected = card["rejection"]["test"]
    lines = [
        f"| `{card['network']}`, temperature {card['temperature']:.2f} | validation | test |",
        "|---|---|---|",
        _row("right", *(f"{scores[split]['correct']:,} of {scores[split]['total']:,}" for split in SPLITS)),
    ]
    for when in ("before", "after"):
        errors = (f"{100 * calibration[split][when]:.2f} %" for split in SPLITS)
        lines.append(_row(f"calibration error {when} the temperature", *errors))
    rest = f"{rejected['errors']} of {rejected['images'] - rejected['rejected']:,}"
    lines.append(_row(f"errors among the rest with {rejected['rejected']} rejected", "–", rest))
    return "\n".join(lines)


def rejection_table(card: Mapping[str, Any]) -> str:
    """For some wanted error rates: the threshold, and what it does to the validation images that it comes from."""
    table = card["rejection"]["validation"]
    lines = [
        f"| `--error-rate` | rejects below | rejects of {table['images']:,} validation | errors among the rest |",
        "|---|---|---|---|",
    ]
    for error_rate in ERROR_RATES:
        threshold = rejection_threshold(card, error_rate)
        place = table["reject_below"].index(threshold)
        cells = (f"{threshold:.3f}", str(table["rejected"][place]), str(table["errors"][place]))
        lines.append(_row(f"{error_rate:g}", *cells))
    return "\n".join(lines)


SPLITS = ("validation", "test")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
