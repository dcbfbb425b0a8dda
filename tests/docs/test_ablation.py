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
from data.rows import Ingredients, RowMaker
from docs.tables import ablation
from docs.tables.ablation import GROUPS, NOTHING, Options, scored, table, variants

WITHOUT_PEN = replace(Ingredients(), pen=False)


def test_each_ingredient_is_in_one_group() -> None:
    grouped = [name for group in GROUPS for name in group]
    assert sorted(grouped) == sorted(field.name for field in fields(Ingredients))
    assert variants()["pen"] == (WITHOUT_PEN, 1) and next(iter(variants())) == NOTHING


def test_trainings_are_kept_and_not_repeated(mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings of two steps, scored on test rows and on two strips in files."""
    strips = RowMaker(mnist.test_images, mnist.test_labels, 5, 1).rows([2, 3])
    for number, (row, digits) in enumerate(zip(*strips, strict=True)):
        Image.fromarray(row).save(tmp_path / f"strip_{number}_{''.join(map(str, digits))}.png")
    used = []

    class Recorded(RowMaker):
        def __init__(self, images: np.ndarray, labels: np.ndarray, *rest: Any) -> None:
            super().__init__(images, labels, *rest)
            used.append((len(labels), self.ingredients))

    monkeypatch.setattr(ablation, "RowMaker", Recorded)
    options = Options(tmp_path / "results.json", rows=64, test_rows=3, pictures=tmp_path)
    wanted = {NOTHING: (Ingredients(), 1), "pen": (WITHOUT_PEN, 1)}
    results = scored(options, wanted)
    assert used == [(10_000, Ingredients()), (55_000, Ingredients()), (55_000, WITHOUT_PEN)]
    assert results["digits"]["pictures"] == sum(map(len, strips[1]))
    assert [len(each) for each in results["distances"]["pen"].values()] == [3, 2]
    assert len(table(results).splitlines()) == 4

    monkeypatch.setattr(ablation, "trained", None)  # which would fail
    assert scored(options, wanted) == results
    with pytest.raises(UsageError, match="expected the same --rows"):
        scored(replace(options, rows=32), wanted)


def test_the_table_counts_rows_lost_and_gained() -> None:
    made_up = {NOTHING: {"test": [0, 0, 0, 2]}, "pen": {"test": [1, 0, 3, 0]}}
    lines = table({"digits": {"test": 8}, "distances": made_up}).splitlines()[2:]
    assert lines == [
        "| nothing | 3 (75.0 %) | −0 +0 | 25.0 % | – | – | – |",
        "| pen | 2 (50.0 %) | −2 +1 | 50.0 % | – | – | – |",
    ]
