"""Odd values, names and surroundings end in one line, not in a traceback, and never in a wrong answer."""

from __future__ import annotations

import dataclasses
import typing

import pytest

import compare
import demo
import infer
from common.command_line import parse
from common.errors import UsageError
from training.settings import Settings

SCRIPTS = {"train": Settings, "infer": infer.Settings, "compare": compare.Options, "demo": demo.Settings}
FILTERS = {("compare", "seed"), ("compare", "passes")}  # a number that no run has is a good question


def numbers(kind: type) -> list[tuple[str, str]]:
    """Script and option of each number of this kind that the scripts take."""
    found = []
    for script, settings in SCRIPTS.items():
        hints = typing.get_type_hints(settings)
        for field in dataclasses.fields(settings):
            hint = hints[field.name]
            if (hint is kind or kind in typing.get_args(hint)) and (script, field.name) not in FILTERS:
                found.append((script, "--" + field.name.replace("_", "-")))
    return found


def refused(script: str, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a script refuses a value as wrong use, in one line that names the option."""
    picture = ["x.png"] if script == "infer" else []
    try:
        parse(SCRIPTS[script], [*picture, f"{option}={value}"])
    except UsageError as error:
        return option.lstrip("-").replace("-", "_") in str(error).replace("-", "_") and "\n" not in str(error)
    except SystemExit as leaving:
        said = capsys.readouterr().err
        return leaving.code == 2 and said.count("\n") == 1 and option in said
    return False


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300", "-1"])
def test_no_option_takes_a_number_out_of_its_range(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = numbers(float)
    assert len(options) >= 17
    assert [each for each in options if not refused(*each, value, capsys)] == []


@pytest.mark.parametrize("value", ["-1", "1e30", str(10**30)])
def test_no_option_takes_a_whole_number_out_of_its_range(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = numbers(int)
    assert len(options) >= 14
    assert [each for each in options if not refused(*each, value, capsys)] == []


@pytest.mark.parametrize("maps", [(1000000, 1000000), (2000, 1), (0, 5)])
def test_a_network_beyond_any_memory_is_refused(maps: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"--maps \d+ \d+: expected 2 numbers of at least 1, at most 1024"):
        Settings(maps=maps)
