"""Parquet as the Hugging Face hub stores image sets: a column of pictures {bytes, path} and one of labels."""

from __future__ import annotations

import json
import re
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
# Beginnings of the parts' names: of a file, or of its folder.
PARTS = {"train": "train(ing)?", "validation": "val(id(ation)?)?", "test": "test(ing)?"}
LABELS = ("labels", "class", "target", "digit", "letter", "character")  # names of its column if none is `label`


def read_parquet(path: Path) -> Labelled:
    """Read the labels of one file, or of a folder of train-*.parquet, validation-* and test-*, perhaps in one below.

    Raises:
        DataError: no such columns, no label, other names of classes in another file, or a broken file.
        UsageError: pyarrow is not installed.
        OSError: a file cannot be read.
    """

    def read(paths: list[Path], names: dict[int, str]) -> tuple[Part, _Table]:
        table = _Table(paths, names)
        labels = table.labels()
        pictures = Pictures(one_line(paths[0]), np.arange(len(labels)), table.pictures, table.name)
        return Part(pictures, labels), table

    files = _by_part(path) if path.is_dir() else {"train": [path]}
    train, table = read([*files["train"], *files.get("validation", [])], {})
    test, notes = read(files["test"], table.names)[0] if "test" in files else None, table.notes
    if others := one_line(", ".join(file.name for file in files.get("", [])), 100):
        notes = (*notes, f"left alone: {others}")
    if test and (test.labels == -1).all():  # as the hub stores labels that are kept secret
        test, notes = None, (*notes, "left alone: the test files, whose labels are all -1")
    return Labelled(
        train,
        test,
        "Parquet",
        table.names or read_names(path if path.is_dir() else path.parent),
        validation=len(train.labels) - table.first(len(files["train"])),
        file=files["train"][0],
        notes=notes,
    )


def parquet_files(path: Path) -> list[Path]:
    """Files in a folder, else in the folders below it: data/, the name of a configuration, or CONFIGURATION/PART/."""
    return next(filter(None, (sorted(path.glob(f"{below}*.parquet")) for below in ("", "*/", "*/*/"))), [])


def _by_part(path: Path) -> dict[str, list[Path]]:
    """Files of each part; under the empty name those of no part.

    Raises:
        DataError: none to train on, or two sets.
    """
    files = parquet_files(path)
    found: dict[str, list[Path]] = {}
    roots: set[Path] = set()
    for file in files:
        named = [(file.name, file.parent), (file.parent.name, file.parent.parent)]
        parts = [
            (part, root)
            for name, root in (named if file.parent != path else named[:1])  # the set's own name states no part
            for part, pattern in PARTS.items()
            if re.match(rf"{pattern}\b|{pattern}[-_]", name)
        ]
        part, root = parts[0] if parts else ("train" if len(files) == 1 else "", file.parent)
        found.setdefault(part, []).append(file)
        roots.add(root)
    if len(roots) > 1:
        names = one_line(" and ".join(sorted(str(root.relative_to(path)) for root in roots)), 100)
        raise DataError(f"{one_line(path)}: expected one set, got those in {names}; name one of these folders")
    if "train" not in found:
        got = one_line(", ".join(file.name for file in files), 100)
        raise DataError(f"{one_line(path)}: expected train-*.parquet and test-*.parquet, got {got}; name one file")
    return found


