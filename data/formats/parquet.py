"""Parquet as the Hugging Face hub stores image sets: columns image {bytes, path} and label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import one_line
from common.extras import extra
from data.formats.folder import Decode
from data.formats.idx import LARGEST_SET, DataError
from data.formats.labelled import SIDE, Labelled, Part, checked, joined, read_names
from data.formats.pictures import LARGEST_FILE, decode_as_it_is

ROWS = 1024  # decoded at a time


def read_parquet(path: Path, decode: Decode = decode_as_it_is) -> Labelled:
    """Read one file, or the folder of train-*.parquet and test-*.parquet, which may lie in data/.

    Raises:
        DataError: no such columns, no label, a broken picture or file.
        UsageError: pyarrow is not installed.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        part, names = _read([path], decode)
        return Labelled(part, None, "Parquet", names or read_names(path.parent))
    files = sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))
    train = [file for file in files if file.name.startswith("train")]
    test = [file for file in files if file.name.startswith("test")]
    if not train:
        got = one_line(", ".join(file.name for file in files), 100)
        raise DataError(f"{one_line(path)}: expected train-*.parquet and test-*.parquet, got {got}; name one file")
    part, names = _read(train, decode)
    return Labelled(part, _read(test, decode)[0] if test else None, "Parquet", names or read_names(path))


def _read(paths: list[Path], decode: Decode) -> tuple[Part, dict[int, str]]:
    arrow: Any = extra("pyarrow", "pyarrow>=15", "--data with a Parquet file")
    parquet: Any = extra("pyarrow.parquet", "pyarrow>=15", "--data with a Parquet file")
    names: dict[int, str] = {}
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for path in paths:
        where = one_line(path)
        try:
            with parquet.ParquetFile(path, memory_map=False) as file:
                schema = file.schema_arrow
                _expect_columns(where, schema, arrow, file.metadata.num_rows)
                names = names or _names(schema)
                row = 0
                for batch in file.iter_batches(ROWS, columns=["image", "label"], use_threads=False):
                    images.append(np.empty((len(batch), SIDE, SIDE), np.uint8))
                    for place, picture in enumerate(batch.column(0).field("bytes")):
                        data = picture.as_py()
                        if data is None or len(data) > LARGEST_FILE:
                            raise DataError(f"{where}: row {row}: expected a picture's bytes, got none or too many")
                        images[-1][place] = decode(f"{where}: row {row}", data)
                        row += 1
                    if batch.column(1).null_count:
                        raise DataError(
                            f"{where}: expected a label in each row, got {batch.column(1).null_count} without"
                        )
                    labels.append(np.asarray(batch.column(1).to_pylist()))
        except (arrow.ArrowException, ValueError, OverflowError) as error:
            raise DataError(f"{where}: expected a Parquet file, got: {one_line(error, 120)}") from error
        except OSError as error:
            if error.errno is None:  # pyarrow raises it for broken contents too
                raise DataError(f"{where}: expected a Parquet file, got: {one_line(error, 120)}") from error
            raise
    if not images:
        raise DataError(f"{one_line(paths[0])}: expected at least one image, got none")
    return checked(one_line(paths[0]), joined(images), np.concatenate(labels)), names


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
