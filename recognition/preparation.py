"""One picture -> the image that a model takes: a digit cut out, the picture resized, or the picture as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from common.errors import one_line
from data.formats.idx import DataError
from data.formats.pictures import Way, decode_as_it_is
from recognition.cuts import Cuts, cut_digit
from recognition.digit import SIDE, to_mnist
from recognition.picture import Limits, PictureError, bytes_of, grey_of, read_picture

WAYS: tuple[Way, ...] = get_args(Way)


def prepared(source: Path | str | bytes, way: Way, limits: Limits) -> np.ndarray:
    """The image of a picture, uint8 [28, 28].

    Args:
        source: a file, or the bytes of one.
        way: how.
        limits: beyond which it is refused.

    Raises:
        PictureError: the picture cannot be read, or there is nothing in it; or it has another size than 28×28 pixels,
            if it is to be taken as it is.
    """
    if way == "none":
        try:
            return decode_as_it_is(bytes_of(source, limits))
        except DataError as error:
            raise PictureError(one_line(error)) from error
    grey = read_picture(source, limits)
    return to_mnist(grey) if way == "digit" else resized(grey)


def cuts_of(picture: str | Path | np.ndarray, way: Way) -> Cuts:
    """The image of a picture, a file or its pixels, for one answer; of a digit in each way to cut it.

    Raises:
        PictureError: as `prepared`.
    """
    if not isinstance(picture, np.ndarray):
        if way != "digit":
            return Cuts(prepared(Path(picture), way, Limits())[None])
        return cut_digit(read_picture(Path(picture)))
    grey = grey_of(picture)
    if way == "none" and grey.shape != (SIDE, SIDE):
        raise PictureError("expected a picture of {}×{} pixels, got {}×{}; resize it".format(SIDE, SIDE, *grey.shape))
    if way == "digit":
        return cut_digit(grey)
    return Cuts((resized(grey) if way == "resize" else grey)[None])


def resized(grey: np.ndarray) -> np.ndarray:
    """A picture [height, width] uint8 resized to [28, 28]; its sides need not keep their ratio."""
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def way_of(card: Mapping[str, Any]) -> Way:
    """The way that a model's card records; that of digits if it records none."""
    return next((way for way in WAYS if way == card.get("prepare")), "digit")


def asked_way(card: Mapping[str, Any]) -> Way | None:
    """The way to prepare a labelled set for a model, for `load_data`; None leaves 28×28 digits as they are."""
    way = way_of(card)
    return None if way == "digit" else way
