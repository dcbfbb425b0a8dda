"""The format of a labelled data set, found from its content; one that is not certain is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from common.errors import one_line
from common.files import open_file
from common.kinds import HEAD, kind_of
from data import sources
from data.formats import idx
from data.formats.folder import has_classes, read_class_folders
from data.formats.idx import DataError
from data.formats.idx_sets import idx_sets_in, read_idx_set
from data.formats.labelled import Labelled, Part, files_in
from data.formats.npz import read_npz
from data.formats.parquet import parquet_files, read_parquet
from data.formats.pictures import SUFFIXES
from data.formats.table import is_table, read_csv

MOST_FOLDERS = 500  # that are looked into on each level
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".rar", ".7z")


def read_any(path: Path, report: Callable[[str], None]) -> Labelled:
    """Read the data set in a file or folder; pictures are listed, not decoded.

    Args:
        path: the file or folder.
        report: takes a line for files that are left out.

    Raises:
        DataError: no known format, several, or one whose contents cannot be used; in one line.
        UsageError: the format needs a package that is not installed.
        OSError: a file cannot be read.
    """
    if not path.exists():
        raise DataError(f"{one_line(path)}: expected a data set, got nothing of that name")
    if not path.is_dir():
        return _read_file(path)
    readers = _readers(path, report)
    if len(readers) > 1:
        alike = all(name.startswith("IDX") for name in readers)
        what = "file of each kind" if alike else "format"
        hint = "leave one set in the folder, or name one of its files" if alike else "name one file, or move one"
        raise DataError(f"{one_line(path)}: expected one {what}, got {' and '.join(readers)}; {hint}")
    if not readers:
        raise _nothing(path)
    return next(iter(readers.values()))()


def _read_file(path: Path) -> Labelled:
    with open_file(path) as file:
        head = file.read(HEAD)
    for each in idx_sets_in(path):
        return read_idx_set(each, path.parent)
    if head.startswith(b"PK\x03\x04"):
        return read_npz(path)
    if head.startswith(b"PAR1"):
        return read_parquet(path)
    if head.startswith(b"\x1f\x8b") and path.name == sources.PICKLE:
        return _pickle(path)
    kind = "text in UTF-16: save it in UTF-8" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else kind_of(head)
    kind = kind if head else "an empty file"
    if kind or b"\0" in head or not any(mark in head for mark in b",;\t"):
        raise DataError(
            f"{one_line(path)}: expected NPZ, CSV, Parquet, {sources.PICKLE}, or a folder of IDX files or of "
            f"one folder per class, got {kind or 'none of them'}"
        )
    return read_csv(path)


def _readers(path: Path, report: Callable[[str], None] = lambda line: None) -> dict[str, Callable[[], Labelled]]:
    """A function that reads it, for each data set that a folder holds, by its format."""
    readers: dict[str, Callable[[], Labelled]] = {}
    for each in idx_sets_in(path):
        readers[f"IDX ({one_line(each.first.relative_to(path), 100)} …)"] = partial(read_idx_set, each, path)
    if (path / sources.PICKLE).exists():
        readers[sources.PICKLE] = partial(_pickle, path / sources.PICKLE)
    if npz := files_in(path, ".npz"):
        readers["NPZ"] = partial(read_npz, npz[0] if len(npz) == 1 else path)
    if parquet_files(path):
        readers["Parquet"] = partial(read_parquet, path)
    files = files_in(path, ".csv")
    if tables := [file for file in files if is_table(file)]:
        readers["CSV"] = partial(read_csv, tables[0] if len(tables) == 1 else path)
    if has_classes(path):
        readers["folder per class"] = partial(read_class_folders, path, report)
    if not readers and files:
        readers["CSV"] = partial(read_csv, files[0])  # which reports what it lacks
    return readers


def _nothing(path: Path) -> DataError:
    """The error for a folder that holds no data set, with what may help."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "__")))
    where = one_line(path)
    if any(entry.suffix.lower() in SUFFIXES for entry in entries):
        return DataError(
            f"{where}: expected a folder per class, got pictures without classes; put each class's "
            "pictures into a folder of its name; infer.py reads pictures without labels"
        )
    below = _sets_below(path)
    names = one_line(", ".join(entry.name for entry in entries), 150) or "nothing"
    hint = ""
    if below:
        hint = f"; name the folder {one_line(' or '.join(below), 100)} in it"
    elif any(entry.suffix.lower() in ARCHIVES for entry in entries):
        hint = "; unpack the archive"
    elif others := [*islice((file for file in path.glob("*/*") if not file.name.startswith(".")), 1)]:
        hint = f"; no picture by its name is in them, but {one_line(others[0].relative_to(path), 80)}; save it as PNG"
    return DataError(
        f"{where}: expected a folder per class, IDX files (such as {sources.TRAIN_IMAGES}), NPZ, CSV, Parquet or "
        f"{sources.PICKLE}, got {names}{hint}"
    )


def _sets_below(path: Path) -> list[str]:
    """Folders with data sets, up to three levels down; those of the first level that has any."""
    for level in ("*", "*/*", "*/*/*"):
        found = sorted(filter(Path.is_dir, islice(path.glob(level), MOST_FOLDERS)))
        if sets := [str(folder.relative_to(path)) for folder in found if _readers(folder)]:
            return sets
    return []


def _pickle(path: Path) -> Labelled:
    train, validation, test = idx.read_pickle(path)
    images, labels = (np.concatenate(parts) for parts in zip(train, validation, strict=True))
    return Labelled(Part(images, labels), Part(*test), sources.PICKLE, dict(enumerate("0123456789")))
