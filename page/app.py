"""The page itself, built of Gradio's components, once in each language."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from fastapi import FastAPI

from common.errors import UserError, one_line
from page.api import api_app
from page.found import Found
from page.gate import Gate, Take
from page.intake import report
from page.reader import Reader
from page.server import listen, public_address, serving
from page.texts import CHINESE, ENGLISH, Texts
from page.views import board_view, head_view, heading_view, message_view, reading_view
from results.groups import group_runs
from results.html import comparison_html
from results.runs import find_runs, load_runs

FOLDER = Path(__file__).parent
OVERHEAD = 64 << 10  # bytes of a call besides the picture
# What the system has; Gradio's themes would ask the network for theirs.
FONTS = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "sans-serif")
# A first visit from a Chinese browser goes to the Chinese page; after that, links decide.
CHOOSE_LANGUAGE = """<script>
  const chinese = location.pathname.endsWith("/zh");
  if (!chinese && !sessionStorage.getItem("visited") && navigator.language.startsWith("zh"))
    location.replace((window.gradio_config?.root ?? "") + "/zh");
  sessionStorage.setItem("visited", "yes");
</script>"""

# A screen reader speaks what changes inside an element that was there before: the answer, without bars and maps.
ANNOUNCE = """
const spoken = document.createElement("p");
spoken.className = "spoken";
spoken.setAttribute("role", "status");
element.parentElement.append(spoken);
new MutationObserver(() => {
  const output = element.querySelectorAll(".message, .row, .answer");
  spoken.textContent = [...output].slice(0, 2).map((each) => each.innerText).join(" ");
}).observe(element, { childList: true, subtree: true });
"""


@contextmanager
def serve(
    reader: Reader, runs_dir: Path, host: str, port: int | None, share: bool, hosts: Sequence[str] = ()
) -> Iterator[str]:
    """Serve the page, in threads of its own, as long as the block runs.

    Args:
        reader: reads the pictures.
        runs_dir: the runs to compare.
        host: address to listen on.
        port: None for GRADIO_SERVER_PORT of the environment, or the first free port from 7860.
        share: also make a public address through Gradio's servers.
        hosts: names by which browsers may ask, besides addresses and this machine's own name.

    Yields:
        The page's address.

    Raises:
        UserError: the address cannot be had.
    """
    with (
        TemporaryDirectory(prefix="lenet5-page-") as files,
        listen(host, port) as listener,
        serving(gate := build(reader, runs_dir, Path(files), hosts), listener),
    ):
        number = listener.getsockname()[1]
        if share:
            with public_address(number) as address:
                gate.hosts.add(urlsplit(address).hostname or "")
                yield address
        else:
            yield f"http://{'localhost' if host == '0.0.0.0' else host}:{number}/"


def build(reader: Reader, runs_dir: Path, files: Path, hosts: Sequence[str] = ()) -> Gate:
    """The page as an ASGI app.

    Args:
        reader: reads the pictures.
        runs_dir: the runs to compare.
        files: folder for whatever Gradio writes.
        hosts: names by which browsers may ask, besides addresses and this machine's own name.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would report every start to its makers
    os.environ["GRADIO_TEMP_DIR"] = str(files)
    with gr.Blocks(title=ENGLISH.title, analytics_enabled=False) as page:
        _fill(page, reader, runs_dir, ENGLISH)
    with page.route("中文", "/zh"):
        _fill(page, reader, runs_dir, CHINESE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "SSR mode is not supported")  # printed even if it is not asked for
        app = gr.mount_gradio_app(
            FastAPI(openapi_url=None),
            page,
            "/",
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            theme=gr.themes.Base(
                primary_hue="teal", neutral_hue="gray", font=FONTS, font_mono=("ui-monospace", "monospace")
            ),
            css_paths=FOLDER / "style.css",
            head=CHOOSE_LANGUAGE,
        )
    inputs = {number: [INPUTS[type(each)] for each in function.inputs] for number, function in page.fns.items()}
    return Gate(app, reader.max_bytes * 4 // 3 + OVERHEAD, inputs, hosts, api_app(reader))


def _names(value: Any) -> list[str]:
    if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise ValueError("expected names of models")
    return value or []


def _found(value: Any) -> dict[str, Any] | None:
    return None if value is None else Found.from_browser(value).for_browser()


# What the functions on the page take from its components, checked; `Gate` refuses a call with anything else.
INPUTS: dict[type, Take] = {gr.CheckboxGroup: _names, gr.HTML: _found}


def _fill(page: gr.Blocks, reader: Reader, runs_dir: Path, texts: Texts) -> None:
    """Put one language's components, and what happens between them, where `page` is being built."""
    gr.HTML(head_view(texts), apply_default_css=False)
    with gr.Tabs():
        with gr.Tab(texts.read_tab), gr.Row(elem_id="read"):
            with gr.Column(scale=2, min_width=320):
                board = gr.HTML(
                    html_template=board_view(reader.max_bytes, texts),
                    js_on_load=(FOLDER / "board.js").read_text(),
                    apply_default_css=False,
                    elem_id="board",
                )
                gr.HTML(heading_view(texts.models), apply_default_css=False, elem_id="models-heading")
                models = gr.CheckboxGroup(elem_id="models", container=False)
            with gr.Column(scale=3, min_width=320):
                answer = gr.HTML(
                    message_view(texts.nothing_read), js_on_load=ANNOUNCE, apply_default_css=False, elem_id="answer"
                )
        with gr.Tab(texts.compare_tab) as compare_tab:
            comparison = gr.HTML(apply_default_css=False)
            refresh = gr.Button(texts.refresh, size="sm", elem_id="refresh")

    def read(models: list[str], event: gr.EventData) -> tuple[Any, ...]:
        asked = event._data or {}
        if asked.get("picture") == "":
            return None, message_view(texts.nothing_read)
        try:
            found = reader.find(asked.get("picture"), row=asked.get("kind") == "row")
        except UserError as error:
            return None, message_view(texts.not_read.format(reason=texts.reason(error)), "problem")
        return found.for_browser(), answers(found.for_browser(), models)

    def answers(read: dict[str, Any] | None, models: list[str]) -> str:
        if read is None:
            return message_view(texts.nothing_read)
        if not models:
            return message_view(texts.choose_model)
        try:
            found = Found.from_browser(read)
            digits = reader.answer(found, list(dict.fromkeys(models)))
            return reading_view(digits, texts, found.several)
        except UserError as error:
            return message_view(texts.reason(error), "problem")

    def choices(models: list[str]) -> Any:
        labels = reader.labels()
        chosen = [name for name in models if name in labels] or [*labels][:1]
        return gr.CheckboxGroup([(label, name) for name, label in labels.items()], value=chosen)

    def compare() -> str:
        return _comparison(runs_dir, texts)

    # Not through Gradio's queue, which keeps answers until they are asked for: `Gate` lets calls take turns.
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    # Gradio looks for the models in the choices that it built the page with; the reader knows which there are.
    quiet["preprocess"] = False
    board.input(_quietly(read), [models], [board, answer], trigger_mode="multiple", **quiet)
    models.input(_quietly(answers), [board, models], [answer], trigger_mode="multiple", **quiet)
    gr.on([compare_tab.select, refresh.click], _quietly(compare), None, [comparison], **quiet)
    page.load(_quietly(choices), [models], [models], **quiet)


def _quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, an error of which is a line on stderr and one in the browser; Gradio would print a traceback."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            if not isinstance(error, UserError):
                report(f"{type(error).__name__}: {error}")
            raise gr.Error(one_line(error), print_exception=False) from error

    return call


def _comparison(runs_dir: Path, texts: Texts) -> str:
    runs, problems = load_runs(find_runs(runs_dir))
    runs = [run for run in runs if run.best is not None]
    if not runs:
        return message_view(texts.no_runs.format(folder=runs_dir))
    return comparison_html(runs, group_runs(runs), problems, texts.comparison)
