"""Routes, hosts and origins that the page admits; any other request gets status 403 or 404."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import UserError
from page.api import DIGIT, HEALTH, ROWS, no_result
from page.intake import RETRY_SECONDS, Intake, RefusedError, report

CALL = "/gradio_api/run/predict"  # where the browser sends what its user does
API = (HEALTH, DIGIT, ROWS)
READABLE = re.compile(  # pages, and what they are made of
    r"/|/zh|/theme\.css|/favicon\.ico|/manifest\.json|/static/js/iframeResizer\.contentWindow\.min\.js"
    r"|/assets(/[\w-]+(\.[\w-]+)*)+",
    re.ASCII,
)
MOST_MARKS = 2_000  # brackets, commas and colons of a call's JSON: 100 digits in boxes have 600
WAITING = 64  # calls that wait for their turn; the next one is asked to come back
ANY_HOST = "*"

Take = Callable[[Any], Any]  # of what a call has for an input, what is handed on; raises ValueError or UserError


class Gate:
    """ASGI app before Gradio's: hands on the page's own requests, reduced to what they need, and refuses all others.

    It keeps no session: Gradio gets each call without one, so that nothing of a call outlives its answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        inputs: Mapping[int, Sequence[Take]],
        hosts: Iterable[str] = (),
        api: ASGIApp | None = None,
    ) -> None:
        """Create it.

        Args:
            app: Gradio's.
            max_bytes: largest body of a request.
            inputs: for each function of the page, by Gradio's number of it, what it takes for its inputs.
            hosts: names of the page besides addresses, localhost and this machine's name; `ANY_HOST` for all.
            api: answers at the paths `API`, which are not there without it.
        """
        self._app, self._api = app, api
        self._intake = Intake(max_bytes)
        self._inputs = inputs
        self.hosts = {host.lower() for host in hosts}
        self._own = {"localhost", socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._admit(scope)
            scope = {**scope, "query_string": b""}
            if scope["method"] == "POST":
                for message in await self._answer(scope, receive):
                    await watched(message)
            else:
                await self._target(scope)(scope, receive, watched)
        except RefusedError as refused:
            await _refusal(scope, refused.status, str(refused))(scope, receive, watched)
        except Exception as error:
            report(f"{type(error).__name__}: {error}")
            if not started:
                await _refusal(scope, 500, "The page could not do this.")(scope, receive, watched)

    def _admit(self, scope: Scope) -> None:
        """Look at everything but the body.

        Raises:
            RefusedError: this is no request of the page, or a page of another origin makes it.
        """
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        name = _name(host)
        if len(headers.getlist("host")) != 1 or not self._is_ours(name):
            raise RefusedError(403, "expected an address of this page as Host; demo.py --allow-host names others")
        ours = (None, f"http://{host}", f"https://{host}")
        if (origin and origin.lower()) not in ours and not self._is_named(_name(origin or "", "")):
            raise RefusedError(403, "expected a request of this page, got one of another origin")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise RefusedError(403, "expected a request of this page, got one of another site")
        path = scope["path"]
        if scope.get("raw_path", path.encode()) != path.encode():
            raise RefusedError(404, "expected a path of this page")
        if scope["method"] == "POST":
            known = path == CALL or (self._api is not None and path in (DIGIT, ROWS))
        else:
            readable = READABLE.fullmatch(path) or (self._api is not None and path == HEALTH)
            known = scope["method"] in ("GET", "HEAD") and bool(readable)
        if not known:
            raise RefusedError(404, "expected a path of this page")

    def _target(self, scope: Scope) -> ASGIApp:
        return self._api if self._api is not None and scope["path"] in API else self._app

    def _is_named(self, name: str) -> bool:
        return name in self.hosts or ANY_HOST in self.hosts

    def _is_ours(self, name: str) -> bool:
        """A page that a stranger's DNS sends here comes by the stranger's name, never by an address."""
        if self._is_named(name) or name in self._own or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _answer(self, scope: Scope, receive: Receive) -> list[Message]:
        """Gradio's whole answer to a call, so that a slow browser holds nobody up; calls take turns."""
        async with self._intake.body(receive, Headers(scope=scope).get("content-length", "")) as body:
            check_marks(body)
            call = body if scope["path"] in API else page_call(body, self._inputs)
            if self._waiting >= WAITING:
                raise RefusedError.busy()
            self._waiting += 1
            left = asyncio.ensure_future(receive())  # after the body, only the browser's leaving comes
            try:
                async with self._turn:
                    return [] if left.done() else await _messages(self._target(scope), scope, call)
            finally:
                left.cancel()
                self._waiting -= 1


def check_marks(body: bytes) -> None:
    """Refuse JSON that would take much memory, before it is parsed.

    Raises:
        RefusedError: it has too many parts.
    """
    if sum(map(body.count, b"[{,:")) > MOST_MARKS:
        raise RefusedError(400, f"expected JSON of at most {MOST_MARKS} brackets, commas and colons")


def page_call(body: bytes, inputs: Mapping[int, Sequence[Take]]) -> bytes:
    """The call as Gradio gets it, as JSON: without session and without anything that the page's calls do not have.

    Raises:
        RefusedError: it is not a call that the page makes.
    """
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "expected JSON") from error
    if not isinstance(call, dict):
        raise RefusedError(400, "expected a JSON object")
    number, data, event, trigger = (call.get(key) for key in ("fn_index", "data", "event_data", "trigger_id"))
    if type(number) is not int or number not in inputs:
        raise RefusedError(400, "fn_index: expected the number of a function of this page")
    if not isinstance(data, list) or len(data) != len(inputs[number]):
        raise RefusedError(400, f"data: expected a list of {len(inputs[number])}")
    try:
        data = [take(value) for take, value in zip(inputs[number], data, strict=True)]
    except (ValueError, UserError) as error:
        raise RefusedError(400, f"data: {error}") from error
    if event is not None and not (isinstance(event, dict) and not any(map(_is_nested, event.values()))):
        raise RefusedError(400, "event_data: expected null, or an object without others in it")
    if trigger is not None and type(trigger) is not int:
        raise RefusedError(400, "trigger_id: expected null or an integer")
    return json.dumps({"fn_index": number, "data": data, "event_data": event, "trigger_id": trigger}).encode()


def _refusal(scope: Scope, status: int, message: str) -> JSONResponse:
    later = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    content = no_result(status, message) if scope["path"] in API else {"error": message}
    return JSONResponse(content, status, later)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


async def _messages(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    """The messages with which `app` answers a request whose body is `body`."""
    replaced = (b"content-length", b"content-type", b"accept-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
    headers += [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    messages: list[Message] = []
    unread: list[Message] = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()  # for ever: a browser that leaves does not stop a call
        return unread.pop()

    async def send(message: Message) -> None:
        messages.append(message)

    await app({**scope, "headers": headers}, receive, send)
    return messages


def _name(address: str, scheme: str = "//") -> str:
    """The host's name in a Host header, or in an origin (`scheme` ""); "" where there is none."""
    try:
        return (urlsplit(scheme + address).hostname or "").rstrip(".")
    except ValueError:
        return ""
