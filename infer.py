"""A saved model and pictures in, digits out.

    python infer.py 7.png photos/            # files and folders; anything that Pillow reads safely
    cat 7.png | python infer.py -            # one picture from standard input
    python infer.py --format json photos/    # one JSON object a line (also: csv); recognition/output.py has the shapes

    python infer.py --lines number.jpg --annotate read.png   # rows of digits, found, read, and drawn around

A picture may be a scan, a photo or a drawing of one digit, dark on light or light on dark; recognition/digit.py makes
of it what MNIST would have made. A picture that cannot be read is reported in one line on stderr; the rest are still
read, and the exit status is 1. A picture without a digit is marked. Above a table, stderr names the model that answers.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from common.command_line import parse, run, to_stderr
from common.errors import UsageError, UserError, one_line
from common.files import sha256
from common.guard import Guard
from common.processes import rank_and_size
from common.project import __version__, model_folder
from common.ranges import Range, check_ranges
from common.signals import StopRequest

if TYPE_CHECKING:
    from model.predictor import Predictor
    from model.saved_model import SavedModel
    from recognition.annotate import Annotator
    from recognition.reader import DigitReader
    from recognition.row_reader import RowReader

RANGES = {
    "top_k": Range(1, 1000),
    "reject_below": Range(0, 1),
    "error_rate": Range(0, 1),
    "max_bytes": Range(1, 2**29),
    "max_pixels": Range(1, 178_000_000),  # Pillow itself refuses more
    "max_seconds": Range(0, 3600, above=True),
}

# Title of each group of options in --help, by the group's first option.
GROUPS = {
    "model_dir": "model and device",
    "format": "answers",
    "lines": "input and output",
    "max_bytes": "limits on each picture",
}


@dataclass(frozen=True)
class Settings:
    """Read handwritten digits from pictures with a saved model."""

    pictures: Positional[Annotated[tuple[str, ...], arg(metavar="PICTURE|FOLDER|- ...", help_behavior_hint="")]] = ()
    """Pictures, folders of pictures, or - for one picture from standard input."""
    model_dir: Path = field(default_factory=model_folder)
    """Folder of the saved model, or of a run; inference_model/released is the released one."""
    trust: bool = False
    """Run the model's program without a check of its operators, like any script; only for makers that you trust."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device; auto takes a GPU if one works, else the CPU."""
    format: Literal["table", "json", "csv"] = "table"
    """Output format: a table, JSON Lines or CSV."""
    top_k: int = 3
    """Number of most likely classes to print, 1 to 1000."""
    reject_below: float = 0.0
    """Probability below which an answer is marked as rejected, 0 to 1."""
    error_rate: Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="")] = None
    """Reject the least confident answers so that at most this fraction of the rest is wrong on validation, 0 to 1."""
    lines: bool = False
    """Find and read rows of digits instead of one digit a picture."""
    list: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """File with more names of pictures and folders, one a line."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """With --format json or csv: file for the answers, written in parts; a job that was cut off goes on. Several
    processes of one launcher share the parts."""
    annotate: Annotated[Path | None, arg(metavar="FOLDER|FILE.png", help_behavior_hint="")] = None
    """With --lines: file or folder for the pictures with boxes and digits drawn."""
    max_bytes: int = 64 << 20
    """Maximum size of a file, bytes."""
    max_pixels: int = 50_000_000
    """Maximum size of a picture, pixels."""
    max_seconds: float = 60.0
    """Maximum processor time for one picture, seconds, against hostile files; a slow machine gets more."""

    def __post_init__(self) -> None:
        if not all(self.pictures):
            raise UsageError("expected names of pictures or folders, got an empty name")
        if not self.pictures and not self.list:
            raise UsageError("no pictures: expected files, folders, or - for standard input")
        if self.output and (self.format == "table" or self.annotate or "-" in self.pictures):
            raise UsageError("--output: expected --format json or csv with it, no --annotate, and no standard input")
        check_ranges(self, RANGES)
        if self.error_rate is not None and self.reject_below:
            raise UsageError(f"--error-rate {self.error_rate}: expected no --reject-below beside it")
        if self.annotate and not self.lines:
            raise UsageError(f"--annotate {one_line(self.annotate)}: expected --lines with it")


def main(stop: StopRequest) -> int:
    """Parse, read, print."""
    settings = parse(Settings, groups=GROUPS)
    guard = _guard(settings)
    with stop.importing():
        from common.console import ScriptConsole
        from recognition.picture import Limits
        from recognition.workers import Workers

        limits = Limits(settings.max_bytes, settings.max_pixels, settings.max_seconds)
        many = settings.list or any(map(os.path.isdir, settings.pictures))
        # Before Paddle is imported, which takes longer than they take to get ready.
        workers = Workers(limits, None if many else len(settings.pictures))

        from model.calibration import rejection_threshold
        from model.device import choose_device
        from model.predictor import Predictor
        from model.saved_model import load_model
        from recognition.output import formats, model_line, row_formats
        from recognition.reader import Answer, DigitReader, Failure, recognise
        from recognition.row_answers import PageAnswer, read_pages
        from recognition.row_reader import RowReader
    with workers:
        model = load_model(settings.model_dir, settings.trust)
        rate = settings.error_rate
        reject_below = settings.reject_below if rate is None else rejection_threshold(model.card, rate)
        # Of a job, each process has one thread: the last digit of a probability depends on their number.
        threads = 1 if settings.output else len(os.sched_getaffinity(0))
        predictor = Predictor(model, choose_device(settings.device).name, threads, faster=bool(settings.output))
        reader = DigitReader(model, predictor, settings.top_k, reject_below)
        rows = RowReader.beside(settings.model_dir, threads) if settings.lines else None
        width = ScriptConsole().width if sys.stdout.isatty() else 0
        header, line = (row_formats(width) if rows else formats(model.card["labels"], width))[settings.format]

        def read(paths: Iterable[str]) -> Iterator[Answer | PageAnswer | Failure]:
            return read_pages(paths, reader, rows, workers) if rows else recognise(paths, reader, workers)

        if settings.output:
            answering = _answering(model, predictor, reader, rows or reader.rows)
            return _write_job(settings, guard, answering, read, header, line)
        annotator = _annotator(settings.annotate)
        names_model = settings.format == "table"  # beside JSON and CSV, for machines, stderr holds errors alone
        if header and not names_model:
            print(header)
        failed, answer = False, None
        for answer in read(_named(settings)):
            if names_model and not isinstance(answer, Failure):
                to_stderr(model_line(model.folder, model.card))
                print(header)
                names_model = False  # once
            if text := line(answer):
                print(text)
            if isinstance(answer, PageAnswer) and annotator:
                annotator.write(answer)
            if isinstance(answer, Failure):
                failed = True
                to_stderr(f"error: {one_line(answer.path)}: {answer.error}")
        if answer is None:
            raise UserError(f"{one_line(' '.join(settings.pictures))}: expected pictures, found none")
    return 1 if failed else 0


def _guard(settings: Settings) -> Guard:
    """The guard of this process, at work if it is one of several in a job."""
    guard, (rank, size) = Guard(), rank_and_size()
    if settings.output and size > 1:
        guard.start(rank, then="type the same command to go on")
    return guard


def _named(settings: Settings) -> Iterator[str]:
    """Every picture that the arguments and the list name."""
    from recognition.names import find_pictures, listed

    yield from find_pictures(settings.pictures)
    if settings.list:
        yield from find_pictures(listed(settings.list))


def _answering(model: SavedModel, predictor: Predictor, reader: DigitReader, rows: RowReader | None) -> dict[str, Any]:
    """Models, device and arithmetic of this process, on which the answers depend."""
    trial = reader.trial() + (rows.trial().tobytes() if rows else b"")
    files = [model.card["files"], rows and rows.files]
    return {"model": files, "device": predictor.device, "arithmetic": sha256(trial)}


def _write_job(
    settings: Settings,
    guard: Guard,
    answering: Mapping[str, Any],
    read: Callable[[Iterable[str]], Iterator[Any]],
    header: str,
    line: Callable[[Any], str],
) -> int:
    """Write this process's parts of the output, with a bar on a terminal; join them if they are the last.

    Args:
        settings: as the user gave them.
        guard: of this process.
        answering: from `_answering`.
        read: gives an answer for each picture.
        header: of the output.
        line: an answer as the output has it.
    """
    from rich.progress import Progress

    from common.console import ScriptConsole
    from recognition.job import Job
    from recognition.reader import Failure
    from results.run_folder import environment

    assert settings.output is not None
    job, failed = Job(settings.output, *rank_and_size()), 0
    now = environment()
    versions = [__version__, *(now[name] for name in ("commit", "python", "packages"))]
    options = {name: value for name, value in asdict(settings).items() if name not in ("output", "device", "model_dir")}
    with guard.waiting():  # for the first process, which lists the pictures
        begun = job.begin({**options, **answering, "versions": versions}, _named(settings))
    if begun:
        console = ScriptConsole(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("pictures", total=job.pictures // job.size)
            for part, paths in job.missing():
                answers = []
                for answer in read(paths):
                    answers.append(answer)
                    guard.alive()
                failed += sum(isinstance(answer, Failure) for answer in answers)
                job.keep(part, filter(None, map(line, answers)))
                bar.advance(task, len(paths))
        with guard.waiting():  # for another that joins the parts
            is_whole = job.finish(header)
        if not is_whole:
            to_stderr("note: other processes have parts of the output still to write")
    if failed:
        to_stderr(f"error: {failed} pictures could not be read; the output has the reasons")
    return 1 if failed and job.size == 1 else 0  # a launcher would end the other processes


def _annotator(target: Path | None) -> Annotator | None:
    if target is None:
        return None
    from recognition.annotate import Annotator

    return Annotator(target)


if __name__ == "__main__":
    run(main)
