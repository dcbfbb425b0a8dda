"""Parquet as the Hugging Face hub stores image sets: columns image {bytes, path} and label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import one_line
from common.extras import extra
from common.files import open_file
from data.formats.idx import LARGEST_SET, DataError
from data.formats.labelled import SIDE, Labelled, Part, read_names
from data.formats.pictures import LARGEST_FILE, Pictures, Places

ROWS = 1024  # read at a time


def read_parquet(path: Path) -> Labelled:
    """Read the labels of one file, or of a folder of train-*.parquet and test-*.parquet, which may lie in data/.

    Raises:
        DataError: no such columns, no label, or a broken file.
        UsageError: pyarrow is not installed.
        OSError: a file cannot be read.
    """

    def read(paths: list[Path]) -> tuple[Part, dict[int, str]]:
        table = _Table(paths)
        labels = table.labels()
        pictures = Pictures(one_line(paths[0]), np.arange(len(labels)), table.pictures, table.name)
        return Part(pictures, labels), table.names

    if not path.is_dir():
        part, names = read([path])
        return Labelled(part, None, "Parquet", names or read_names(path.parent))
    files = sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))
    train = [file for file in files if file.name.startswith("train")]
    test = [file for file in files if file.name.startswith("test")]
    if not train:
        got = one_line(", ".join(file.name for file in files), 100)
        raise DataError(f"{one_line(path)}: expected train-*.parquet and test-*.parquet, got {got}; name one file")
    part, names = read(train)
    tested = read(test)[0] if test else None
    return Labelled(part, tested, "Parquet", names or read_names(path))


class _Table:
    """The rows of one or more files.

    Attributes:
        names: name of each class, if the files have them.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._arrow: Any = extra("pyarrow", "pyarrow>=15", "--data with a Parquet file")
        self._parquet: Any = extra("pyarrow.parquet", "pyarrow>=15", "--data with a Parquet file")
        self._paths, self._firsts = paths, list[int]()
        self.names: dict[int, str] = {}
        rows = 0
        for path in paths:
            with self._open(path) as file:
                _expect_columns(one_line(path), file.schema_arrow, self._arrow, rows + file.metadata.num_rows)
                self.names = self.names or _names(file.schema_arrow)
                self._firsts.append(rows)
                rows += file.metadata.num_rows
        if not rows:
            raise DataError(f"{one_line(paths[0])}: expected at least one image, got none")

    def labels(self) -> np.ndarray:
        """Label of each row, [N]: whole numbers or names."""
        found: list[np.ndarray] = []
        for path in self._paths:
            with self._open(path) as file:
                for batch in file.iter_batches(ROWS, columns=["label"], use_threads=False):
                    if missing := batch.column(0).null_count:
                        raise DataError(f"{one_line(path)}: expected a label in each row, got {missing} without")
                    found.append(np.asarray(batch.column(0).to_pylist()))
        return np.concatenate(found)

    def pictures(self, places: Places) -> Iterator[bytes]:
        """Bytes of the pictures in some rows; none if a row has no picture, or one that is too large."""
        for path, first in zip(self._paths, self._firsts, strict=True):
            with self._open(path) as file:
                row, groups = first, range(file.num_row_groups)
                for group, size in ((group, file.metadata.row_group(group).num_rows) for group in groups):
                    if np.ptp(np.searchsorted(places, (row, row + size))):
                        for batch in file.iter_batches(ROWS, [group], columns=["image"], use_threads=False):
                            low, high = np.searchsorted(places, (row, row + len(batch)))
                            pictures = batch.column(0).field("bytes")
                            for place in places[low:high]:
                                data = pictures[int(place) - row].as_py()
                                yield b"" if data is None or len(data) > LARGEST_FILE else data
                            row += len(batch)
                    else:
                        row += size

    def name(self, row: int) -> str:
        """Name of a row in errors."""
        file = sum(first <= row for first in self._firsts) - 1
        return f"{one_line(self._paths[file])}: row {row - self._firsts[file]}"

    @contextmanager
    def _open(self, path: Path) -> Iterator[Any]:
        """Open a file; pyarrow's errors become ours."""
        where = one_line(path)
        try:
            with open_file(path) as opened, self._parquet.ParquetFile(opened, memory_map=False) as file:
                yield file
        except (self._arrow.ArrowException, ValueError, OverflowError) as error:
            raise DataError(f"{where}: expected a Parquet file, got: {one_line(error, 120)}") from error
        except OSError as error:
            if error.errno is None:  # pyarrow raises it for broken contents too
                raise DataError(f"{where}: expected a Parquet file, got: {one_line(error, 120)}") from error
            raise


def _expect_columns(where: str, schema: Any, arrow: Any, rows: int) -> None:
    if rows * SIDE * SIDE > LARGEST_SET:
        raise DataError(
            f"{where}: expected at most {LARGEST_SET // SIDE**2} images, got a header that announces {rows}"
        )
    types = {field.name: field.type for field in schema}
    image, label = types.get("image"), types.get("label")
    if image is None or not arrow.types.is_struct(image) or image.get_field_index("bytes") < 0:
        got = one_line(", ".join(f"{name} {kind}" for name, kind in types.items()), 120)
        raise DataError(f"{where}: expected the columns image {{bytes, path}} and label, got {got}")
    if label is None:
        raise DataError(f"{where}: expected a column label, got none; infer.py reads pictures without labels")
    if not arrow.types.is_integer(label) and not arrow.types.is_string(label):
        raise DataError(f"{where}: expected labels that are whole numbers or names, got {label}")


def _names(schema: Any) -> dict[int, str]:
    """Names of the classes from the metadata that the hub's library writes; empty without them."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = info["info"]["features"]["label"]["names"]
        return dict(enumerate(map(str, names)))
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
