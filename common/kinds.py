"""Names for files that are often given in place of what was expected, each with what to do.

The libraries for this (filetype, puremagic) know hundreds of formats, but neither Git LFS's pointers nor what to do.
"""

from __future__ import annotations

HEAD = 1024  # bytes of a file that show its kind

_HEIC = "a HEIC photo: save it as JPEG or PNG"
_MAGIC = (  # where, the bytes there, and their kind
    (4, b"ftyphei", _HEIC),
    (4, b"ftyphev", _HEIC),
    (4, b"ftypmif1", _HEIC),
    (4, b"ftypmsf1", _HEIC),
    (4, b"ftyp", "a video: save one of its pictures as PNG"),
    (0, b"\x1aE\xdf\xa3", "a video: save one of its pictures as PNG"),
    (0, b"\xff\x0a", "a JPEG XL picture: save it as JPEG or PNG"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture: save it as JPEG or PNG"),
    (0, b"%PDF-", "a PDF document: save its page as PNG"),
    (0, b"%!PS", "a PostScript drawing: save it as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive or office document: unpack it, or save its page as PNG"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (0, b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (0, b"\xfd7zXZ\0", "an xz archive: unpack it"),
    (0, b"BZh", "a bzip2 archive: unpack it"),
    (0, b"\x1f\x8b", "a gzip file: unpack it"),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"\x93NUMPY", "a NumPy array: save its images as PNG, or as IDX files"),
    (0, b"\x89HDF", "an HDF5 file: save its images as PNG, or as IDX files"),
    (0, b"PAR1", "a Parquet table: save its images as PNG, or as IDX files"),
    (0, b"\0\0\x08\x03", "an IDX file, MNIST's own format of many images: name its folder to train.py with --data-dir"),
    (0, b"\0\0\x08\x01", "an IDX file of labels"),
    (0, b"version https://git-lfs", "a Git LFS pointer in place of the file: fetch the file with git lfs pull"),
)
_WORDS = (  # in text that begins with <, in lower case
    (b"<svg", "an SVG drawing: save it as PNG"),
    (b"<html", "a web page: look at it in a browser, it may state why there is no file"),
    (b"<!doctype html", "a web page: look at it in a browser, it may state why there is no file"),
    (b"<?xml", "an XML document: look at it in a browser, it may state why there is no file"),
)


def kind_of(data: bytes) -> str:
    """The kind of file that begins with `data`, with what to do about it; empty if none is known.

    Args:
        data: at least the first `HEAD` bytes, or the whole file.
    """
    for offset, magic, kind in _MAGIC:
        if data.startswith(magic, offset):
            return kind
    text = data[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for word, kind in _WORDS if text.startswith(b"<") and word in text), "")
