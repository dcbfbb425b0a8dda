"""The pictures of a data set: decoded as they are, and how a set's reader asks for prepared ones."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from common.errors import one_line
from common.files import open_file, read_file
from common.kinds import kind_of
from data.formats.idx import LARGEST_SET, Bytes, DataError
from data.formats.labelled import SIDE

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".pnm", ".ppm")
LARGEST_FILE = 64 << 20  # bytes, as infer.py's --max-bytes
MODES = ("L", "1", "P", "RGB")
PIECE = 1024  # pictures that are prepared together
LARGEST_PIECE = 32 << 20  # bytes of their files, if these are in memory

Picture = str | bytes  # a file's name, or its bytes
Places = npt.NDArray[np.int64]

# A picture becomes an image: a digit cut out as infer.py does, the whole picture resized, or the picture as it is.
Way = Literal["digit", "resize", "none"]


@dataclass(frozen=True)
class Pictures:
    """Pictures of one part of a data set, not decoded yet; indexed like an array of images.

    Attributes:
        where: names the part in errors.
        places: of the pictures among the part's files or rows, int64 [N], ascending.
        read: yields the pictures at such places: names of files, or their bytes.
        name: name of the picture at a place, for errors.
    """

    where: str
    places: Places
    read: Callable[[Places], Iterator[Picture]]
    name: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Picture]:
        return self.read(self.places)

    def __getitem__(self, chosen: slice | npt.NDArray[Any]) -> Pictures:
        return replace(self, places=self.places[chosen])


@dataclass(frozen=True)
class Piece:
    """Images of pictures that follow each other.

    Attributes:
        images: of those that can be used, uint8 [K, 28, 28].
        left_out: why each other one cannot, in one line, by its place in the piece.
    """

    images: Bytes
    left_out: Mapping[int, str]

    @classmethod
    def of(cls, found: Iterable[Bytes | str]) -> Piece:
        """The piece of images [28, 28], or why there is none."""
        images, left_out = list[Bytes](), dict[int, str]()
        for place, each in enumerate(found):
            if isinstance(each, str):
                left_out[place] = each
            else:
                images.append(each)
        return cls(np.stack(images) if images else np.empty((0, SIDE, SIDE), np.uint8), left_out)

    def __len__(self) -> int:
        return len(self.images) + len(self.left_out)


class Prepare(Protocol):
    """Makes images of a data set's pictures."""

    def decide(self, pictures: Pictures) -> Way:
        """The way in which pictures are prepared; if the user names none, the first ones decide it for good."""
        ...

    def __call__(self, pictures: Pictures) -> Iterator[Piece]:
        """Images of all pictures, in their order, piece by piece."""
        ...


class AsTheyAre:
    """Takes pictures of 28×28 pixels as they are, in this process."""

    def decide(self, pictures: Pictures) -> Way:
        """See `Prepare`."""
        return "none"

    def __call__(self, pictures: Pictures) -> Iterator[Piece]:
        """See `Prepare`."""
        for some in pieces(pictures):
            yield Piece.of(map(self._image, some))

    def _image(self, picture: Picture) -> Bytes | str:
        try:
            return decode_as_it_is(picture if isinstance(picture, bytes) else read_file(picture, LARGEST_FILE))
        except DataError as error:
            return str(error)
        except OSError as error:
            return f"expected a picture, got: {error.strerror}"


def pieces(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Pieces of `PIECE` pictures, or fewer if their bytes are many."""
    piece, size = list[Picture](), 0
    for picture in pictures:
        piece.append(picture)
        size += len(picture) if isinstance(picture, bytes) else 0
        if len(piece) == PIECE or size > LARGEST_PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def usable(
    pictures: Pictures, prepare: Prepare, strict: bool, report: Callable[[str], None]
) -> Iterator[tuple[Bytes, Places]]:
    """Images of the pictures that can be used, uint8 [K, 28, 28], and which of the pictures they show, int64 [K].

    Args:
        pictures: of one part.
        prepare: makes images of them, piece by piece.
        strict: a picture that cannot be used is an error.
        report: takes a line for each picture that is left out.

    Raises:
        DataError: with `strict`, a picture that cannot be used.
    """
    first = 0
    for piece in prepare(pictures):
        for number, why in piece.left_out.items():
            line = f"{pictures.name(int(pictures.places[first + number]))}: {why}"
            if strict:
                raise DataError(f"{line}; mend or remove it, or leave --strict out")
            report(f"{line}; left out")
        yield piece.images, np.delete(np.arange(first, first + len(piece)), list(piece.left_out))
        first += len(piece)


def prepare_all(
    pictures: Pictures, prepare: Prepare, strict: bool, report: Callable[[str], None]
) -> tuple[Bytes, Places]:
    """All that `usable` yields, together.

    Raises:
        DataError: too many pictures, none that can be used, or with `strict` one that cannot.
    """
    where, count = pictures.where, len(pictures)
    if count * SIDE * SIDE > LARGEST_SET:
        raise DataError(f"{where}: expected at most {LARGEST_SET // SIDE**2} pictures, got {count}")
    images, places = np.empty((count, SIDE, SIDE), np.uint8), np.empty(count, np.int64)
    kept, whys = 0, list[str]()

    def keep_first(line: str) -> None:
        whys.extend([line.removesuffix("; left out")][len(whys) :])
        report(line)

    for some, shown in usable(pictures, prepare, strict, keep_first):
        images[kept : kept + len(some)], places[kept : kept + len(some)] = some, shown
        kept += len(some)
    if not kept:
        hint = "; or try --prepare resize" if prepare.decide(pictures) == "none" else ""
        raise DataError(f"{where}: expected pictures that can be used, got none of {count}: {''.join(whys)}{hint}")
    return images[:kept], places[:kept]


def decode_as_it_is(data: bytes) -> Bytes:
    """Decode a picture of 28×28 pixels to uint8 [28, 28]; colours become grey.

    Raises:
        DataError: no picture, another size, transparency, or more than 8 bits a pixel.
    """
    if not data:
        raise DataError("expected a picture, got an empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.size != (SIDE, SIDE):
                    got = "{}×{}".format(*picture.size)
                    raise DataError(f"expected a picture of {SIDE}×{SIDE} pixels, got {got}; resize it")
                opaque = picture.mode in ("RGBA", "LA") and picture.getchannel("A").getextrema() == (255, 255)
                if not opaque and (picture.mode not in MODES or "transparency" in picture.info):
                    raise DataError(
                        f"expected 8 bits a pixel without transparency, got mode {picture.mode}; save it as grey"
                    )
                plain = picture.convert("RGB") if picture.mode in ("P", "RGBA") else picture
                levels = plain if plain.mode == "L" else plain.convert("L")
                return np.frombuffer(levels.tobytes(), np.uint8).reshape(SIDE, SIDE)
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them: OSError, ValueError, struct.error …
        why = "no known format" if isinstance(error, UnidentifiedImageError) else one_line(error, 120)
        raise DataError(f"expected a picture, got {kind_of(data) or f'one that cannot be decoded: {why}'}") from error


def size_of(picture: Picture) -> tuple[int, int] | None:
    """Width and height of a picture by its header, pixels; None for one that cannot be read, or is too large."""
    try:
        if isinstance(picture, str) and Path(picture).stat().st_size > LARGEST_FILE:
            return None  # of some formats, Pillow reads the whole file for it
        with (
            warnings.catch_warnings(),
            io.BytesIO(picture) if isinstance(picture, bytes) else open_file(Path(picture)) as file,
        ):
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as opened:
                return opened.size
    except Exception:  # as above
        return None
