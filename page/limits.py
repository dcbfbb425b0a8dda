"""How much a browser may send."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: refuses a request that announces a body above `max_bytes`, or that does not say how large it is.

    Gradio limits the files of its own upload components; what its events carry, it takes at any size.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "http" and scope["method"] in ("POST", "PUT", "PATCH"):
            announced = Headers(scope=scope).get("content-length", "")
            if not announced.isdecimal() or int(announced) > self._max_bytes:
                refusal = PlainTextResponse(f"expected at most {self._max_bytes} bytes, of announced length", 413)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
