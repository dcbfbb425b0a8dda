"""The page itself, built of Gradio's components, once in each language."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from common.errors import UserError
from page.limits import BodyLimit
from page.reader import Found, Reader
from page.texts import CHINESE, ENGLISH, Texts
from page.views import board_view, comparison_view, head_view, heading_view, message_view, reading_view
from training.comparison import find_runs, group_runs, load_runs, sort_passes
from training.figures.curves import comparison_curves
from training.verdicts import judge

logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio looks whether its own server is up

FOLDER = Path(__file__).parent
WAITING = 16  # requests in the queue; the next one is told to come back later
# What the system has; Gradio's themes would ask the network for theirs.
FONTS = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "sans-serif")
# A first visit from a Chinese browser goes to the Chinese page; after that, links decide.
CHOOSE_LANGUAGE = """<script>
  const chinese = location.pathname.endsWith("/zh");
  if (!chinese && !sessionStorage.getItem("visited") && navigator.language.startsWith("zh"))
    location.replace((window.gradio_config?.root ?? "") + "/zh");
  sessionStorage.setItem("visited", "yes");
</script>"""


def serve(reader: Reader, runs_dir: Path, host: str, port: int | None, share: bool) -> str:
    """Start to serve the page, in threads of its own.

    Args:
        reader: reads the pictures.
        runs_dir: the runs to compare.
        host: address to listen on.
        port: where; None for GRADIO_SERVER_PORT of the environment, or the first free port from 7860.
        share: also make a public address through Gradio's servers.

    Returns:
        The page's address.

    Raises:
        UserError: the address cannot be had.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would tell its makers of every start
    with gr.Blocks(title=ENGLISH.title, analytics_enabled=False) as page:
        _fill(page, reader, runs_dir, ENGLISH)
    with page.route("中文", "/zh"):
        _fill(page, reader, runs_dir, CHINESE)
    page.queue(max_size=WAITING, default_concurrency_limit=1)
    try:
        _, local, public = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            max_file_size=reader.max_bytes,
            app_kwargs={"middleware": [Middleware(BodyLimit, max_bytes=2 * reader.max_bytes)]},
            theme=gr.themes.Base(
                primary_hue="teal", neutral_hue="gray", font=FONTS, font_mono=("ui-monospace", "monospace")
            ),
            css_paths=FOLDER / "style.css",
            head=CHOOSE_LANGUAGE,
        )
    except OSError as error:
        where = f"{host}:{port}" if port else host
        raise UserError(
            f"{where}: expected an address and a port that are free, found none: try another --port"
        ) from error
    return public or local


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
                )
                gr.HTML(heading_view(texts.models), apply_default_css=False, elem_id="models-heading")
                models = gr.CheckboxGroup(elem_id="models", container=False)
            with gr.Column(scale=3, min_width=320):
                answer = gr.HTML(message_view(texts.nothing_read), apply_default_css=False)
        with gr.Tab(texts.compare_tab) as compare_tab:
            comparison = gr.HTML(apply_default_css=False)
            refresh = gr.Button(texts.refresh, size="sm", elem_id="refresh")
    found = gr.State(None)

    def read(models: list[str], event: gr.EventData) -> tuple[Any, ...]:
        asked = event._data if isinstance(event._data, dict) else {}
        if asked.get("picture") == "":
            return None, None, message_view(texts.nothing_read)
        try:
            found = reader.find(asked.get("picture"), row=asked.get("kind") == "row")
        except UserError as error:
            return None, None, message_view(f"{texts.not_read}: {error}", "problem")
        return {"size": found.size, "boxes": found.boxes}, found, answers(found, models)

    def answers(found: Found | None, models: list[str]) -> str:
        if found is None:
            return message_view(texts.nothing_read)
        if not models:
            return message_view(texts.choose_model)
        try:
            return reading_view(reader.answer(found.images, models), texts)
        except UserError as error:
            return message_view(str(error), "problem")

    def choices(models: list[str]) -> Any:
        names = reader.models()
        return gr.CheckboxGroup(names, value=[name for name in models or [] if name in names] or names[:1])

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    board.input(read, [models], [board, found, answer], trigger_mode="multiple", **quiet)
    models.input(answers, [found, models], [answer], trigger_mode="multiple", **quiet)
    gr.on([compare_tab.select, refresh.click], lambda: _comparison(runs_dir, texts), None, [comparison], **quiet)
    page.load(choices, [models], [models], **quiet)


def _comparison(runs_dir: Path, texts: Texts) -> str:
    runs, problems = load_runs(find_runs(runs_dir))
    runs = [run for run in runs if run.best is not None]
    if not runs:
        return message_view(texts.no_runs.format(folder=runs_dir))
    entries = [(run, row) for run, row in sort_passes(runs) if row == run.best]
    verdicts, more_problems = judge(entries)
    curves = io.BytesIO()
    comparison_curves({run.name: run.rows for run in runs}).savefig(curves, dpi=150)
    passes = [(*entry, verdict) for entry, verdict in zip(entries, verdicts, strict=True)]
    return comparison_view(passes, group_runs(runs), curves.getvalue(), [*problems, *more_problems], texts)
