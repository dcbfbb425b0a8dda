"""Command lines made from a dataclass of settings; errors as one line and an exit status."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import io
import itertools
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from common import packages
from common.errors import UsageError, UserError, one_line
from common.project import __version__
from common.signals import Stopped, StopRequest, catch_signals, leave_at_once

Settings = TypeVar("Settings")
INVOCATION = r"--(?:[^ ,│]| (?=[^ │]))+"  # an option and its value, in help


def parse(
    settings: type[Settings],
    arguments: list[str] | None = None,
    default: Settings | None = None,
    groups: Mapping[str, str] = MappingProxyType({}),
    shown: Callable[[Settings], Settings] | None = None,
    config: Callable[[Path], list[str]] | None = None,
    where: str = "",
) -> Settings:
    """Build `settings`, a dataclass, from the command line; every field is an option, its docstring the help.

    Values that the arguments (of this process, unless given) do not set come from `default`, else from the class.
    Wrong use prints one line on stderr and leaves with status 2; `--help` prints the options, `--version` the
    project's version, and both leave with 0.

    Args:
        settings: the dataclass.
        arguments: in place of this process's.
        default: values of the options that are not given.
        groups: titles of the groups of options in `--help`, by the field that each group begins with.
        shown: from the arguments beside `--help`, makes the values that `--help` prints as defaults.
        config: makes arguments of the file that `--config` names; those given override them.
        where: the arguments' origin, before the line about wrong use.

    Raises:
        UsageError: an argument is empty.
    """
    arguments = _checked(sys.argv[1:] if arguments is None else arguments)
    if "--version" in arguments:
        print(__version__)
        sys.exit(0)
    if config and (path := _value_of("--config", arguments)):
        arguments = [*config(Path(path)), *arguments]
    if {"-h", "--help"} & {*arguments}:
        if shown:
            default = shown(_parse(settings, [each for each in arguments if each not in ("-h", "--help")], default))
        print(_help(settings, default, groups), end="")
        sys.exit(0)
    return _parse(settings, arguments, default, where)


def _value_of(option: str, arguments: Sequence[str]) -> str:
    """The last value that an option is given; empty without one."""
    values = [value for name, value in itertools.pairwise(arguments) if name == option]
    values += [each.removeprefix(f"{option}=") for each in arguments if each.startswith(f"{option}=")]
    return values[-1] if values else ""


def _parse(settings: type[Settings], arguments: list[str], default: Settings | None, where: str = "") -> Settings:
    import tyro  # here, so that a script that only imports this module does not pay for it

    strings: Any = tyro._strings  # its own function keeps each break before an indented line, wherever that falls
    strings.remove_single_line_breaks = _in_paragraphs
    said = io.StringIO()
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                return tyro.cli(settings, args=arguments, config=config)
            return tyro.cli(settings, args=arguments, default=default, config=config)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            to_stderr(f"error: {where}{_first_box_text(said.getvalue())} (see --help)")
        raise


def _in_paragraphs(text: str) -> str:
    """A docstring with one line a paragraph."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.strip()))


def _help(settings: type[Settings], default: Settings | None, groups: Mapping[str, str]) -> str:
    """Tyro's help with each option's own name before its alias, and a titled rule above each group's first option."""
    encoding = codecs.lookup(sys.stdout.encoding or "utf-8").name  # tyro has a frame for this name, utf-8, alone
    caught = io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace", newline="\n")
    with contextlib.redirect_stdout(caught), contextlib.suppress(SystemExit):
        _parse(settings, ["--help"], default)
    caught.seek(0)
    columns = shutil.get_terminal_size().columns
    lines: list[str] = []
    for line in caught.read().splitlines():
        line = re.sub(rf"^([│ ] )({INVOCATION}), ({INVOCATION})", r"\1\3, \2", line)
        option = re.match(r"([│ ] )--([\w-]+)", line)
        if option and (title := groups.get(option[2].replace("-", "_"))):
            left, rule, right = "├─┤" if option[1] == "│ " else " - "
            lines.append(f"{left}{rule} {title} ".ljust(len(line) - 1, rule) + right)
        lines += [line] if re.match("[│╭╰├ ]", line) else textwrap.wrap(line, columns) or [""]
    return "\n".join([*lines, ""])


def _checked(arguments: Sequence[str]) -> list[str]:
    """Arguments with `~` at the start of each value read as a shell reads it where it stands unquoted.

    Raises:
        UsageError: a value is empty, as an unset variable of a shell gives: as a path, it names the current folder.
    """
    checked = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, value = re.fullmatch(r"(--[\w-]+=)?(.*)", argument, re.DOTALL).groups(default="")  # type: ignore[union-attr]
        if not value:
            name = option.rstrip("=") or (before if before.startswith("--") else "argument")
            raise UsageError(f"{name}: expected a value, got an empty name")
        checked.append(option + os.path.expanduser(value))  # noqa: PTH111  (an unknown user's ~ stays as it is)
    return checked


