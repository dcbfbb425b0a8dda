"""Servers and proxies that send byte by byte, and two processes that fetch at once."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from data import fetch, sources
from data.formats.idx import DataError
from data.sources import Places
from tests.conftest import ROOT

LIMITS = fetch.Limits(timeout=20, answer=0.5, seconds=1.5)
HEADERS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def dripper() -> Iterator[Callable[[bytes], str]]:
    """Start a server that says something and then drips a byte every 0.1 s, for 4 s at most; returns its address."""
    over = threading.Event()
    servers: list[socket.socket] = []

    def serve(server: socket.socket, first: bytes) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(first)
            for _ in range(40):
                if over.wait(0.1):
                    return
                connection.sendall(b"1")

    def start(first: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=serve, args=(server, first), daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    over.set()
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (b"HTTP/1.1 200 O", "expected an answer within 0.5 s, got none"),
        (b"HTTP/1.1 200 OK\r\nX: ", "expected an answer within 0.5 s, got none"),
        (HEADERS, "expected all within 2 s, got 0 bytes"),  # the size of a chunk, which never ends
    ],
)
def test_a_mirror_that_drips_is_left(
    first: bytes, message: str, dripper: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    opener = fetch.https_only()
    opener.add_handler(urllib.request.HTTPHandler())
    with pytest.raises(DataError, match=re.escape(message)):
        fetch.download(dripper(first), tmp_path / "x.part", opener, LIMITS, lambda *_: None)


def test_a_proxy_that_drips_is_left(
    dripper: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("https_proxy", dripper(b"HTTP/1.1 200 Connection est"))
    with pytest.raises(DataError, match=r"expected an answer within 0\.5 s, got none"):
        fetch.download("https://mirror.invalid/x", tmp_path / "x", fetch.https_only(), LIMITS, lambda *_: None)


def test_a_second_process_says_for_whom_it_waits(tmp_path: Path) -> None:
    """The first one holds the lock as sources.py does, until it is told to end."""
    code = (
        "import signal, sys; signal.alarm(20); from pathlib import Path; from data import sources\n"
        "with (Path(sys.argv[1]) / '.lock').open('a+') as lock:\n"
        "    sources._take(lock, Path(sys.argv[1]), None); print('taken', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin and first.stdout and first.stdout.readline() == "taken\n"

        class Screen(io.StringIO):
            """Ends the first process once something is said."""

            def write(self, text: str) -> int:
                if "waiting" in text:
                    first.stdin.close()
                return super().write(text)

        screen = Screen()
        console = Console(file=screen, width=200)
        with pytest.raises(DataError, match="no MNIST found"):
            sources.find(None, console, Places((tmp_path,), mirrors=(), package=""))
    assert f"waiting for process {first.pid}, which fetches MNIST into {tmp_path}\n" in screen.getvalue()
    assert (tmp_path / ".lock").read_text() == str(os.getpid())
