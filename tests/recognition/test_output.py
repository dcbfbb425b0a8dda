"""The table of answers: its columns fit the names of the classes."""

from __future__ import annotations

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
