"""Any picture file -> grey levels, read safely.

Pictures come from strangers: what is opened is a regular file of bounded size, of a format from a list, of bounded
pixels, and only its first frame. Everything else is a `PictureError`, one line.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import UserError, one_line
from common.files import read_file
from common.kinds import kind_of

# Formats that Pillow decodes by itself. Left out are those that start other programs (EPS: Ghostscript), that are
# containers or stubs without a decoder (MPEG, HDF5, GRIB, BUFR, WMF), and scientific ones that hold no handwriting.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "CUR", "TGA", "PCX", "DCX", "SGI"),
    *("JPEG2000", "PSD", "DDS", "BLP", "FLI", "XBM", "XPM", "MSP", "SUN", "QOI", "IM", "ICNS"),
)

ORIENTATION = 0x0112  # EXIF's tag
SIDEWAYS = (5, 6, 7, 8)  # its values that exchange width and height

LONGEST_SIDE = 640  # pixels; larger pictures of one digit are reduced to this
LONGEST_PAGE = 1800  # pixels; A4 at 150 dpi has 1754


class PictureError(UserError):
    """A picture cannot be read, or there is nothing to read in it."""


class BlankError(PictureError):
    """A picture was read, and there is nothing in it that could be a digit."""


@dataclass(frozen=True)
class Limits:
    """Beyond these a picture is refused, unread.

    Attributes:
        max_bytes: size of the file; a camera's largest JPEG has some 30 MB.
        max_pixels: width × height, up to Pillow's own limit of 179 million; 50 million is the largest common phone
            camera.
        max_seconds: of processor time for reading one, in a process that can be stopped (`recognition.workers`). A
            guard against hostile files: a full page took 1.5 s (2 cores, AMD EPYC). A slower machine, measured when the
            process starts (`recognition.slowness`), gets as much more.
        max_memory: for reading one there, bytes beyond what the process has at its start.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 50_000_000
    max_seconds: float = 60.0
    max_memory: int = 1 << 30


def read_picture(source: Path | str | bytes, limits: Limits | None = None) -> np.ndarray:
    """Read a picture's grey levels, turned by its EXIF orientation, reduced to at most `LONGEST_SIDE`.

    Transparent parts show as paper: white, or black under a drawing that is light itself.

    Args:
        source: a file, or the bytes of one.
        limits: beyond which it is refused.

    Returns:
        [height, width] uint8, 0 black to 255 white.

    Raises:
        PictureError: no regular file, too large, no known format, broken.
    """
    return read_sized(source, limits)[0]


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """Grey levels, uint8 [H, W], of pixels uint8 [H, W] or [H, W, 3] (red, green, blue), as `read_picture` makes them.

    Raises:
        PictureError: pixels of another shape or type.
    """
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise PictureError(f"expected pixels uint8 [H, W] or [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    return _grey(Image.fromarray(pixels), Limits(), LONGEST_SIDE)[0]


def read_sized(
    source: Path | str | bytes, limits: Limits | None = None, longest: int = LONGEST_SIDE
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a picture's grey levels as `read_picture` does; with its own width and height, pixels, once turned.

    Args:
        source: a file, or the bytes of one.
        limits: beyond which it is refused.
        longest: side to which a larger picture is reduced, pixels.
    """
    limits = limits or Limits()
    data = bytes_of(source, limits)
    try:
        with warnings.catch_warnings():
            # Pillow warns of what it mends or skips; whether the picture opens is what counts. Beyond its own limit of
            # 179 million pixels it refuses by itself; ours is checked on the header's size, before decoding.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                return _grey(picture, limits, longest)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them: OSError, ValueError, struct.error …
        if kind := kind_of(data):
            raise PictureError(f"expected a picture, got {kind}") from error
        raise PictureError(f"expected a picture, got one that cannot be decoded: {_reason(error)}") from error


def bytes_of(source: Path | str | bytes, limits: Limits) -> bytes:
    """Bytes of a picture's file, at least one and at most `limits.max_bytes`; the source's own if it is bytes.

    Raises:
        PictureError: the file cannot be read, or has another size.
    """
    try:
        data = source if isinstance(source, bytes) else read_file(source, limits.max_bytes)
    except (OSError, ValueError) as error:
        raise PictureError(getattr(error, "strerror", None) or one_line(error)) from error
    if not data:
        raise PictureError("expected a picture, got an empty file")
    if len(data) > limits.max_bytes:
        raise PictureError(f"expected at most {limits.max_bytes} bytes, got more")
    return data


def _grey(picture: Image.Image, limits: Limits, longest: int) -> tuple[np.ndarray, tuple[int, int]]:
    width, height = picture.size
    if width < 1 or height < 1:
        raise PictureError(f"expected at least one pixel, got {width}×{height}")
    if width * height > limits.max_pixels:
        raise PictureError(f"expected at most {limits.max_pixels} pixels, got {width}×{height}")
    # JPEG decodes at a half, a quarter or an eighth by itself, which is quicker and leaves nothing out.
    picture.draft(None, (2 * longest, 2 * longest))
    picture.load()
    plain = _plain(picture)
    factor = max(plain.size) // (2 * longest)
    if factor > 1:
        plain = plain.reduce(factor)
    levels = Image.fromarray(_LEVELS[plain.mode](plain))
    levels.thumbnail((longest, longest), Image.Resampling.BOX)
    orientation = levels.getexif()[ORIENTATION] = picture.getexif().get(ORIENTATION, 1)
    turned = orientation in SIDEWAYS
    return np.asarray(ImageOps.exif_transpose(levels)), (height, width) if turned else (width, height)


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in one of four modes: L grey, RGBA with transparency, I and F with more than 8 bits a pixel."""
    if picture.mode in ("I", "F"):
        return picture
    if picture.mode.startswith("I;16"):
        return picture.convert("I")
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture.convert("RGB").convert("L") if picture.mode in ("LAB", "HSV", "P") else picture.convert("L")


def _stretched(picture: Image.Image) -> np.ndarray:
    """More than 8 bits a pixel: what part of the range is used differs from program to program, so all of it is."""
    values = np.asarray(picture, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise BlankError("nothing to read: no pixel is a number")
    low, high = values[finite].min(), values[finite].max()
    scaled = (np.clip(np.nan_to_num(values, nan=low), low, high) - low) / max(high - low, 1e-300)
    return np.rint(scaled * 255 * (high > low)).astype(np.uint8)


def _on_paper(picture: Image.Image) -> np.ndarray:
    """A picture with transparency on white paper, or on black if what is opaque is light."""
    alpha = np.asarray(picture.getchannel("A"), np.float32) / 255
    grey = np.asarray(picture.convert("RGB").convert("L"), np.float32)
    drawn = float((grey * alpha).sum() / max(float(alpha.sum()), 1e-6))
    paper = 255.0 if drawn < 128 or alpha.min() == 1 else 0.0
    return np.rint(grey * alpha + paper * (1 - alpha)).astype(np.uint8)


_LEVELS: dict[str, Callable[[Image.Image], np.ndarray]] = {
    "L": np.asarray,
    "RGBA": _on_paper,
    "I": _stretched,
    "F": _stretched,
}


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known format"
    return one_line(error, 120) or type(error).__name__
