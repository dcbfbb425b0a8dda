"""The texts of the page: both languages say the same."""

from __future__ import annotations

from page.texts import CHINESE
from results.html import OF_RUNS
from results.significance import Outcome
from results.table import GROUP_COLUMNS, VERDICT_COLUMNS


def test_every_column_and_verdict_has_its_chinese() -> None:
    chinese = CHINESE.comparison
    assert [*OF_RUNS, *VERDICT_COLUMNS, *GROUP_COLUMNS] == [
        header for header in [*OF_RUNS, *VERDICT_COLUMNS, *GROUP_COLUMNS] if chinese.headers.get(header)
    ]
    assert set(chinese.outcomes) == set(Outcome)
