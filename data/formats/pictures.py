"""The pictures of a data set: decoded as they are, and how a set's reader asks for prepared ones."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from common.errors import one_line
from common.files import read_file
from common.kinds import kind_of
from data.formats.idx import LARGEST_SET, Bytes, DataError
from data.formats.labelled import SIDE

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".pnm", ".ppm")
LARGEST_FILE = 64 << 20  # bytes, as infer.py's --max-bytes
MODES = ("L", "1", "P", "RGB")

# A picture becomes an image: a digit cut out as infer.py does, the whole picture resized, or the picture as it is.
Way = Literal["digit", "resize", "none"]


class Prepare(Protocol):
    """Makes images of a data set's pictures, in their order.

    Attributes:
        way: how; None until the first pictures decide it.
    """

    way: Way | None

    def __call__(self, pictures: Iterable[Path | bytes], count: int) -> Iterator[Bytes | str]:
        """Image uint8 [28, 28] of each of `count` pictures, files or their bytes; or why there is none, in one line."""
        ...


class AsTheyAre:
    """Takes pictures of 28×28 pixels as they are, in this process."""

    way: Way | None = "none"

    def __call__(self, pictures: Iterable[Path | bytes], count: int) -> Iterator[Bytes | str]:
        """See `Prepare`."""
        for picture in pictures:
            try:
                yield decode_as_it_is(picture if isinstance(picture, bytes) else read_file(picture, LARGEST_FILE))
            except DataError as error:
                yield str(error)
            except OSError as error:
                yield f"expected a picture, got: {error.strerror}"


def prepare_all(
    where: str,
    pictures: Iterable[Path | bytes],
    names: Callable[[int], str],
    count: int,
    prepare: Prepare,
    strict: bool,
    report: Callable[[str], None],
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Images of all pictures of one part that can be used, uint8 [K, 28, 28], and the places of these, int64 [K].

    Args:
        where: names the part in errors.
        pictures: files, or their bytes.
        names: name of the picture at a place, for errors.
        count: number of the pictures.
        prepare: makes images of them.
        strict: a picture that cannot be used is an error; else it is reported and left out.
        report: takes a line for each picture that is left out.

    Raises:
        DataError: too many pictures, none that can be used, or with `strict` one that cannot.
    """
    if count * SIDE * SIDE > LARGEST_SET:
        raise DataError(f"{where}: expected at most {LARGEST_SET // SIDE**2} pictures, got {count}")
    images = np.empty((count, SIDE, SIDE), np.uint8)
    places = np.empty(count, np.int64)
    kept = 0
    for place, image in zip(range(count), prepare(pictures, count), strict=False):
        if isinstance(image, str):
            line = f"{names(place)}: {image}"
            if strict:
                raise DataError(f"{line}; mend or remove it, or leave --strict out")
            report(f"{line}; left out")
        else:
            images[kept], places[kept] = image, place
            kept += 1
    if not kept:
        raise DataError(f"{where}: expected pictures that can be used, got none of {count}")
    return images[:kept], places[:kept]


def decode_as_it_is(data: bytes) -> Bytes:
    """Decode a picture of 28×28 pixels to uint8 [28, 28]; colours become grey.

    Raises:
        DataError: no picture, another size, transparency, or more than 8 bits a pixel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.size != (SIDE, SIDE):
                    got = "{}×{}".format(*picture.size)
                    raise DataError(f"expected a picture of {SIDE}×{SIDE} pixels, got {got}; resize it")
                if picture.mode not in MODES or "transparency" in picture.info:
                    raise DataError(f"expected 8 bits a pixel without transparency, got mode {picture.mode}")
                if picture.mode == "L":
                    return np.array(picture)
                return np.array(picture.convert("RGB").convert("L") if picture.mode == "P" else picture.convert("L"))
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them: OSError, ValueError, struct.error …
        why = "no known format" if isinstance(error, UnidentifiedImageError) else one_line(error, 120)
        raise DataError(f"expected a picture, got {kind_of(data) or f'one that cannot be decoded: {why}'}") from error


def is_small(picture: Path | bytes) -> bool:
    """True for a picture of 28×28 pixels by its header; False for one that cannot be read."""
    try:
        data = picture if isinstance(picture, bytes) else read_file(picture, LARGEST_FILE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                return opened.size == (SIDE, SIDE)
    except Exception:  # as above
        return False
