"""One picture file as it is: a grey image of 28×28 pixels, decoded by Pillow."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from common.errors import one_line
from data.formats.idx import Bytes, DataError
from data.formats.labelled import SIDE

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".pnm", ".ppm")
LARGEST_FILE = 32 << 20  # bytes
MODES = ("L", "1", "P", "RGB")


def decode_as_it_is(where: str, data: bytes) -> Bytes:
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
                    raise DataError(f"{where}: expected a picture of {SIDE}×{SIDE} pixels, got {got}; resize it")
                if picture.mode not in MODES or "transparency" in picture.info:
                    raise DataError(f"{where}: expected 8 bits a pixel without transparency, got mode {picture.mode}")
                return np.array(picture.convert("RGB").convert("L") if picture.mode == "P" else picture.convert("L"))
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them: OSError, ValueError, struct.error …
        raise DataError(f"{where}: expected a picture, got: {one_line(error, 120)}") from error