def _first_box_text(box: str) -> str:
    """Tyro's text above the first rule inside its frame, as one line; without a frame, between title and rule.

    Options that it thinks were meant, which it lists below that rule, come behind the text.
    """
    box = re.sub(r"\x1b\[[0-9;]*m", "", box)  # colours, on a terminal
    lines = [line.strip("│ ") for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    if "╭" not in box and len(lines) > 2 and re.fullmatch(r"-+", lines[1]):  # a terminal that is not UTF-8
        lines = lines[2:]
    said: list[str] = []
    for line in lines:
        if re.fullmatch(r"─+|-+", line):
            break
        said.append(line)
    text = " ".join(said) or box
    # For an option of several types, tyro goes on with Python's error for each.
    text = one_line(text.partition("Got errors:")[0].replace("{None}|", ""))
    text = re.sub(r"Expected one of \((.*?)\)", lambda found: f"Expected one of ({_choices(found[1])})", text)
    if not text.startswith("Unrecognized"):
        return _of_numbers(text)
    typed = re.findall(r"(?:^|, )(--[\w-]+)", text.partition(": ")[2])  # their values beside them are no options

    def likeness(name: str) -> float:
        return max((SequenceMatcher(None, name, each).ratio() for each in typed), default=0)

    listed = [re.findall(r"--[\w-]+", line) for line in lines[len(said) :] if re.match(r"--\w", line)]
    meant = [max(names, key=likeness) for names in listed]  # of an option's names
    text = f"Unrecognized options: {', '.join(typed)}" if typed else text
    return text + (f"; did you mean {' or '.join(meant[:3])}?" if meant else "")


def _choices(listed: str) -> str:
    """Tyro's choices, which come in any order, sorted; None is no word of the command line."""
    return ", ".join(sorted(each for each in listed.split(", ") if each != "'None'"))


def _of_numbers(said: str) -> str:
    """Tyro's message about an option that takes numbers, in the project's words; any other message as it is."""
    kinds = (
        r"invalid literal for int.*?: (.+)|could not convert .*?: (.+)|no type matching .*(?:INT|FLOAT).* from (.+)\."
    )
    if not (found := re.fullmatch(rf"Error parsing (?:--[\w-]+/)*(--[\w-]+): (?:{kinds})", said)):
        return said
    got = next(filter(None, found.groups()[1:])).strip("[]").replace("'", "").replace(",", "")
    whole = "FLOAT" not in said and "float" not in said
    words = re.findall(r"[a-z]+", said.partition("matching")[2].partition("could be")[0])  # taken in place of a number
    expected = " or ".join(["whole numbers" if whole else "numbers", *words])
    return f"{found[1]}: expected {expected}, got {got}"


def run(main: Callable[[StopRequest], int]) -> None:
    """Run a script's `main` and leave with its status; a UserError or a failing file becomes one line on stderr.

    SIGINT and SIGTERM reach `main` as a `StopRequest`, and end with the statuses 130 and 143.
    """
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not end a script. A notebook's streams (`%run`) are others.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with catch_signals() as stop:
            status = main(stop)
            sys.stdout.flush()
    except UserError as error:
        to_stderr(f"error: {one_line(error, 1000)}")
        status = error.status
    except BrokenPipeError:
        # The reader (`| head`) has left: nothing is wrong, and Python must not complain at its own shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:
        where = f" {one_line(error.filename)}:" if error.filename else ""
        to_stderr(f"error:{where} {error.strerror or one_line(error)}")
        status = 1
    except ModuleNotFoundError as error:
        if not error.name or packages.is_ours(error.name):
            raise
        packages.leave_without(error.name)
    except MemoryError:
        to_stderr("error: expected more memory: take a smaller --batch-size, network or picture")
        status = 1
    except Stopped as stopped:
        if "ipykernel" in sys.modules:  # %run in a notebook, whose kernel goes on
            sys.exit(stopped.status)
        # At once: Paddle's own shutdown can take longer than the saving.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(stopped.status)
    sys.exit(status)


def to_stderr(line: str) -> None:
    """Print one line on stderr; on a terminal that is narrower, broken between words."""
    if sys.stderr.isatty():
        from common.console import ScriptConsole, print_line  # here, for it takes a tenth of a second to import

        print_line(line, ScriptConsole(stderr=True))
    else:
        print(line, file=sys.stderr)


def run_module(name: str) -> None:
    """Import a module and run its `main`, as `run` does; a signal that comes while it is imported ends it silently.

    For the first lines of a module that `python -m` starts, before it imports anything: they end the process.
    """
    leave_at_once()
    packages.expect_packages()

    def main(stop: StopRequest) -> int:
        with stop.importing():
            module = importlib.import_module(name)
        return int(module.main(stop))

    run(main)


def _open_missing_streams() -> None:
    """Give a process that was started with a closed standard stream (`>&-`) /dev/null for it.

    Otherwise Python has None there, and the next file that is opened gets the stream's number and what is meant for it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  (as long as the process)
