"""compare.py --group pools only runs whose results may be pooled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from results.groups import Group, group_runs
from results.runs import load_runs
from tests.conftest import ROOT
from tests.scripts.test_old_folders import SAMPLES


def groups(tmp_path: Path, change: dict[str, dict[str, Any]]) -> list[Group]:
    """The groups of the sample run and of two copies of it: with another seed, and with another seed and `change`."""
    record = json.loads((SAMPLES / "run" / "run.json").read_text())
    for number, changes in enumerate([{}, {"settings": {"seed": 4}}, {"settings": {"seed": 5}} | change]):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        shutil.copy(SAMPLES / "run" / "results.csv", folder)
        changed = {name: {**record[name], **values} for name, values in changes.items()}
        changed["settings"] = {**changed.get("settings", record["settings"]), "run_dir": str(folder)}
        (folder / "run.json").write_text(json.dumps(record | changed))
    runs, problems = load_runs(sorted(tmp_path.iterdir()))
    assert not problems
    return group_runs(runs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": {"passes": 3}}, "passes 3"),
        ({"recipe": {"learning_rate": 0.5}}, "learning rate 0.5"),
        ({"settings": {"maps": [3, 5]}}, "maps [3, 5]"),
        ({"settings": {"shards": 4}}, "shards 4"),  # each shard normalises its own images
        ({"settings": {"select_on": "test"}}, 'select on "test"'),
        ({"data": {"sha256": {"train-images-idx3-ubyte": "other"}}}, "data "),
    ],
)
def test_runs_of_other_settings_or_data_are_a_group_of_their_own(
    tmp_path: Path, change: dict[str, dict[str, Any]], words: str
) -> None:
    found = groups(tmp_path, change)
    assert sorted(group.runs for group in found) == [1, 2]
    assert words in next(group.differs for group in found if group.runs == 1)


@pytest.mark.parametrize(
    ("ranges", "sizes"),
    [
        ({"rotation": 10.0}, [1, 2]),
        ({"rotation": 0.0, "elastic_alpha": 0.0, "elastic_sigma": 6.0}, [3]),  # which distorts nothing
    ],
)
def test_distortions_are_compared_by_what_they_do(tmp_path: Path, ranges: dict[str, float], sizes: list[int]) -> None:
    found = groups(tmp_path, {"recipe": {"distortions": ranges}})
    assert sorted(group.runs for group in found) == sizes
    for folder in tmp_path.iterdir():  # of the same ranges, one record lacks those of a later release
        record = json.loads((folder / "run.json").read_text())
        record["recipe"]["distortions"] = {"rotation": 10.0} | ({} if folder.name == "run1" else {"shear": 0.0})
        (folder / "run.json").write_text(json.dumps(record))
    (one,) = group_runs(load_runs(sorted(tmp_path.iterdir()))[0])
    assert one.runs == 3


@pytest.mark.parametrize("change", [{}, {"settings": {"threads": 7, "save_dir": "elsewhere", "shards": 1}}])
def test_runs_of_other_seeds_and_places_are_one_group(tmp_path: Path, change: dict[str, dict[str, Any]]) -> None:
    (found,) = groups(tmp_path, change)
    assert (found.runs, found.differs, found.recipe_in_words) == (3, "", "published")


def test_values_that_differ_late_are_not_pooled(tmp_path: Path) -> None:
    """A long value is cut where it is shown, not where runs are compared."""
    (tmp_path / "runs").mkdir()
    found = groups(tmp_path / "runs", {"settings": {"init_from": "/long" * 20 + "/a"}})
    assert sorted(group.runs for group in found) == [1, 2]
    for number, end in enumerate("bc"):
        record_path = tmp_path / "runs" / f"run{number}" / "run.json"
        record = json.loads(record_path.read_text())
        record["settings"]["init_from"] = "/long" * 20 + f"/{end}"
        record_path.write_text(json.dumps(record))
    runs, _ = load_runs(sorted((tmp_path / "runs").iterdir()))
    assert [group.runs for group in group_runs(runs)] == [1, 1, 1]
    assert all(len(group.differs) < 80 for group in group_runs(runs))


def test_runs_older_than_a_setting_of_the_recipe_pool_with_later_ones() -> None:
    """Seed 1 records final_rate 0.0; seeds 2 and 3 are of a release that had no such setting."""
    paths = [ROOT / "docs" / "experiments" / "published" / f"conv_pool_bn-published-seed{seed}" for seed in (1, 2, 3)]
    assert [b'"final_rate"' in (path / "run.json").read_bytes() for path in paths] == [True, False, False]
    (found,) = group_runs(load_runs(paths)[0])
    assert (found.runs, found.recipe_in_words) == (3, "published")
    mean, deviation = found.test_accuracy_mean, found.test_accuracy_sd
    assert mean and deviation and f"{100 * mean:.2f} ± {100 * deviation:.2f} %" == "98.93 ± 0.08 %"
