"""The server that forks workers: it never imports Paddle, so that a fork copies no threads and no locks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from multiprocessing import resource_tracker, spawn, util
from typing import Any

from common.errors import UserError

LONGEST_SOCKET = 107  # bytes of a socket's path on Linux (sockaddr_un)
NAME = "picture-reader"  # of the workers

PRELOADED = ["recognition.orphans", "recognition.layout", "recognition.preparation", "PIL.Image", "scipy.ndimage"]

context = multiprocessing.get_context("forkserver")


def prepare_server() -> None:
    """Prepare the server's start, which comes with the first worker's.

    Raises:
        UserError: no folder is short and writable enough for a socket.
    """
    _shorten_temporary_folder()
    _start_tracker()
    _leave_the_script_out()
    context.set_forkserver_preload(PRELOADED)


_preparation_data = spawn.get_preparation_data


def _leave_the_script_out() -> None:
    """Do not run the script again in each worker, as multiprocessing does: its imports take longer than the start."""

    def preparation_data(name: str) -> dict[str, Any]:
        data = _preparation_data(name)
        return {key: value for key, value in data.items() if name != NAME or not key.startswith("init_main_from")}

    spawn.get_preparation_data = preparation_data


def _shorten_temporary_folder() -> None:
    """Put multiprocessing's sockets in another folder if TMPDIR leaves no room for their names.

    Not in the abstract namespace, which has no permissions: any user could hand the server a pickle (CVE-2022-42919).

    Raises:
        UserError: no folder is short and writable.
    """
    room = LONGEST_SOCKET - len("/pymp-12345678/listener-12345678")
    if len(os.fsencode(tempfile.gettempdir())) <= room:
        return
    before, places = tempfile.tempdir, ("/tmp", "/var/tmp", "/dev/shm")
    tempfile.tempdir = next((place for place in places if os.access(place, os.W_OK | os.X_OK)), None)
    try:
        if tempfile.tempdir is None:
            raise UserError(f"TMPDIR: expected a folder with a name of at most {room} bytes, as sockets need")
        util.get_temp_dir()  # which remembers it
    finally:
        tempfile.tempdir = before


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker, the process beside each server, in this thread.

    Its start unblocks SIGINT and SIGTERM in the starting thread. That would be a thread of `Workers`, while Paddle is
    being imported and takes SIGTERM for itself (common/signals.py, `importing`).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
