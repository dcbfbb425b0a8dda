"""The table of answers: its columns fit the names of the classes."""

from __future__ import annotations

import csv
import json
import re

from recognition.output import formats
from recognition.reader import Answer


def test_digits_keep_their_table() -> None:
    header, row = formats("0123456789")["table"]
    assert header.split() == ["digit", "probability", "else", "picture"]
    line = row(Answer("7.png", [("7", 0.9), ("1", 0.06)], rejected=False, no_digit=True))
    assert line == "   7        90.00 %  1 6.0 %                   7.png  no digit?"


def test_names_of_classes_fit_their_columns() -> None:
    header, row = formats(["Ankle boot", "Bag", "Shirt"])["table"]
    answers = [
        Answer("a.png", [("Ankle boot", 0.9), ("Bag", 0.06), ("Shirt", 0.04)], rejected=False),
        Answer("b.png", [("Bag", 0.5), ("Ankle boot", 0.4), ("Shirt", 0.1)], rejected=True, no_digit=True),
    ]
    lines = [row(answer) for answer in answers]
    assert header.split() == ["class", "probability", "else", "picture"]
    assert lines[0].split()[:2] == ["Ankle", "boot"] and lines[1].split()[0] == "(Bag)"
    assert [line.index(answer.path) for line, answer in zip(lines, answers, strict=True)] == [
        header.index("picture")
    ] * 2
    assert lines[1].endswith("unlike every class?")


def test_each_class_in_top_can_be_told_from_the_next() -> None:
    """The rule: a name with a space, a colon or a quotation mark is a JSON string; digits stay as they were."""
    _, row = formats("0123456789")["csv"]
    assert row(Answer("7.png", [("7", 0.9), ("1", 0.06)], rejected=False)) == (
        "7.png,7,0.900000,false,7:0.900000 1:0.060000,,false,false"
    )
    names = ["Ankle boot", "Bag:0.5 Coat", 'a "b"', "\\", "T-shirt/top", "短靴 黑"]
    _, row = formats(names)["csv"]
    (cells,) = csv.reader([row(Answer("a.png", [(name, 1 / len(names)) for name in names], rejected=False))])
    found = re.findall(r'("(?:[^"\\]|\\.)*"|[^ "]+):([0-9.]+)(?: |$)', cells[4])
    assert [json.loads(name) if name.startswith('"') else name for name, _ in found] == names
    assert {probability for _, probability in found} == {"0.166667"}
