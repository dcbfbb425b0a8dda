"""Files and folders that are either the old ones or the new ones, never half of one.

Every file of lasting value is written to a temporary name in the same folder, synced, and renamed; POSIX makes the
rename atomic. A folder is exchanged with its successor in one system call (Linux renameat2).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def temporary_name(path: Path) -> Path:
    """A name beside `path` that only this process uses and that .gitignore knows."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, as fsync makes a file's bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that at every instant `path` holds all of the old bytes or all of the new.

    Raises:
        OSError: the file cannot be written; the old one is untouched and no temporary file is left.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill; on leaving without an error it becomes `path` in one step.

    Raises:
        OSError: the folder cannot be written or exchanged; an old `path` is untouched and no temporary folder is left.
    """
    temporary = temporary_name(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        sync_folder(temporary)
        _replace_folder(temporary, path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, old: Path) -> None:
    """Give `new` the name `old`; what was `old`, if anything, is left under the name `new`."""
    if not old.is_symlink() and not old.exists():
        new.rename(old)
        return
    if old.is_symlink() or not old.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder to replace, found something else", str(old))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code), str(old))
    # A file system without exchange (some network shares): two renames, and for an instant between them no folder.
    retired = temporary_name(old.with_name(old.name + ".old"))
    old.rename(retired)
    try:
        new.rename(old)
    except OSError:
        retired.rename(old)
        raise
    retired.rename(new)
