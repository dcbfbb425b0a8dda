"""Cache of prepared pictures: one file a piece, named by the SHA-256 of all that its images depend on.

Pieces that were not used for the longest time make room for new ones.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import scipy

from common.checksummed import dump_checksummed, load_checksummed
from common.files import make_folder, open_own, read_file, remove_leftovers, sha256, write_file
from data import sources
from data.formats.pictures import Picture, Piece, Way
from recognition.digit import SIDE
from recognition.picture import Limits

LARGEST_CACHE = 1 << 30  # bytes; the images of a million pictures
LONGEST_PIECE = 4 << 20  # bytes: 1,024 images in base 64, and why others are left out
NAME = re.compile(r"[0-9a-f]{64}\.json")
BEGINNING = b'{\n  "images": "'  # of each file


def folder() -> Path:
    """Folder of the pieces: within the one that MNIST_CACHE_DIR names, or in the user's cache folder."""
    return sources.cache_root() / "prepared"


def piece_path(pictures: Sequence[Picture], way: Way) -> Path | None:
    """The file for the images of these pictures, prepared that way by this release; None if one cannot be read."""
    try:
        key = sha256("\n".join([way, _code(), *map(_sum, pictures)]).encode())
    except OSError:  # another time it may be read
        return None
    return folder() / f"{key}.json"


def read_piece(path: Path, count: int) -> Piece | None:
    """The piece of so many pictures that `keep_piece` wrote; None if there is none, or it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        values = load_checksummed(read_file(path, LONGEST_PIECE))
        images = np.frombuffer(base64.b64decode(values["images"], validate=True), np.uint8).reshape(-1, SIDE, SIDE)
        piece = Piece(images, {int(place): str(why) for place, why in values["left_out"].items()})
        if len(piece) == count and all(0 <= place < count for place in piece.left_out):
            os.utime(path)  # used just now
            return piece
    return None


def keep_piece(path: Path, piece: Piece) -> None:
    """Keep a piece, and remove old ones until all fit into `LARGEST_CACHE`; nothing is kept where it cannot be."""
    values = {
        "images": base64.b64encode(piece.images.tobytes()).decode(),
        "left_out": {str(place): why for place, why in piece.left_out.items()},
    }
    with suppress(OSError):  # a full disk or a home that cannot be written: it works without
        make_folder(path.parent)
        write_file(path, dump_checksummed(values))
        _make_room(path.parent)


def _make_room(kept: Path) -> None:
    """Remove the pieces that were used the longest ago, and what killed processes left; one process at a time."""
    with os.fdopen(open_own(kept.with_name(f"{kept.name}.lock")), "r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        remove_leftovers(kept)
        with os.scandir(kept) as entries:
            ours = [entry for entry in entries if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
        found = sorted((entry.stat().st_mtime_ns, entry.stat().st_size, entry.name) for entry in ours)
        excess = sum(size for _, size, _ in found) - LARGEST_CACHE
        for _, size, name in found:
            if excess > 0 and _begins(kept / name):
                (kept / name).unlink(missing_ok=True)
                excess -= size


def _begins(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def _sum(picture: Picture) -> str:
    """SHA-256 of a picture's bytes."""
    return sha256(picture if isinstance(picture, bytes) else read_file(picture, Limits().max_bytes))


@cache
def _code() -> str:
    """Names the code that prepares pictures: another release has other pieces."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    versions = f"{PIL.__version__} {np.__version__} {scipy.__version__}"
    return hashlib.sha256(versions.encode() + b"".join(file.read_bytes() for file in files)).hexdigest()
