"""compare.py --html: one file, everything in it, nothing that runs or is loaded, whatever a run is called."""

from __future__ import annotations

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from common.project import __version__
from results.comparison_texts import CHINESE, ENGLISH, TEXTS
from results.groups import Group, group_runs
from results.html import check_html_path, write_report
from results.log import read_results
from results.predictions import predictions_path
from results.runs import load_runs, sort_passes
from results.significance import Outcome, Verdict, p_text
from results.table import GROUP_COLUMNS, VERDICT_COLUMNS
from tests.conftest import ROOT, Script

HOSTILE = """<img src=x onerror=alert(1)> & "q" '</td><script>"""


class Page(HTMLParser):
    """Tags with their attributes, and the text of each table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def place(small_run: Path, tmp_path: Path) -> Path:
    """Two runs, one of a hostile name; a pass's answers are damaged."""
    parts = shutil.ignore_patterns("figures", "checkpoints", "inference_model")
    for name in ("first", HOSTILE.replace("/", "|")):
        shutil.copytree(small_run / "run", tmp_path / "runs" / name, ignore=parts)
    answers = predictions_path(tmp_path / "runs" / "first", 1)
    answers.write_bytes(answers.read_bytes()[:-1] + b"?")
    return tmp_path


def test_the_report_has_all_in_one_file_and_escapes_names(place: Path, script: Script) -> None:
    result = script("compare.py", "--html", "report.html", "--best", cwd=place)
    assert result.returncode == 0, result.stderr
    text = (place / "report.html").read_text()
    check_html_path(place / "report.html")  # which refuses all but such a report
    page = Page(text)
    kinds = {tag for tag, _ in page.tags}
    assert kinds.isdisjoint({"script", "link", "iframe", "object"})
    [image] = [attributes for tag, attributes in page.tags if tag == "img"]
    kind, _, data = (image["src"] or "").partition(",")
    assert kind == "data:image/svg+xml;base64" and b"<svg" in base64.b64decode(data) and image["alt"]
    assert "http" not in re.sub(r"data:[^\"]+", "", text).replace("http-equiv", "")
    [policy] = [
        each["content"] or ""
        for tag, each in page.tags
        if tag == "meta" and "content" in each and "-src" in each["content"]
    ]
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in text
    hostile = HOSTILE.replace("/", "|")
    row = read_results(place / "runs" / "first" / "results.csv")[0]
    best = next(each for each in reversed(row) if each.best)
    named = {cells[0]: cells for cells in page.rows}
    assert {"first", hostile} <= named.keys()
    assert f"{best.test_correct}/500" in named["first"]
    assert any("not distinguishable" in cells[-1] for cells in page.rows)
    assert ["conv_pool_bn", "published", "2"] in [cells[:3] for cells in page.rows]


def report_of_the_sample(path: Path, language: str = "en") -> str:
    runs, problems = load_runs([ROOT / "tests" / "samples" / "c93bf08" / "run"])
    assert not problems
    write_report(path, runs, sort_passes(runs), group_runs(runs), (), TEXTS[language], "compare.py --html a\nb.html")
    return path.read_text()


def test_the_report_names_its_date_command_and_settings(tmp_path: Path) -> None:
    text = report_of_the_sample(tmp_path / "report.html")
    [made] = re.findall(r'<p class="made">(.*)</p>', text)
    date, version, command = made.split(" · ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \S+", date)
    assert (version, command) == (__version__, r"compare.py --html a\nb.html")
    [settings] = re.findall(r"<dd>(.*)</dd>", text)
    assert "<dt><b>conv_pool_bn published</b> seeds 3</dt>" in text
    for each in ("learning rate 0.001", "batch size 32", "train rbf no", "optimizer adam", "weight decay 0"):
        assert f"{each}," in f"{settings},", each


def test_the_report_is_chinese_if_asked(tmp_path: Path) -> None:
    text = report_of_the_sample(tmp_path / "report.html", "zh")
    assert '<html lang="zh-CN">' in text and "<b>conv_pool_bn published</b> 种子 3" in text
    assert not [each for each in (ENGLISH.title, ENGLISH.settings, ENGLISH.how_to_read) if each in text]
    headers = re.findall(r"<th[^>]*>([^<]*)</th>", text)
    assert [each for each in headers if each and each.isascii()] == ["p", "p", "p"]
    assert CHINESE.cell("its interval\n%", "-0.20 to +0.14", None) == "-0.20 至 +0.14"
    assert [CHINESE.cell("recipe", name, None) for name in ("best", "unknown")] == ["best", "未知"]


def test_narrow_screens_get_a_label_for_each_value(tmp_path: Path) -> None:
    """In cards, since a table of 14 columns takes 1,200 pixels; tests/page/test_demo.py measures it in a browser."""
    text = report_of_the_sample(tmp_path / "report.html")
    labels = re.findall(r'\.runs td:nth-child\((\d+)\)::before { content: "([^"]*)" }', text)
    headers = re.findall(r"<th[^>]*>([^<]*)</th>", text[: text.index("</thead>")])
    assert labels == [(str(number), header) for number, header in enumerate(headers, start=1)][1:]


def test_p_values_have_one_format() -> None:
    assert [p_text(p) for p in (None, 1.0, 0.33549, 0.001, 0.00099, 1e-30)] == [
        "",
        "1.000",
        "0.335",
        "0.001",
        "< 0.001",
        "< 0.001",
    ]
    group = Group("lenet", "best", 3, 0.99, 0.001, 0.98, 0.99, 0.1, Outcome.WORSE, 3e-8)
    assert GROUP_COLUMNS["p"](group) == VERDICT_COLUMNS["p"](Verdict(Outcome.WORSE, p_value=3e-8)) == "< 0.001"


def test_what_could_not_be_used_is_said_in_the_report_too(place: Path, script: Script) -> None:
    result = script("compare.py", "--html", "report.html", cwd=place)
    assert result.returncode == 1 and "altered" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "altered" in Page((place / "report.html").read_text()).words


@pytest.mark.parametrize("arguments", [("report.txt",), ("nowhere/report.html",), ("r.html", "--sort", "test_loss")])
def test_wrong_use_is_one_line(place: Path, script: Script, arguments: tuple[str, ...]) -> None:
    result = script("compare.py", "--html", *arguments, cwd=place)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and not result.stdout
