"""The HTTP server of the page: uvicorn, with bounds on connections that neither send nor read."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import uvicorn
from gradio import networking, tunneling
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.errors import UserError, one_line
from page.intake import report

STALLED_SECONDS = 20.0  # for a request's headers to arrive, and for a browser to take a part of its answer
MOST_CONNECTIONS = 200
MOST_HEADERS = 32 << 10  # bytes
FIRST_PORT, PORTS = 7860, 100


class Connection(H11Protocol):
    """A connection that ends where nothing moves, sooner where others need its place."""

    def __init__(self, stalled: dict[Connection, asyncio.TimerHandle], most: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._stalled = stalled  # of all connections, the longest stalled one first
        self._most = most

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it; if there are too many, the longest stalled one ends, or this one."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self._most:
            next(iter(self._stalled)).abort()

    def abort(self) -> None:
        """End it at once, whatever is still to be sent."""
        self._stalled.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See the base class."""
        super().connection_lost(exc)
        if timer := self._stalled.pop(self, None):
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        """See the base class; only a request whose headers are whole counts as a move."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._watch()

    def on_response_complete(self) -> None:
        """See the base class."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """See the base class."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """See the base class."""
        super().resume_writing()
        self._watch()

    def _watch(self) -> None:
        """Start the clock anew if the browser has to move next, else stop it."""
        if timer := self._stalled.pop(self, None):
            timer.cancel()
        if self.cycle is None or self.cycle.response_complete or self.flow.write_paused:
            self._stalled[self] = self.loop.call_later(STALLED_SECONDS, self.abort)


class _Server(uvicorn.Server):
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: report(context.get("exception") or context["message"])
        )
        await super().serve(sockets)


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve `app` on `listener` in a thread of its own as long as the block runs."""
    most = min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
    config = uvicorn.Config(
        app,
        http=partial(Connection, stalled={}, most=most),  # type: ignore[arg-type]
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="critical",  # what a stranger sends is not worth a line; the gate reports errors of our own
        access_log=False,
        backlog=64,  # connections that are taken before the first of them is looked at
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=MOST_HEADERS,
        server_header=False,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page")
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            if not thread.is_alive():
                raise UserError("the page could not be started: its server ended at once")
        yield
    finally:
        server.should_exit = True
        thread.join()


def listen(host: str, port: int | None) -> socket.socket:
    """A socket bound to the address, for `serving` to listen on.

    Args:
        host: address or name of this machine.
        port: None for GRADIO_SERVER_PORT of the environment, or the first free port from 7860.

    Raises:
        UserError: the address cannot be had, or the environment's port is none.
    """
    named = os.environ.get("GRADIO_SERVER_PORT") if port is None else str(port)
    if port is None and named and not (named.isdecimal() and 1 <= int(named) <= 65535):
        raise UserError(f"GRADIO_SERVER_PORT={named}: expected 1 to 65535")
    for number in [int(named)] if named else range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host.strip("[]"), number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError:
            break
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            continue
        return listener
    where = f"{host}:{named}" if named else host
    raise UserError(f"{where}: expected an address and a port that are free, found none: try another --port")


@contextmanager
def public_address(port: int) -> Iterator[str]:
    """The address that Gradio's servers lend to a port of this machine as long as the block runs.

    Raises:
        UserError: they lend none.
    """
    try:
        try:
            address = networking.setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
        except (RuntimeError, ValueError, OSError, httpx.HTTPError) as error:
            raise UserError(f"--share yes: expected a public address, got none: {one_line(error)}") from error
        yield address.replace("http://", "https://", 1)
    finally:
        for tunnel in tunneling.CURRENT_TUNNELS:
            if tunnel.proc is not None:
                tunnel.proc.terminate()
