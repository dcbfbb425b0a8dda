"""Strangers can make the page do what its own browser side asks, within bounds, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import shutil
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page import gate as gate_module
from page import intake
from page.gate import CALL, Gate
from page.reader import Reader
from recognition.picture import Limits
from recognition.workers import Workers
from tests.conftest import ROOT

SAMPLE = ROOT / "tests" / "samples" / "c93bf08"
PICTURE = (
    "data:image/png;base64," + base64.b64encode((SAMPLE / "pictures" / "two_from_mnist.png").read_bytes()).decode()
)
HOST = (b"host", b"127.0.0.1:7860")
FLOOD = 64 << 20
ODD_NAME = os.fsdecode(b"odd\xff")
# The page's functions by Gradio's numbers, in the order in which page/app.py makes them.
READ, ANSWERS, COMPARE, CHOICES = range(4)


class Answer:
    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"] if messages else 0
        self.headers = dict(messages[0]["headers"]) if messages else {}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: ASGIApp, method: str, target: str, headers: tuple[tuple[bytes, bytes], ...] = (HOST,), body: bytes = b""
) -> Answer:
    """A request as uvicorn hands it on: the raw path, and the path with its escapes resolved."""
    from urllib.parse import unquote

    raw, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7860),
    }
    unread: list[Message] = [{"type": "http.request", "body": body}]
    messages: list[Message] = []

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()
        return unread.pop()

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return Answer(messages)


WRONG_DATA: list[Any] = [None, {}, "x", [], ["x", "x"], 7]
WRONG_EVENTS: list[Any] = [1, "x", [], {"a": {}}, {"a": []}]
WRONG_TRIGGERS: list[Any] = ["1", 1.5, True, []]


def call(function: Any, data: Any, event: Any = None, **more: Any) -> bytes:
    return json.dumps({"fn_index": function, "data": data, "event_data": event, **more}).encode()


def read_call(models: list[str] | None = None) -> bytes:
    return call(READ, [models or ["inference_model"]], {"picture": PICTURE, "kind": "digit"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample run, also by a name that is not UTF-8."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("first", ODD_NAME):
        shutil.copytree(SAMPLE / "run", folder / "runs" / name)
    return folder


@pytest.fixture(scope="module")
def reader(folder: Path) -> Iterator[Reader]:
    with Workers(Limits(max_bytes=300_000)) as workers:
        yield Reader(SAMPLE / "run" / "inference_model", folder / "runs", workers)


@pytest.fixture(scope="module")
def page(reader: Reader, folder: Path) -> Gate:
    (folder / "files").mkdir()

    from page import app as page_app  # here, for each process of the tests reads this file, and Gradio takes seconds

    async def build() -> Gate:
        return page_app.build(reader, folder / "runs", folder / "files")

    return asyncio.run(build())  # without a running loop Gradio makes some, and leaves them open


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for Gradio's app: says what it got."""
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    body = (await receive())["body"] if scope["method"] == "POST" else scope["query_string"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"got " + body})


def door(max_bytes: int = 10_000, app: ASGIApp = hello, hosts: tuple[str, ...] = ()) -> Gate:
    return Gate(app, max_bytes, {0: [text]}, hosts)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")
    return value


# ---- What the page serves


def routes(app: Any) -> list[tuple[str, str]]:
    """Method and path of each of Gradio's routes; FastAPI keeps those of a router in one of its own."""
    found: list[tuple[str, str]] = []
    for route in app.routes:
        inner = getattr(route, "app", None) if isinstance(route, Mount) else getattr(route, "original_router", None)
        if inner is not None:
            found += routes(inner)
        else:
            found += [(method, route.path) for method in getattr(route, "methods", None) or ("GET",)]
    return found


def test_of_gradios_routes_the_page_serves_what_it_needs(page: Gate) -> None:
    served: set[Any] = set()

    async def ask_all() -> None:
        for method, path in every:
            known = path.replace("{path:path}", "x.js").replace("{", "").replace("}", "")
            if (await ask(page, method, known)).status not in (403, 404):
                served.add((method, path))

    every = routes(page._app)
    assert len(every) > 80 and ("POST", "/gradio_api/upload") in every
    asyncio.run(ask_all())
    readable = {"/", "/zh", "/theme.css", "/favicon.ico", "/manifest.json"}
    assert {path for method, path in served if method in ("GET", "HEAD")} == readable
    assert {method for method, _ in served} == {"GET", "HEAD"}  # and calls of its functions, by POST


