"""Model folders that tests write from their parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.saved_model import SavedModel, save_model


def write_model(
    folder: Path,
    program: bytes,
    parameters: bytes,
    card: Mapping[str, Any],
    onnx: bytes | None = None,
    novelty: bytes | None = None,
) -> None:
    save_model(folder, SavedModel(folder, card, program, parameters, onnx, novelty))
