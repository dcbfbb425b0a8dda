"""A run on the console: a live bar on a terminal; plain lines, one every few seconds, anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from common.console import print_line
from common.errors import one_line
from model.saved_model import RELEASED
from results.printed import HEADER, NARROW_HEADER, headline_line, pass_line
from results.records import Row, Step
from training.callbacks.callback import Callback, Started

if TYPE_CHECKING:
    from training.publish import Outcome

LINE_SECONDS = 5.0  # between two plain lines
KNOWN_SECONDS = 0.5  # of training until its speed is shown


class _Speed(ProgressColumn):
    """Images per second; 0 until they have been measured for long enough."""

    def render(self, task: Task) -> Text:
        speed = task.fields["speed"]
        return Text(f"{speed:,.0f} images/s")


class _Bar(Progress):
    """Progress bars, and above them something else that changes."""

    def __init__(self, above: Callable[[], Iterable[RenderableType]], *columns: ProgressColumn, **options: Any) -> None:
        self._above = above
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from self._above()
        yield from super().get_renderables()


class ProgressDisplay(Callback):
    """Shows the run on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._said = time.monotonic()

    def on_start(self, started: Started) -> None:
        self._started = started
        self._rate = _Rate()
        self._narrow = self._console.is_terminal and self._console.width < len(HEADER) + len("  best")
        header = NARROW_HEADER if self._narrow else HEADER
        self._line(header.replace("acc %", "row %") if started.rows else header)
        if self._console.is_terminal:
            self._bar = _Bar(
                self._above,
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %  {task.fields[state]}"),
                _Speed(Column(no_wrap=True)),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            done = (started.first_pass - 1) * started.steps + started.first_step
            self._task = self._bar.add_task(
                f"pass {started.first_pass}/{started.passes}",
                total=started.passes * started.steps,
                completed=done,
                state="",
                speed=0.0,
            )
            self._bar.start()

    def _above(self) -> Iterable[RenderableType]:
        """Lines above the bar; for subclasses."""
        return ()

    def on_step(self, step: Step) -> None:
        started = self._started
        done = (step.pass_number - 1) * started.steps + step.step
        self._rate.tick()
        if self._bar:
            self._bar.update(
                self._task,
                completed=done,
                description=f"pass {step.pass_number}/{started.passes}",
                speed=self._rate.per_second() * started.batch_size if self._rate.is_known else 0.0,
                state=f"loss {step.loss:.4f}  {100 * step.accuracy:6.2f} %",
            )
        elif time.monotonic() - self._said >= LINE_SECONDS:
            speed = self._rate.per_second()
            left = (started.passes * started.steps - done) / speed
            self._line(
                f"pass {step.pass_number}/{started.passes} step {step.step}/{started.steps}  loss {step.loss:.4f}  "
                f"{100 * step.accuracy:.2f} %  {speed * started.batch_size:,.0f} images/s  {_duration(left)} left"
            )

    def on_pass(self, row: Row) -> None:
        self._line(pass_line(row, self._started.passes, self._narrow))

    def on_published(self, outcome: Outcome) -> None:
        self.on_end()
        test = outcome.test
        self._line(headline_line(outcome.best_pass, outcome.selected_on, test.loss, test.correct, test.total))
        if test.digit_error is not None:
            self._line(
                f"these are rows; digit error {100 * test.digit_error:.2f} %: digits to change, leave out or add"
            )
        replacing = f", replacing {one_line(outcome.replaced)}" if outcome.replaced else ""
        self._line(f"published to {one_line(outcome.save_dir)}/{replacing}")
        if (outcome.save_dir / RELEASED).is_dir():
            self._line(f"the released model stays: infer.py --model-dir {one_line(outcome.save_dir / RELEASED)}")
        if outcome.onnx:
            self._line(f"inference.onnx: {outcome.onnx}")

    def on_message(self, line: str) -> None:
        self._line(line)

    def on_end(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _line(self, text: str) -> None:
        print_line(text, self._console)
        self._said = time.monotonic()


class _Rate:
    """Steps per second since the first one, without the pauses that evaluation makes."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._steps, self._seconds = 0, 0.0

    def tick(self) -> None:
        now = time.monotonic()
        self._steps += 1
        self._seconds += now - self._last
        self._last = now

    @property
    def is_known(self) -> bool:
        """False at the start: losses of many batches are read at once, microseconds after each other."""
        return self._seconds >= KNOWN_SECONDS

    def per_second(self) -> float:
        return self._steps / max(self._seconds, 1e-9)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