@pytest.mark.parametrize(
    "target",
    [
        *("//", "/./", "/zh/", "//zh", "/zh%2f", "/%7ah", "/ZH", "/zh/..", "/assets/", "/assets/../config"),
        *("/assets/%2e%2e/config", "/assets/..%2fconfig", "/assets//x.js", "/assets/.x", "/assets/x.js/../../config"),
        *("/assets\\x.js", "/assets/x.js\n", "/assets/é.js", "/static/img/logo.svg", "/gradio_api/file=/etc/passwd"),
        *("/gradio_api/file=https://example.org/", "/gradio_api/deep_link?session_hash=x", "/config", "/docs"),
        "/gradio_api/run/predict",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_is_taken_as_it_stands(method: str, target: str) -> None:
    if (method, target) == ("POST", CALL):
        target += "/"
    assert asyncio.run(ask(door(), method, target)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get"])
def test_a_page_is_only_read(method: str) -> None:
    assert asyncio.run(ask(door(), method, "/")).status == 404


def test_gradio_sees_no_query() -> None:
    """With one it would load what `deep_link` wrote."""
    answer = asyncio.run(ask(door(), "GET", "/?deep_link=x&view=api"))
    assert (answer.status, answer.body) == (200, b"got ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:7860"}, 200),
        ({"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, 200),
        ({"host": "192.168.1.7:7860", "origin": "http://192.168.1.7:7860"}, 200),
        ({"host": socket.gethostname()}, 200),
        ({"host": "Page.Example", "origin": "https://page.example"}, 200),
        ({"host": "127.0.0.1:7860", "origin": "https://page.example"}, 200),  # behind a proxy that changes Host
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "127.0.0.1:7860@evil.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "[::1"}, 403),
        ({}, 403),
        ({"host": "127.0.0.1:7860", "origin": "http://evil.example"}, 403),
        ({"host": "127.0.0.1:7860", "origin": "null"}, 403),
        ({"host": "127.0.0.1:7860", "origin": ""}, 403),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:8888"}, 403),
        ({"host": "127.0.0.1:7860", "origin": "http://[::1"}, 403),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_the_page_itself_may_ask(method: str, headers: dict[str, str], status: int) -> None:
    sent = tuple((name.encode(), value.encode()) for name, value in headers.items())
    target, body = ("/", b"") if method == "GET" else (CALL, call(0, ["x"]))
    assert asyncio.run(ask(door(hosts=("page.example",)), method, target, sent, body)).status == status


def test_two_hosts_are_refused() -> None:
    assert asyncio.run(ask(door(), "GET", "/", (HOST, (b"host", b"evil.example")))).status == 403


# ---- Calls


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"1",
            b'"x"',
            b"null",
            b"\xff\xfe",
            b"[" * 900,
            b"[" * 9_000,
            b"[" + b"[]," * 3_000 + b"0]",
        ),
        *(b'{"fn_index": 0, "data": [' + b'{"a":' * 600 + b"0" + b"}" * 600 + b"]}", b"9" * 9_000),
        *(call(function, ["x"]) for function in (1, -1, True, 0.0, "0", None, [0])),
        *(call(0, data) for data in WRONG_DATA),
        *(call(0, ["x"], event) for event in WRONG_EVENTS),
        *(call(0, ["x"], trigger_id=number) for number in WRONG_TRIGGERS),
    ],
)
def test_a_wrong_call_is_one_line(body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    answer = asyncio.run(ask(door(), "POST", CALL, body=body))
    assert answer.status == 400
    assert answer.json.keys() == {"error"} and "\n" not in answer.json["error"]
    assert capfd.readouterr() == ("", "")


def test_json_that_grows_is_refused_before_it_is_parsed() -> None:
    bombs = [b"[" + b"[]," * 700_000 + b"0]", b"[" + b"{}," * 700_000 + b"0]", b"[" * 2_000_000, b'{"":' * 500_000]
    gate = door(max_bytes=3_000_000)
    for bomb in bombs:
        tracemalloc.start()
        answer = asyncio.run(ask(gate, "POST", CALL, body=bomb))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status == 400
        assert most < 4 * len(bomb)  # the body, and a copy; parsed it would be 25 times as much


def test_gradio_gets_of_a_call_what_the_page_needs() -> None:
    more = {"session_hash": "x", "event_id": "y", "batched": True, "simple_format": True, "oauth_token": "z"}
    answer = asyncio.run(ask(door(), "POST", CALL, body=call(0, ["x"], {"a": "b"}, **more)))
    got = json.loads(answer.body.removeprefix(b"got "))
    assert got == {"fn_index": 0, "data": ["x"], "event_data": {"a": "b"}, "trigger_id": None}


WRONG = [None, True, 1, 1.5, "x", [], {}, [1], [None], [["x"]], {"a": 1}, {"images": 1}, {"images": "AAAA"}, "\ud800"]
FILE = {"path": "/etc/hostname", "url": "http://127.0.0.1:9/", "meta": {"_type": "gradio.FileData"}}


def test_wrong_types_in_a_call_of_the_page_print_no_traceback(page: Gate, capfd: pytest.CaptureFixture[str]) -> None:
    good: dict[Any, tuple[list[Any], Any]] = {
        READ: ([["inference_model"]], {"picture": PICTURE, "kind": "digit"}),
        ANSWERS: ([{"size": [1, 1], "boxes": [], "images": ""}, ["inference_model"]], None),
        CHOICES: ([["inference_model"]], None),
    }

    async def ask_all() -> list[Answer]:
        bodies = []
        for function, (data, event) in good.items():
            for wrong in [*WRONG, FILE, [FILE], ["no such model"]]:
                for place in range(len(data)):
                    bodies.append(call(function, [*data[:place], wrong, *data[place + 1 :]], event))
                bodies += [call(function, data, wrong), call(function, data, {"picture": wrong, "kind": wrong})]
        return [await ask(page, "POST", CALL, body=body) for body in bodies]

    answers = asyncio.run(ask_all())
    assert {answer.status for answer in answers} == {200, 400}
    assert capfd.readouterr() == ("", "")


def test_an_error_inside_the_page_is_one_line(
    page: Gate, reader: Reader, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(intake, "_printed", {})
    monkeypatch.setattr(reader, "find", broken)
    for _ in range(3):
        answer = asyncio.run(ask(page, "POST", CALL, body=read_call()))
        assert (answer.status, answer.json["error"]) == (500, r"two\nlines")
    assert capfd.readouterr() == ("", "page: ZeroDivisionError: two\\nlines\n")


def test_a_new_visitors_first_call_may_choose_any_model(page: Gate) -> None:
    """Gradio knows the choices only of a session whose page has loaded."""
    answer = asyncio.run(ask(page, "POST", CALL, body=read_call(["runs/first"])))
    assert answer.status == 200
    found, shown = answer.json["data"]
    assert "runs/first" in shown and len(base64.b64decode(found["images"])) == 28 * 28
    again = asyncio.run(ask(page, "POST", CALL, body=call(ANSWERS, [found, ["inference_model", "runs/first"]])))
    assert again.status == 200 and "inference_model" in again.json["data"][0]


def test_a_run_whose_name_is_no_utf_8_is_one_of_the_models(page: Gate) -> None:
    async def ask_all() -> list[Answer]:
        name = "runs/odd\\udcff"
        bodies = (call(CHOICES, [[]]), read_call([name]), call(COMPARE, []))
        return [await ask(page, "POST", CALL, body=body) for body in bodies]

    choices, read, compared = asyncio.run(ask_all())
    assert [choices.status, read.status, compared.status] == [200, 200, 200]
    names = [value for _, value in choices.json["data"][0]["choices"]]
    assert names == ["inference_model", "runs/first", "runs/odd\\udcff"]
    assert "odd\\udcff" in read.json["data"][1] and "odd\\udcff" in compared.json["data"][0]


def test_nothing_of_a_call_is_kept(page: Gate, folder: Path) -> None:
    body = json.dumps({**json.loads(read_call()), "session_hash": "x"}).encode()
    answer = asyncio.run(
        ask(
            page,
            "POST",
            CALL,
            body=body,
        )
    )
    assert answer.status == 200
    app: Any = page._app
    gradio: Any = next(route.app for route in app.routes if isinstance(route, Mount))
    assert not gradio.state_holder.session_data
    assert gradio.uploaded_file_dir == str(folder / "files") and not list((folder / "files").iterdir())


# ---- Many at once


def test_20_visitors_at_once_are_all_answered(page: Gate) -> None:
    async def ask_all() -> list[int]:
        answers = await asyncio.gather(*(ask(page, "POST", CALL, body=call(CHOICES, [[]])) for _ in range(20)))
        return [answer.status for answer in answers]

    assert asyncio.run(ask_all()) == [200] * 20


class Slow:
    """Stands for Gradio's app; answers when it may, and counts."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.running = self.most = self.answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.may.wait()
        self.running -= 1
        self.answered += 1
        await hello(scope, receive, send)


def test_one_call_is_answered_at_a_time_and_who_is_refused_learns_when_to_come_again() -> None:
    async def ask_all() -> None:
        slow = Slow()
        gate = door(app=slow)
        calls = [asyncio.create_task(ask(gate, "POST", CALL, body=call(0, ["x"]))) for _ in range(gate_module.WAITING)]
        await asyncio.sleep(0.1)
        late = await ask(gate, "POST", CALL, body=call(0, ["x"]))
        assert (late.status, late.headers[b"retry-after"]) == (503, b"5")
        assert "in 5 s" in late.json["error"] and "5 秒" in late.json["error"]
        slow.may.set()
        assert [(await each).status for each in calls] == [200] * gate_module.WAITING
        assert slow.most == 1
        assert (await ask(gate, "POST", CALL, body=call(0, ["x"]))).status == 200

    asyncio.run(ask_all())


def test_the_api_and_the_page_take_turns() -> None:
    async def ask_both() -> None:
        slow = Slow()
        gate = Gate(slow, 10_000, {0: [text]}, api=slow)
        page = asyncio.create_task(ask(gate, "POST", CALL, body=call(0, ["x"])))
        api = asyncio.create_task(ask(gate, "POST", "/image-classification", body=b"{}"))
        await asyncio.sleep(0.1)
        slow.may.set()
        assert [(await each).status for each in (page, api)] == [200, 200]
        assert slow.most == 1

    asyncio.run(ask_both())


class Upload:
    """A request whose body comes when the test says."""

    def __init__(self, gate: Gate, size: int) -> None:
        self.chunks: asyncio.Queue[Message] = asyncio.Queue()
        self.messages: list[Message] = []
        headers = [HOST, (b"content-length", str(size).encode())]
        scope = {"type": "http", "method": "POST", "path": CALL, "headers": headers, "query_string": b""}
        self.task = asyncio.create_task(gate(scope, self.chunks.get, self.send))

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def give(self, body: bytes, more: bool = True) -> None:
        self.chunks.put_nowait({"type": "http.request", "body": body, "more_body": more})
        for _ in range(10):
            await asyncio.sleep(0)


def test_open_uploads_stay_within_the_memory_for_all_and_keep_nobody_out() -> None:
    size = 100_000

    async def upload() -> int:
        gate = door(max_bytes=size)
        uploads = []
        for _ in range(40):
            uploads.append(Upload(gate, size))
            await uploads[-1].give(bytes(size - 1))
            assert gate._intake.held <= intake.HELD_BODIES * size
        refused = [each for each in uploads if each.task.done()]
        assert refused == uploads[: 40 - intake.HELD_BODIES]  # the longest silent
        assert all(Answer(each.messages).headers[b"retry-after"] == b"5" for each in refused)
        assert (await ask(gate, "POST", CALL, body=call(0, ["x" * (size - 1_000)]))).status == 200
        for each in uploads:
            each.chunks.put_nowait({"type": "http.disconnect"})
        await asyncio.wait([each.task for each in uploads])
        return gate._intake.held

    tracemalloc.start()
    assert asyncio.run(upload()) == 0
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * intake.HELD_BODIES * size + 2_000_000


def test_many_small_open_uploads_keep_nobody_out() -> None:
    async def upload() -> None:
        gate = door()
        uploads = []
        for _ in range(260):
            uploads.append(Upload(gate, 100))
            await uploads[-1].give(b"x")
        assert sum(not each.task.done() for each in uploads) == intake.MOST_ARRIVING
        assert (await ask(gate, "POST", CALL, body=call(0, ["x"]))).status == 200
        for each in uploads:
            each.task.cancel()

    asyncio.run(upload())


def test_a_body_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def upload() -> Answer:
        upload = Upload(door(), 100)
        await upload.give(b"x")
        await upload.task
        return Answer(upload.messages)

    monkeypatch.setattr(intake, "BODY_SECONDS", 0.1)
    assert asyncio.run(upload()).status == 408


def test_a_call_whose_browser_has_left_is_not_run() -> None:
    async def leave() -> None:
        slow = Slow()
        gate = door(app=slow)
        first = asyncio.create_task(ask(gate, "POST", CALL, body=call(0, ["x"])))
        await asyncio.sleep(0)
        body = call(0, ["x"])
        left = Upload(gate, len(body))
        await left.give(body, more=False)
        left.chunks.put_nowait({"type": "http.disconnect"})
        await asyncio.sleep(0.1)
        slow.may.set()
        await first
        await left.task
        assert (slow.answered, left.messages) == (1, [])

    asyncio.run(leave())


def test_a_browser_that_does_not_read_holds_nobody_up() -> None:
    async def stall() -> None:
        gate = door()
        body = call(0, ["x"])
        stuck = Upload(gate, len(body))

        async def never(message: Message) -> None:
            await asyncio.Event().wait()

        stuck.task.cancel()
        headers = [HOST, (b"content-length", str(len(body)).encode())]
        scope = {"type": "http", "method": "POST", "path": CALL, "headers": headers, "query_string": b""}
        reading = asyncio.create_task(gate(scope, stuck.chunks.get, never))
        await stuck.give(body, more=False)
        assert (await asyncio.wait_for(ask(gate, "POST", CALL, body=body), 60)).status == 200
        assert not reading.done()
        reading.cancel()

    asyncio.run(stall())


# ---- Connections


@pytest.fixture
def few_files() -> Iterator[None]:
    """As many open files as a small system allows, beside those that other tests of this process have open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600 + len(list(Path("/proc/self/fd").iterdir())), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def get(address: str) -> tuple[int, bytes]:
    with build_opener(ProxyHandler({})).open(address, timeout=60) as answer:
        return answer.status, answer.read()


@pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\nHost: 127.0", b"GET / HTTP/1.1\r\n\r\nGET / HT"])
def test_260_half_sent_requests_keep_nobody_out(
    half: bytes, few_files: None, capfd: pytest.CaptureFixture[str]
) -> None:
    from page import server

    listener = server.listen("127.0.0.1", 0)
    number = listener.getsockname()[1]
    with listener, server.serving(door(), listener):
        half_sent = []
        for _ in range(260):
            half_sent.append(socket.create_connection(("127.0.0.1", number)))
            half_sent[-1].sendall(half)
        assert get(f"http://127.0.0.1:{number}/") == (200, b"got ")
        for each in half_sent:
            each.close()
    assert capfd.readouterr() == ("", "")


def closes(send: Callable[[socket.socket], None]) -> bool:
    """Whether the server ends a connection on which nothing moves any more."""
    from page import server

    got = 0
    listener = server.listen("127.0.0.1", 0)
    with listener, server.serving(door(app=flood), listener), socket.socket() as browser:
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        browser.settimeout(60)
        browser.connect(listener.getsockname())
        send(browser)
        try:
            while part := browser.recv(1 << 16):
                got += len(part)
        except ConnectionResetError:
            pass
    return got < FLOOD


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for Gradio's app: an answer that no buffer holds."""
    if scope["type"] == "lifespan":
        await hello(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(FLOOD >> 16):
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\nHost: 127.0"])
def test_a_connection_that_sends_nothing_is_ended(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("page.server.STALLED_SECONDS", 0.2)
    assert closes(lambda browser: browser.sendall(half))


def test_a_connection_that_reads_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from time import sleep

    def stall(browser: socket.socket) -> None:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        sleep(1.0)

    monkeypatch.setattr("page.server.STALLED_SECONDS", 0.2)
    assert closes(stall)


def test_garbage_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    from page import server

    listener = server.listen("127.0.0.1", 0)
    with listener, server.serving(door(), listener):
        for garbage in (
            b"\x16\x03\x01\x02\n\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
        ):
            with socket.create_connection(listener.getsockname(), timeout=60) as stranger:
                stranger.sendall(garbage)
                assert stranger.recv(100).startswith(b"HTTP/1.1 4")
    assert capfd.readouterr() == ("", "")


# ---- The whole


def test_the_page_starts_whatever_the_proxy(
    reader: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It asks nothing of itself through a proxy; and what Gradio writes goes with it."""
    from page import app as page_app

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def visit() -> Path:
        with page_app.serve(reader, folder / "runs", "127.0.0.1", port, share=False) as address:
            assert address == f"http://127.0.0.1:{port}/"
            status, body = get(address)
            assert status == 200 and b"LeNet-5" in body
            files = Path(os.environ["GRADIO_TEMP_DIR"])
            assert files.stat().st_mode & 0o777 == 0o700
            return files

    files = asyncio.run(visit())  # as in `page`
    assert not files.exists()
    assert capfd.readouterr() == ("", "")
