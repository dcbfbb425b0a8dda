"""The compiled library: loaded only from where nobody else can write; a cache that cannot be made has a remedy."""

from __future__ import annotations

import ctypes
import importlib
import os
import stat
from pathlib import Path

import pytest

import model
from common.errors import UserError
from model.kernels import build


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Which libraries are loaded; compiling makes a file of a few bytes, and loading nothing."""
    loaded: list[Path] = []

    def compiled(compiler: list[str], work: Path) -> Path:
        (work / "conv_pool.so").write_bytes(b"compiled")
        return work / "conv_pool.so"

    def load(name: str) -> str:
        assert Path(name).read_bytes().startswith(b"compiled")
        loaded.append(Path(name))
        return name

    monkeypatch.setattr(build, "_compile", compiled)
    monkeypatch.setattr(build, "_compiler", lambda: ["cc"])
    monkeypatch.setattr(build, "_register", lambda path: None)
    monkeypatch.setattr(ctypes, "CDLL", load)
    tmp_path.chmod(0o755)
    return loaded


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_folder_and_library_are_this_users_alone_whatever_the_umask(
    loaded: list[Path], tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        build._load(tmp_path / "cache", lambda line: None)
    finally:
        os.umask(before)
    [library] = loaded
    assert library.parent == tmp_path / "cache"
    assert (mode(library.parent), mode(library), mode(library.parent / "lock")) == (0o700, 0o600, 0o600)


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o702])
def test_a_library_in_a_folder_that_others_can_write_is_not_loaded(
    loaded: list[Path], tmp_path: Path, bits: int
) -> None:
    folder = tmp_path / "cache"
    build._load(folder, lambda line: None)
    planted = loaded.pop()
    folder.chmod(bits)
    lines: list[str] = []
    build._load(folder, lines.append)
    [library] = loaded
    assert library != planted
    assert library.parent != folder
    assert not library.exists()
    assert lines[0].startswith(f"{folder}: others can write it: nothing is loaded from it; ")
    assert "CONV_POOL_CACHE" in lines[0]


def test_a_folder_above_that_others_can_write_counts_unless_it_is_sticky(loaded: list[Path], tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    for bits, trusted in ((0o777, False), (0o1777, True)):
        above.chmod(bits)
        build._load(above / "cache", lambda line: None)
        build._load(above / "cache", lambda line: None)
        assert (loaded[-1].parent == above / "cache") is trusted


def test_another_users_folder_is_not_loaded_from(
    loaded: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    build._load(folder, lambda line: None)
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
    else:
        mine = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    lines: list[str] = []
    build._load(folder, lines.append)
    assert loaded[-1].parent != folder
    assert "it belongs to another user" in lines[0]


@pytest.mark.parametrize("named", [False, True])
def test_the_projects_own_folder_gets_its_mode_back_and_is_compiled_in_once(
    loaded: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """As releases before 0.2 left it with umask 002; one that the user named is the user's to change."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "lenet5-paddle" / "conv_pool"
    monkeypatch.setenv(build.CACHE_VARIABLE, str(folder) if named else "")
    lines: list[str] = []
    build._load(build._cache_folder(), lines.append)
    (library,) = folder.glob("*.so")
    library.chmod(0o664)
    folder.chmod(0o775)
    for _ in range(3):
        build._load(build._cache_folder(), lines.append)
    assert mode(folder) == (0o775 if named else 0o700)
    assert [path == library for path in loaded] == ([True, False, False, False] if named else [True] * 4)
    assert sum("for this process alone" in line for line in lines) == (3 if named else 0)
    assert sum("not this user's alone" in line for line in lines) == (0 if named else 1)


@pytest.mark.parametrize("change", ["mode", "link"])
def test_a_library_that_others_can_write_is_compiled_again(loaded: list[Path], tmp_path: Path, change: str) -> None:
    folder = tmp_path / "cache"
    build._load(folder, lambda line: None)
    library = loaded.pop()
    if change == "mode":
        library.chmod(0o666)
    else:
        library.rename(tmp_path / "elsewhere")
        library.symlink_to(tmp_path / "elsewhere")
    lines: list[str] = []
    build._load(folder, lines.append)
    assert "compiling" in lines[0]
    assert loaded == [library]
    assert not library.is_symlink()
    assert mode(library) == 0o600


def test_a_home_where_paddle_cannot_keep_its_files_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".cache").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"/\.cache/paddle.*: Paddle keeps files there; .*HOME="):
        importlib.reload(model)
