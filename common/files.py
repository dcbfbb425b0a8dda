"""Files and folders that are either the old ones or the new ones, never half of one.

Every file of lasting value is written to a temporary name in the same folder, synced, and renamed; POSIX makes the
rename atomic. A folder is exchanged with its successor in one system call (Linux renameat2).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_TEMPORARY = re.compile(r"\.(.+)\.(new|old)\.tmp-(\d+)-[0-9a-f]{8}")


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def open_file(path: Path, folder: int | None = None) -> IO[bytes]:
    """Open a regular file for reading; a pipe without a writer is refused, not waited for.

    Args:
        path: the file; a link to one will do.
        folder: descriptor of an opened folder; then `path` only names the file in errors, its last part is opened in
            that folder, and a link is refused.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe or device; it names `path`.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK has no effect on a regular file
    with _errors_name(path):
        if folder is None:
            descriptor = os.open(path, flags)
        else:
            descriptor = os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "a folder, pipe or device, not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, limit: int, folder: int | None = None) -> bytes:
    """All of a regular file of at most `limit` bytes; see `open_file` for `folder`.

    Raises:
        OSError: as `open_file`, or it has more bytes; it names `path`.
    """
    with open_file(path, folder) as file:
        size = os.fstat(file.fileno()).st_size
        # Not `limit` at once: Python sets that much memory aside, whatever the file has.
        data = file.read(min(size, limit) + 1) if size <= limit else b""
        if size > limit or len(data) > limit:
            raise OSError(errno.EFBIG, f"more than the expected {limit} bytes", str(path))
        return data


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there, each name durable."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def real_path(path: Path) -> Path:
    """A path without its links; unlike `Path.resolve` before Python 3.13, no RuntimeError for links in a circle."""
    return Path(os.path.realpath(path))


def user_path(text: str) -> Path:
    """A path from an environment variable, `~` read as a shell reads it; no error if there is no such user."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser raises RuntimeError)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable: after this they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that at every instant `path` holds all of the old bytes or all of the new.

    Raises:
        OSError: the file cannot be written; it names `path`, which is untouched, and no temporary file is left.
    """
    temporary = _temporary_name(path)
    with _errors_name(path):
        try:
            temporary.write_bytes(data)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill with files; on leaving without an error it becomes `path` in one step.

    Raises:
        OSError: the folder cannot be written or exchanged; it names `path`, which is untouched, and no temporary
            folder is left.
    """
    path = real_path(path)  # of a link, the folder it leads to
    temporary = _temporary_name(path)
    with _errors_name(path):
        try:
            make_folder(temporary)
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            sync(temporary)
            _replace_folder(temporary, path)
            sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder, if there is one; whoever reads `path` finds all of it or nothing."""
    if path.is_dir():
        temporary = _temporary_name(path)
        path.rename(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that processes left in `folder` when they were killed.

    An old folder that was renamed for a new one that then did not come (`_replace_folder`) gets its name back.
    """
    for entry in list(folder.iterdir()) if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(entry.name)
        if not match or _is_alive(int(match[3])):
            continue
        if match[2] == "old" and not (folder / match[1]).exists():
            entry.rename(folder / match[1])
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _temporary_name(path: Path, which: str = "new") -> Path:
    """A name beside `path` that nobody else uses, that tells its process, and that .gitignore knows."""
    return path.with_name(f".{path.name}.{which}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def _is_alive(process: int) -> bool:
    """Whether another process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Let OSErrors name `path`, not a temporary file or, as those of a failed write do, nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace_folder(new: Path, old: Path) -> None:
    """Give `new` the name `old`; what was `old`, if anything, is left under the name `new`."""
    if not old.exists():
        new.rename(old)
        return
    if not old.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder to replace, found something else", str(old))
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # a C library before 2018 has none
    if exchange and exchange(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno() if exchange else errno.ENOSYS
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), str(old))
    # A file system without exchange (some network shares): two renames, and for an instant between them no folder.
    retired = _temporary_name(old, "old")
    old.rename(retired)
    try:
        new.rename(old)
    except BaseException:
        retired.rename(old)
        raise
    retired.rename(new)
