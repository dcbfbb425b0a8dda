"""Files and folders: bounded reads; writes that leave the old or the new one, never half of one.

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
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_TEMPORARY = re.compile(r"\.(.+)\.(new|old)\.tmp-(\d+)-[0-9a-f]{8}")


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def open_file(path: Path, folder: int | None = None) -> IO[bytes]:
    """Open a regular file for reading; a pipe without a writer is refused, not waited for.

    Args:
        path: the file; a link is followed.
        folder: descriptor of an opened folder; then `path` only names the file in errors, its last part is opened in
            that folder, and a link is refused.

    Raises:
        OSError: the file cannot be opened, or is a folder, pipe or device; the error names `path`.
    """
    return os.fdopen(_open(path, folder), "rb")


def read_file(path: Path | str, limit: int, folder: int | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes; see `open_file` for `folder`.

    Raises:
        OSError: as `open_file`, or the file has more bytes; the error names `path`.
    """
    descriptor = _open(path, folder)  # no file object, which takes longer than to read a small picture
    try:
        size, data = os.fstat(descriptor).st_size, b""
        if size > limit:
            raise OSError(errno.EFBIG, f"more than the expected {limit} bytes", str(path))
        while len(data) < size and (piece := os.read(descriptor, size - len(data))):
            data = data + piece if data else piece
        return data
    finally:
        os.close(descriptor)


def _open(path: Path | str, folder: int | None) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK has no effect on a regular file
    name, flags = (path, flags) if folder is None else (Path(path).name, flags | os.O_NOFOLLOW)
    with nullcontext() if folder is None else _errors_name(Path(path)):
        descriptor = os.open(name, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "a folder, pipe or device, not a regular file", str(path))
    return descriptor


def open_own(path: Path, mode: int = 0o666) -> int:
    """Open a file of ours for reading and writing and keep its contents; create an empty one if there is none.

    Returns:
        A descriptor, for `os.fdopen(…, "r+b")`.

    Raises:
        OSError: the file cannot be opened, or is a link (perhaps to a user's file), a folder, pipe or device.
    """
    with _errors_name(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise OSError(errno.ELOOP, "a symbolic link, through which nothing is written; move it away") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise OSError(errno.EINVAL, "a hard link, pipe or device, into which nothing is written; move it away")
    return descriptor


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, each name durable."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def real_path(path: Path) -> Path:
    """A path without its links; unlike `Path.resolve` before Python 3.13, no RuntimeError for links in a circle."""
    return Path(os.path.realpath(path))


def user_path(text: str) -> Path:
    """A path from an environment variable; `~` is read as a shell reads it, without an error for an unknown user."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser raises RuntimeError)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable: they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes | Iterable[bytes], mode: int | None = None) -> None:
    """Write `data` to `path` so that at every instant `path` holds all of the old bytes or all of the new.

    Args:
        path: the file; a file that is replaced keeps its mode.
        data: the file's contents, whole or piece by piece.
        mode: the file's mode, whatever the umask.

    Raises:
        OSError: the file cannot be written; it names `path`, which is untouched, and no temporary file is left.
    """
    temporary = _temporary_name(path)
    with _errors_name(path):
        try:
            with temporary.open("xb") as file:  # x: never through a link that somebody put there
                if mode is not None or path.is_file():
                    os.fchmod(file.fileno(), _mode(path) if mode is None else mode)
                file.writelines([data] if isinstance(data, bytes) else data)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def holds_only(folder: Path, names: Collection[str], folders: Collection[str] = ()) -> bool:
    """True if a folder may be replaced or removed: there is none, or it holds files and folders of these names only."""
    if not os.path.lexists(folder):
        return True
    if folder.is_symlink() or not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return all(
            (entry.name in names and entry.is_file(follow_symlinks=False))
            or (entry.name in folders and entry.is_dir(follow_symlinks=False))
            for entry in entries
        )


@contextmanager
def new_folder(path: Path, names: Collection[str], folders: Collection[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder to fill with files; on leaving without an error it becomes `path` in one step.

    Args:
        path: the folder; a folder that is replaced keeps its mode.
        names: names of all files that are ever written there; a folder with anything else in it is not replaced.
        folders: names of folders that may lie there too; the caller keeps them.

    Raises:
        OSError: the folder cannot be written or exchanged; the error names `path`, which is untouched; no temporary
            folder is left.
    """
    path = path.absolute()
    temporary = _temporary_name(path)
    with _errors_name(path):
        try:
            make_folder(temporary)
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            _expect_only(path, names, folders)
            if path.is_dir():
                temporary.chmod(_mode(path))
            sync(temporary)
            _replace_folder(temporary, path)
            sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_folder(path: Path, contents: Mapping[str, bytes], names: Collection[str]) -> None:
    """Make or replace a folder of files, bytes by name, in one step; `path`, `names` and errors as of `new_folder`."""
    with new_folder(path, names) as new:
        for name, data in contents.items():
            (new / name).write_bytes(data)


def expect_replaceable(path: Path) -> None:
    """Refuse, before the work for it, a folder that `new_folder` could not make or replace.

    Raises:
        OSError: a mount point, another user's folder in a sticky one, too long a name, a parent that cannot be written.
    """
    with _errors_name(path):
        if os.path.ismount(path):
            raise OSError(errno.EBUSY, "a mount point, which cannot be replaced")
        if _is_anothers(path):
            raise OSError(errno.EPERM, "another user's, in a folder where only its owner can replace it")
        temporary = _temporary_name(path.absolute())
        temporary.mkdir()
        temporary.rmdir()


def _is_anothers(path: Path) -> bool:
    """True for another user's folder inside another user's folder with the sticky bit, such as /tmp."""
    user = os.geteuid()
    above = path.absolute().parent.stat()
    if not user or not os.path.lexists(path) or not above.st_mode & stat.S_ISVTX:
        return False
    return user not in (above.st_uid, path.lstat().st_uid)


def remove_folder(path: Path, names: Collection[str]) -> None:
    """Remove a folder of ours, if there is one; a reader of `path` finds all of it or nothing.

    Args:
        path: the folder.
        names: names of all files that are ever written there.

    Raises:
        OSError: the folder holds anything else, or cannot be removed.
    """
    with _errors_name(path):
        _expect_only(path, names)
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


def is_leftover(name: str) -> bool:
    """True for the name of a temporary file or folder of ours."""
    return bool(_TEMPORARY.fullmatch(name))


def _expect_only(path: Path, names: Collection[str], folders: Collection[str] = ()) -> None:
    if not holds_only(path, names, folders):
        raise OSError(errno.ENOTEMPTY, "it is a link or holds other things than what is written there; move it away")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _temporary_name(path: Path, which: str = "new") -> Path:
    """An unused name beside `path` that holds the process's number and matches .gitignore."""
    return path.with_name(f".{path.name}.{which}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def _is_alive(process: int) -> bool:
    """True if another process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Make OSErrors name `path`, not a temporary file or, as after a failed write, nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace_folder(new: Path, old: Path) -> None:
    """Rename `new` to `old`; the folder that was `old`, if any, is left under the name `new`."""
    if not old.exists():
        new.rename(old)
        return
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
