"""The ablation of rows' ingredients: what it trains without, what it keeps, and its table by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.dataset import Mnist
from data.rows import PLAIN, Ingredients, RowMaker
from docs.tables import ablation
from docs.tables.ablation import GROUPS, NOTHING, Options, scored, strips, table, variants

WITHOUT_PEN = replace(Ingredients(), pen=False)


def test_each_ingredient_is_in_one_group() -> None:
    grouped = [name for group in GROUPS for name in group]
    assert sorted(grouped) == sorted(field.name for field in fields(Ingredients))
    assert variants()["pen"] == (WITHOUT_PEN, 1) and next(iter(variants())) == NOTHING


@pytest.fixture
def folder(mnist: Mnist, tmp_path: Path) -> Path:
    """Two strips, 96 pixels high, of five and of four digits."""
    for number, digits in enumerate(([0, 1, 2, 3, 4], [5, 6, 7, 8])):
        row = 255 - np.concatenate(mnist.test_images[digits], axis=1)
        name = f"cell_{number}_{''.join(map(str, mnist.test_labels[digits]))}.png"
        Image.fromarray(row).resize((row.shape[1] * 4, 96)).save(tmp_path / name)
    return tmp_path


def test_strips_have_the_digits_of_their_names(mnist: Mnist, folder: Path) -> None:
    rows = strips(folder)
    assert rows.labels.tolist() == [mnist.test_labels[:5].tolist(), [*mnist.test_labels[5:9], -1]]
    assert [row.shape for row in rows.images] == [(32, 187), (32, 149)]
    with pytest.raises(UsageError, match=r"such as cell_105\.png, found none"):
        strips(Path(__file__).parent)


def test_trainings_are_kept_and_not_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings of two steps, after one of two; each begins with the same network, and has other ingredients."""
    used = []

    class Recorded(RowMaker):
        def __init__(self, images: np.ndarray, labels: np.ndarray, *rest: Any) -> None:
            super().__init__(images, labels, *rest)
            used.append((len(labels), self.ingredients))

    monkeypatch.setattr(ablation, "RowMaker", Recorded)
    options = Options(folder / "results.json", rows=16, first=16, held_out=40, pictures=folder)
    wanted = {NOTHING: (Ingredients(), 1), "pen": (WITHOUT_PEN, 1), "again": (Ingredients(), 1)}
    results = scored(options, wanted)
    assert used == [(59_960, use) for use in (PLAIN, Ingredients(), WITHOUT_PEN, Ingredients())]
    rows, pictures = results["scores"]["pen"]
    assert results["rows"] == [16, 16, len(rows["exact"]), 2] and len(pictures["exact"]) == 2
    assert results["scores"]["again"] == results["scores"][NOTHING]
    assert len(table(results).splitlines()) == 5

    used.clear()
    assert scored(options, wanted) == results and not used
    with pytest.raises(UsageError, match="name a new file"):
        scored(replace(options, rows=32), wanted)


def test_the_table_counts_rows_lost_and_gained() -> None:
    exact = [[True, True, True, False], [False, True, False, True]]
    made_up = {name: [{"exact": each, "digit_error": 0.25}] for name, each in zip((NOTHING, "pen"), exact, strict=True)}
    assert table({"scores": made_up}).splitlines()[2:] == [
        "| nothing | 3 (75.0 %) | −0 +0 | 25.0 % | – | – | – |",
        "| pen | 2 (50.0 %) | −2 +1 | 25.0 % | – | – | – |",
    ]