class _Table:
    """The rows of one or more files.

    Attributes:
        names: name of each class, if the files, or those of another part, have them.
        notes: lines for the user.
    """

    def __init__(self, paths: list[Path], names: dict[int, str]) -> None:
        self._arrow: Any = extra("pyarrow", "pyarrow>=15", "--data with a Parquet file")
        self._parquet: Any = extra("pyarrow.parquet", "pyarrow>=15", "--data with a Parquet file")
        self._paths, self._firsts = paths, list[int]()
        self.names = names
        self.notes: tuple[str, ...] = ()
        self._image, self._label = "image", "label"
        rows = 0
        for path in paths:
            with self._open(path) as file:
                _expect_rows(one_line(path), rows + file.metadata.num_rows)
                columns, self.notes = _columns(one_line(path), file.schema_arrow, self._arrow.types)
                if self._firsts and columns != (self._image, self._label):
                    raise DataError(
                        f"{one_line(path)}: expected the columns {self._image} and {self._label}, as in the other "
                        f"files, got {' and '.join(columns)}"
                    )
                self._image, self._label = columns
                names = _class_names(file.schema_arrow).get(self._label) or self.names
                if self.names and names != self.names:  # a label would be another class than in the other files
                    got = " and ".join(one_line(", ".join(each.values()), 60) for each in (self.names, names))
                    raise DataError(f"{one_line(path)}: expected the same names of classes in all files, got {got}")
                self.names = names
                self._firsts.append(rows)
                rows += file.metadata.num_rows
        if not rows:
            raise DataError(f"{one_line(paths[0])}: expected at least one image, got none")
        self._rows = rows

    def first(self, number: int) -> int:
        """The first row of a file; the number of all rows if there are fewer files."""
        return [*self._firsts, self._rows][number]

    def labels(self) -> np.ndarray:
        """Label of each row, [N]: whole numbers or names."""
        found: list[np.ndarray] = []
        for path in self._paths:
            with self._open(path) as file:
                for batch in file.iter_batches(ROWS, columns=[self._label], use_threads=False):
                    if missing := batch.column(0).null_count:
                        raise DataError(f"{one_line(path)}: expected a label in each row, got {missing} without")
                    found.append(np.asarray(batch.column(0).to_pylist()))
        labels = np.concatenate(found) if found else np.empty(0, np.int64)
        if len(labels) != self._rows:
            raise DataError(f"{one_line(self._paths[0])}: expected {self._rows} labels, got {len(labels)}")
        return labels

    def pictures(self, places: Places) -> Iterator[bytes]:
        """Bytes of the pictures in some rows; none if a row has no picture, or one that is too large."""
        for path, first in zip(self._paths, self._firsts, strict=True):
            with self._open(path) as file:
                row = first
                for group in range(file.num_row_groups):
                    size, got = file.metadata.row_group(group).num_rows, 0
                    if np.ptp(np.searchsorted(places, (row, row + size))):
                        for batch in file.iter_batches(ROWS, [group], columns=[self._image], use_threads=False):
                            low, high = np.searchsorted(places, (row, row + len(batch)))
                            pictures = batch.column(0)
                            if self._arrow.types.is_struct(pictures.type):
                                pictures = pictures.field("bytes")
                            for place in places[low:high]:
                                data = pictures[int(place) - row].as_py()
                                yield b"" if data is None or len(data) > LARGEST_FILE else data
                            row += len(batch)
                            got += len(batch)
                        if got != size:  # the rows after it would get the labels of others
                            raise DataError(f"{one_line(path)}: row group {group}: expected {size} pictures, got {got}")
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
            # Without a buffer: pyarrow would believe a page's header, and ask for gigabytes.
            with (
                open_file(path) as opened,
                self._parquet.ParquetFile(opened, memory_map=False, buffer_size=0, pre_buffer=False) as file,
            ):
                yield file
        except (self._arrow.ArrowException, ValueError, OverflowError) as error:
            raise DataError(f"{where}: expected a Parquet file, got: {one_line(error, 120)}") from error
        except OSError as error:
            if error.errno is None:  # pyarrow raises it for broken contents too
                raise DataError(f"{where}: expected a Parquet file, got: {one_line(error, 120)}") from error
            raise


def _expect_rows(where: str, rows: int) -> None:
    if rows * SIDE * SIDE > LARGEST_SET:
        raise DataError(
            f"{where}: expected at most {LARGEST_SET // SIDE**2} images, got a header that announces {rows}"
        )


def _columns(where: str, schema: Any, kinds: Any) -> tuple[tuple[str, str], tuple[str, ...]]:
    """Names of the columns of pictures and of labels, `image` and `label` if there are such; a line for the user."""
    types = {field.name: field.type for field in schema}
    images = [name for name, kind in types.items() if _holds_pictures(kind, kinds)]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    if image is None:
        got = one_line(", ".join(f"{name} {kind}" for name, kind in types.items()), 120)
        raise DataError(f"{where}: expected the columns image {{bytes, path}} and label, got {got}")
    named = [name for name in _class_names(schema) if name in types]
    labels = [name for name in types if name in LABELS or name.endswith("_label")]
    found = [name for name in types if name == "label"] or named or labels
    fine = [name for name in found if name.startswith("fine")]
    label, *others = fine or found or [None]
    if label is None:
        raise DataError(f"{where}: expected a column label, got none; infer.py reads pictures without labels")
    if others:
        raise DataError(
            f"{where}: expected one column label, got {one_line(', '.join(found), 100)}; rename one to label"
        )
    kind = types[label].value_type if kinds.is_dictionary(types[label]) else types[label]
    if not kinds.is_integer(kind) and not _is_one(kind, kinds, "string"):
        raise DataError(f"{where}: expected labels that are whole numbers or names, got {types[label]}")
    left = one_line(", ".join(sorted({*named, *labels} - {label})), 100)
    return (image, label), (
        (f"labels are those of the column {one_line(label, 60)}; left alone: {left}",) if left else ()
    )


def _holds_pictures(kind: Any, kinds: Any) -> bool:
    return _is_one(kind, kinds, "binary") or (kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _is_one(kind: Any, kinds: Any, name: str) -> bool:
    """True for Arrow's types of texts or bytes: polars writes large ones, and pyarrow from release 16 on has views."""
    checks = (getattr(kinds, check, None) for check in (f"is_{name}", f"is_large_{name}", f"is_{name}_view"))
    return any(check(kind) for check in checks if check)


def _class_names(schema: Any) -> dict[str, dict[int, str]]:
    """Names of each column's classes from the metadata that the hub's library writes; empty without them."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        named = {
            column: each["names"] for column, each in features.items() if isinstance(each, dict) and "names" in each
        }
        return {column: dict(enumerate(map(str, names))) for column, names in named.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
