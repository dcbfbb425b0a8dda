"""A page in the browser: draw or upload a digit, see what the network sees and answers, compare runs.

    python demo.py                                   # then open http://127.0.0.1:7860
    python demo.py --runs-dir runs --port 8080       # models of the runs in runs/ too
    python demo.py --host 0.0.0.0                    # for others in this network; there is no password

It needs one package more: pip install "gradio>=6.31,<7.0". The page asks nothing of the internet; English at /, Chinese
at /zh, and a first visit goes by the browser's language. Uploads are read as infer.py reads files, in processes
of limited time and memory (recognition/workers.py).
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

import re
import signal
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from common.command_line import parse, run
from common.errors import UserError
from common.project import model_folder
from common.ranges import Range, check_ranges
from common.signals import Stopped, StopRequest

STOPPING = (signal.SIGINT, signal.SIGTERM)
RANGES = {"port": Range(1, 65535), "max_bytes": Range(1, 2**29), "max_seconds": Range(0, 3600, above=True)}
GRADIO = (6, 31), (7, 0)  # from the first on, before the second; as in requirements-extras.txt

# Title of each group of options in --help, by the group's first option.
GROUPS = {
    "host": "address",
    "model_dir": "models",
    "max_bytes": "limits on each picture",
    "share": "access from elsewhere",
}


@dataclass(frozen=True)
class Settings:
    """Serve a page on which to draw or upload handwritten digits, see how they are read, and compare runs."""

    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, and there is no password."""
    port: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Port to listen on; if none is given, that of the environment's GRADIO_SERVER_PORT, or the first free one from
    7860."""
    model_dir: Path = field(default_factory=model_folder)
    """Folder of the model that reads first; inference_model/released is the released one."""
    trust: bool = False
    """Run that model's program without a check of its operators; only for makers that you trust."""
    runs_dir: Path = Path("runs")
    """Folder of runs, whose models can read too, and which the second tab compares."""
    max_bytes: int = 16 << 20
    """Maximum size of a picture's file, bytes."""
    max_seconds: float = 30.0
    """Maximum processor time for one picture, seconds, against hostile files; a slow machine gets more."""
    share: Literal["no", "yes"] = "no"
    """yes: also make a public address through Gradio's servers, which needs the internet and lets anyone in."""

    allow_host: Annotated[tuple[str, ...], arg(metavar="[NAME ...]", help_behavior_hint="")] = ()
    """Names by which browsers may ask for the page, besides addresses, localhost and this machine's own name; "*" for
    all, behind a proxy that checks them."""

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)


def check_gradio() -> None:
    """Look for the one package that only this script needs, before anything is started.

    Raises:
        UserError: there is none, or one whose pages are not made as ours.
    """
    try:
        found = metadata.version("gradio")
    except metadata.PackageNotFoundError:
        found = "none"
    if not GRADIO[0] <= tuple(map(int, re.findall(r"\d+", found)))[:2] < GRADIO[1]:
        lowest, beyond = (".".join(map(str, version)) for version in GRADIO)
        raise UserError(f'the page needs Gradio, found {found}: pip install "gradio>={lowest},<{beyond}"')


def main(stop: StopRequest) -> int:
    """Parse, serve until a signal comes."""
    settings = parse(Settings, groups=GROUPS)
    check_gradio()

    with stop.importing():
        from recognition.picture import Limits
        from recognition.workers import Workers

        limits = Limits(max_bytes=settings.max_bytes, max_seconds=settings.max_seconds)
        workers = Workers(limits)  # before Paddle is imported, which takes longer than they take to get ready

        from common.console import ScriptConsole, print_line
        from model.saved_model import model_in, read_card
        from page.app import serve
        from page.intake import bound_memory
        from page.reader import Reader
        from recognition.output import model_line

    # In every thread to come, for `sigwait`: after some readings a handler was lost, as Paddle has one for SIGTERM too.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    with workers:
        reader = Reader(settings.model_dir, settings.runs_dir, workers, settings.trust)
        share = settings.share == "yes"
        with serve(reader, settings.runs_dir, settings.host, settings.port, share, settings.allow_host) as address:
            bound_memory(limits.max_bytes)
            if not signal.sigpending() & set(STOPPING):
                first = model_in(settings.model_dir)
                print(f"open {address} (Ctrl-C ends it)", flush=True)
                print_line(model_line(first, read_card(first)), ScriptConsole())
            raise Stopped(signal.sigwait(STOPPING))


if __name__ == "__main__":
    run(main)
