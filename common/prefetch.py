"""Items that a background thread makes ahead of their use."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


@contextmanager
def prefetch(items: Iterator[Item], depth: int = 4) -> Iterator[Iterator[Item]]:
    """Prefetch items in a background thread, up to `depth` ahead; an error in making them is raised at their use.

    The thread ends with the block, also when the block leaves early.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    leaving = threading.Event()

    def make() -> None:
        try:
            for item in items:
                if not _put(item):
                    return
            _put(_END)
        except BaseException as error:  # handed over, to be raised where the items are used
            _put(_Failure(error))

    def _put(item: object) -> bool:
        while not leaving.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def take() -> Iterator[Item]:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        leaving.set()
        thread.join()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error
