"""demo.py's page as a person uses it: in a headless Chromium that is told to find no other machine than this one."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from http.client import HTTPConnection
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_selenium_python import Axe
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

import demo
from common.errors import UserError
from data.dataset import Mnist
from model.predictor import Predictor
from model.saved_model import load_model
from page import texts
from page.found import Found
from page.reader import Answer, ReadDigit, Reader
from page.views import reading_view
from recognition.cuts import Chosen, Cuts
from recognition.picture import Limits
from recognition.reader import DigitReader
from recognition.row_reader import RowReader
from recognition.workers import Workers
from tests.conftest import MODEL, ROOT, Script
from tests.page.conftest import LARGEST_CALL, MAX_BYTES, PATIENCE, Server
from tests.recognition.papers import blank, row_answers

# Fractions of the sheet, from its upper left corner.
SEVEN = ((0.28, 0.2), (0.5, 0.2), (0.72, 0.2), (0.62, 0.42), (0.52, 0.62), (0.45, 0.82))
ONE = ((0.5, 0.15), (0.5, 0.4), (0.5, 0.6), (0.5, 0.85))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        reason = "no chromium and chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = str(programs[0])
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--lang=en"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
        "--window-size=1280,1400",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = Chrome(options=options, service=Service(programs[1]))
    yield driver
    driver.quit()


class Page:
    """What a person does on the page, and sees."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.shown("#models input")  # the last thing that comes

    def shown(self, selector: str) -> WebElement:
        """The first visible element, as soon as there is one."""
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(
            lambda driver: next((e for e in driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()), None),
            f"nothing on the page is {selector}",
        )

    def draw(self, stroke: Sequence[tuple[float, float]], pointer: str = "mouse") -> None:
        sheet = self.shown("canvas")
        width, height = sheet.size["width"], sheet.size["height"]
        actions = ActionBuilder(self.driver, mouse=PointerInput(pointer, pointer), duration=10)
        for number, (x, y) in enumerate(stroke):
            actions.pointer_action.move_to(sheet, int((x - 0.5) * width), int((y - 0.5) * height))
            if number == 0:
                actions.pointer_action.pointer_down()
        actions.pointer_action.pointer_up()
        actions.perform()

    def upload(self, path: Path) -> None:
        self.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))

    def read(self) -> str:
        """The digit, once it is there."""
        return self.shown("output.likeliest").text

    def count(self, selector: str) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def reload(self, address: str = "") -> None:
        """Open the page or another anew, without transitions."""
        self.driver.get(address or self.driver.current_url)
        self.shown("#models input")
        self.driver.execute_script(
            "document.head.append(Object.assign(document.createElement('style'), "
            "{textContent: '* { transition: none !important }'}))"
        )

    def faults(self) -> list[str]:
        """Faults that axe-core finds on the page: rule, weight, place."""
        self.driver.set_script_timeout(PATIENCE)
        axe = Axe(self.driver)
        axe.inject()
        return [
            f"{found['id']} ({found['impact']}): {node['target']}"
            for found in axe.run()["violations"]
            for node in found["nodes"]
        ]


@pytest.fixture
def page(browser: Chrome, server: Server) -> Page:
    return Page(browser, server.address)


@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_a_drawn_seven_is_read_as_7(page: Page, pointer: str) -> None:
    page.draw(SEVEN, pointer)
    assert page.read() == "7"
    assert page.count(".bar") == 10
    assert page.shown(".likeliest-bar").text.startswith("7")
    assert page.shown(".seen img").size == {"width": 196, "height": 196}
    layers = page.driver.find_elements(By.CSS_SELECTOR, ".layer")
    assert [len(layer.find_elements(By.TAG_NAME, "img")) for layer in layers] == [20, 20, 50, 1]


def test_the_answer_follows_each_stroke_and_undo(page: Page) -> None:
    page.draw(ONE)
    assert page.read() == "1"
    page.shown(".clear").click()
    page.shown(".message.hint")
    page.draw(SEVEN)
    assert page.read() == "7"
    page.shown(".undo").click()
    page.shown(".message.hint")


def test_every_chosen_model_answers(page: Page) -> None:
    page.draw(SEVEN)
    page.read()
    for box in page.driver.find_elements(By.CSS_SELECTOR, "#models input")[1:]:
        box.click()
    page.shown(".models tr:nth-child(3)")
    names = [each.text for each in page.driver.find_elements(By.CSS_SELECTOR, ".models th")]
    assert names == ["inference_model", "runs/first", "runs/second"]


def test_what_is_no_digit_is_marked(small_run: Path, mnist: Mnist, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    with Workers(Limits()) as workers:
        reader = Reader(small_run / "model", tmp_path, workers)
        digit, no_digit = reader.answer(Found([mnist.test_images[0], noise]), reader.models())
    assert (digit.no_digit, no_digit.no_digit) == (False, True)
    assert texts.ENGLISH.no_digit in reading_view([no_digit], texts.ENGLISH)
    assert texts.ENGLISH.no_digit not in reading_view([digit], texts.ENGLISH)


def test_the_page_says_the_probability_that_infer_py_says(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a picture whose plain cut leaves the network in doubt: it and the cut that is read answer together."""
    seven, others = mnist.test_images[0], mnist.test_images[1:100]
    mixed = [Cuts(np.stack([np.maximum(seven, other), seven])) for other in others]
    model = load_model(MODEL)
    digits = DigitReader(model, Predictor(model), top_k=10)
    chosen = zip(mixed, digits.choose(mixed), strict=True)
    doubtful = next(cuts for cuts, each in chosen if np.array_equal(each.image, seven))
    photo = np.pad(mnist.test_images[1], ((3, 0), (0, 4)))
    with_photo = replace(doubtful, photo=photo)
    first, other = digits.read(["", ""], [doubtful, with_photo])
    assert abs(first.digits[0][1] - digits.probabilities(seven[None]).max()) > 0.05
    assert first.digits != other.digits
    with Workers(Limits()) as workers:
        reader = Reader(MODEL, tmp_path, workers)
        for cuts, expected in ((doubtful, first), (with_photo, other)):
            monkeypatch.setattr(reader, "cuts", lambda picture, cuts=cuts: cuts)
            found = Found.from_browser(reader.find("data:;base64,").for_browser())
            (shown,) = reader.answer(found, reader.models())
            (answer,) = shown.answers
            assert answer.likeliest == int(expected.digits[0][0])
            assert answer.probabilities.max() == pytest.approx(expected.digits[0][1], abs=1e-6)
            assert shown.no_digit == expected.no_digit


@pytest.mark.parametrize(
    "changed",
    [{"trust": [10**400]}, {"votes": [[3, 10**400]]}, {"votes": [[3.0, 0.5]]}, {"votes": [[True, 0.5]]}],
)
def test_numbers_from_the_browser_may_be_anything(changed: dict[str, object], mnist: Mnist) -> None:
    with pytest.raises(UserError):
        Found.from_browser({**Found([mnist.test_images[0]]).for_browser(), **changed})


def test_the_page_doubts_a_hair_among_rows_as_infer_py_does(tmp_path: Path) -> None:
    grey, file = blank(5112)[1], io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    picture = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    with Workers(Limits()) as workers:
        reader = Reader(MODEL, tmp_path, workers)
        found = Found.from_browser(reader.find(picture, row=True).for_browser())
        shown = [digit.answers[0].probabilities.max() for digit in reader.answer(found, reader.models())]
    expected = [answer.digits[0][1] for answer in row_answers(grey, DigitReader.load(MODEL), RowReader.load(MODEL))]
    assert shown == pytest.approx(expected, abs=1e-5)
    assert max(shown) < 0.9


def test_what_is_known_of_a_single_digit_survives_the_browser(mnist: Mnist) -> None:
    plain, image = mnist.test_images[:2]
    for one in (
        Chosen(plain, image, 0.88, coarse=True, several=True, vote=(3, 0.75), even_paper=True),
        Chosen(plain, image),
    ):
        (again,) = Found.from_browser(json.loads(json.dumps(Found.of_one(one).for_browser()))).chosen
        assert all(np.array_equal(getattr(again, each.name), getattr(one, each.name)) for each in fields(Chosen))


def test_a_picture_of_several_digits_names_the_row_mode(mnist: Mnist) -> None:
    found = Found.from_browser(Found([mnist.test_images[0]], several=True).for_browser())
    digit = ReadDigit(found.images[0], False, [Answer("m", "0123456789", np.full(10, 0.1))], [])
    for language in (texts.ENGLISH, texts.CHINESE):
        assert language.row in language.several
        assert language.several in reading_view([digit], language, found.several)
        assert language.several not in reading_view([digit], language)


def test_an_uploaded_picture_is_read(page: Page) -> None:
    page.upload(ROOT / "docs" / "samples" / "seven_on_squared_paper.png")
    assert page.read() == "7"


def test_a_drawn_row_is_read_digit_by_digit(page: Page) -> None:
    page.shown("[data-kind=row]").click()
    for number, stroke in enumerate((SEVEN, ONE, SEVEN)):
        page.draw([((number + x) / 3, 0.1 + 0.8 * y) for x, y in stroke])
    WebDriverWait(page.driver, PATIENCE, 0.05).until(lambda _: page.shown("output.row").text == "717")
    assert page.count(".boxes div") == page.count(".chip") == 3
    assert page.read() == "7"
    page.driver.find_elements(By.CSS_SELECTOR, ".chip")[1].click()
    assert page.read() == "1"


def test_the_sheet_stands_in_the_middle_and_stays_there(page: Page) -> None:
    """An answer beside it, three models' answers, a row: nothing that comes or goes moves it."""
    sheet = (
        "const r = document.querySelector('.paper').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]"
    )
    middle = "const r = document.querySelector('.head').getBoundingClientRect(); return r.left + r.right"
    for width in (390, 768, 1280, 1920):
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False},
        )
        for kind, stroke, answer in (
            ("digit", SEVEN, "output.likeliest"),
            ("row", ((0.1, 0.2), (0.1, 0.8)), ".likeliest"),
        ):
            page.shown(f"[data-kind={kind}]").click()
            before = page.driver.execute_script(sheet)
            page.draw(stroke)
            page.shown(answer)
            assert page.driver.execute_script(sheet) == before, (width, kind)
            visible = page.driver.execute_script("return document.documentElement.clientWidth")
            assert abs(page.driver.execute_script(middle) - visible) < 2, width
            page.shown(".clear").click()
            page.shown(".message.hint")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# The lowest contrast of a visible text to what stands behind it (WCAG 2, 1.4.3), and that text.
CONTRAST = """
const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
  const level = c[i] / 255;
  return sum + share * (level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4);
}, 0);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
let worst = [99, ""];
const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const e = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !e.checkVisibility() || e.matches("script, style, .spoken")) continue;
  const [high, low] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
  worst = [[(high + 0.05) / (low + 0.05), texts.currentNode.data.trim()], worst].sort((a, b) => a[0] - b[0])[0];
}
return worst;"""


@pytest.fixture(params=["light", "dark"])
def themed(page: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as a browser of each theme shows it, without transitions."""
    features = [{"name": "prefers-color-scheme", "value": request.param}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.reload()
    yield page
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_text_stands_out(themed: Page) -> None:
    page = themed
    least, text = page.driver.execute_script(CONTRAST)
    assert least >= 4.5, text
    page.draw(SEVEN)
    page.read()
    least, text = page.driver.execute_script(CONTRAST)
    assert least >= 4.5, text


@pytest.mark.parametrize("path", ["", "/zh"], ids=["English", "Chinese"])
def test_axe_finds_no_fault(themed: Page, server: Server, path: str) -> None:
    """By the rules of WCAG and those that axe recommends, of the empty page, a digit, a row and a comparison."""
    page = themed
    page.reload(f"{server.address}{path}")
    assert page.faults() == []
    page.draw(SEVEN)
    page.read()
    page.driver.find_elements(By.CSS_SELECTOR, "#models input")[1].click()
    page.shown(".models tr:nth-child(2)")
    assert page.faults() == []
    page.shown("[data-kind=row]").click()
    for left in (0, 0.5):
        page.draw([(left + x / 3, y) for x, y in SEVEN])
    page.shown(".chip")
    assert page.faults() == []
    page.driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")[1].click()
    page.shown("table.comparison")
    assert page.faults() == []


def test_the_page_is_used_by_keyboard_and_ear(page: Page) -> None:
    """Tab goes from the top to the bottom, Enter uploads, a screen reader hears what is pressed and read."""
    page.driver.execute_script(
        "document.querySelector('input[type=file]').addEventListener('click', (event) => {"
        " event.preventDefault(); window.asked = true; })"
    )
    page.shown("[data-kind=digit]").send_keys("")
    reached = []
    for _ in range(5):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(page.driver.switch_to.active_element.text)
        if reached[-1] == "Upload a picture":
            page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert reached[:2] == ["A row", "Upload a picture"]  # and nothing to undo or to clear yet
    assert page.driver.execute_script("return window.asked")
    pressed = {
        e.text: e.get_attribute("aria-pressed") for e in page.driver.find_elements(By.CSS_SELECTOR, "[data-kind]")
    }
    assert pressed == {"One digit": "true", "A row": "false"}
    assert page.shown("canvas").accessible_name == "Draw a digit here"
    page.draw(SEVEN)
    page.read()
    spoken = page.driver.find_element(By.CSS_SELECTOR, ".spoken[role=status]")
    WebDriverWait(page.driver, PATIENCE, 0.05).until(lambda _: spoken.get_attribute("textContent").startswith("7"))


def test_a_message_goes_when_it_no_longer_holds(page: Page, tmp_path: Path) -> None:
    page.draw(SEVEN)
    page.read()
    (tmp_path / "picture.png").write_bytes(b"\0" * (MAX_BYTES + 1))
    page.upload(tmp_path / "picture.png")
    page.shown(".board .problem")
    page.shown(".message.hint")  # the 7 is gone from the sheet, and so is the answer to it
    assert page.count("output.likeliest") == 0
    page.draw(SEVEN)
    assert page.read() == "7"
    assert not page.driver.find_element(By.CSS_SELECTOR, ".board .problem").is_displayed()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"not a picture" * 9, "Not read: expected a picture, got one that cannot be decoded"),
        (b"", "Not read: expected a picture, got"),
        (b"\0" * (MAX_BYTES + 1), "This picture is too large: at most 0.3 MB."),
    ],
    ids=["broken", "empty", "too large"],
)
def test_what_is_no_picture_is_told_in_one_line(
    page: Page, server: Server, data: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / "picture.png").write_bytes(data)
    page.upload(tmp_path / "picture.png")
    said = page.shown(".message.problem").text
    assert said.startswith(told) and "\n" not in said
    assert page.count("output.likeliest") == 0
    assert server.errors.read_text() == ""


@pytest.mark.parametrize("headers", [{"Content-Length": str(LARGEST_CALL + 1)}, {"Transfer-Encoding": "chunked"}])
def test_the_server_takes_no_more_than_it_says(server: Server, headers: dict[str, str]) -> None:
    """A browser asks first whether a file is too large; who sends by other means is refused before sending it."""
    connection = HTTPConnection(urlsplit(server.address).netloc, timeout=PATIENCE)
    connection.putrequest("POST", "/gradio_api/run/predict")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.load(answer) == {"error": f"expected at most {LARGEST_CALL} bytes, of announced length"}
    connection.close()


def test_runs_are_compared(page: Page) -> None:
    page.driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")[1].click()
    page.shown("table.comparison")
    passes = page.driver.find_elements(By.CSS_SELECTOR, "table.comparison")[0].text.splitlines()
    assert passes[1].startswith("first") and passes[1].endswith("reference")
    assert passes[2].startswith("second") and "not distinguishable from first pass" in passes[2]
    assert page.shown("img.curves").size["height"] > 100


@pytest.mark.parametrize("width", [390, 500, 1180, 1280])
def test_a_comparison_fits_the_screen(page: Page, width: int) -> None:
    """Nothing is cut and nothing scrolls sideways; on a narrow screen each value has its header beside it."""
    metrics = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")[1].click()
    page.shown("table.comparison")
    wide = "return [...document.querySelectorAll('.wide')].map((e) => [e.scrollWidth, e.clientWidth])"
    sizes = page.driver.execute_script(wide)
    label = "return getComputedStyle(document.querySelector('.runs td:nth-child(9)'), '::before').content"
    assert sizes and [size for size in sizes if size[0] > size[1]] == []
    assert page.driver.execute_script(label) == ('"test %"' if width < 1249 else "none")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_chinese_browser_gets_the_chinese_page_first(browser: Chrome, server: Server) -> None:
    browser.switch_to.new_window("tab")  # which has no session yet
    agent = browser.execute_script("return navigator.userAgent")
    browser.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "zh-CN"})
    page = Page(browser, server.address)
    assert browser.current_url == f"{server.address}/zh"
    assert page.shown("h1").text == "LeNet-5 识别你的手写数字"
    page.draw(SEVEN)
    assert page.read() == "7"
    assert "各数字的概率" in page.shown(".bars").text
    page.shown(".head a").click()
    WebDriverWait(browser, PATIENCE, 0.05).until(lambda driver: driver.current_url == f"{server.address}/")
    assert page.shown("h1").text == "LeNet-5 reads your handwriting"


def test_nothing_was_asked_of_another_machine(browser: Chrome, page: Page) -> None:
    """In all that the tests before did, whatever page they showed."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        urlsplit(message["params"]["request"]["url"])
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    own = ("chrome", "chrome-untrusted", "data", "blob")  # what the browser has inside itself
    assert {url.hostname for url in asked if url.scheme not in own} == {"127.0.0.1"}


def test_a_missing_gradio_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(UserError, match=r'^the page needs Gradio, found none: pip install "gradio>=6.31,<7.0"$'):
        demo.check_gradio()


def test_an_old_gradio_is_one_line(script: Script, tmp_path: Path) -> None:
    (tmp_path / "gradio-4.44.1.dist-info").mkdir()
    (tmp_path / "gradio-4.44.1.dist-info" / "METADATA").write_text("Name: gradio\nVersion: 4.44.1\n")
    result = script("demo.py", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == 'error: the page needs Gradio, found 4.44.1: pip install "gradio>=6.31,<7.0"\n'


def test_wrong_use_is_one_line(script: Script) -> None:
    result = script("demo.py", "--port", 99999)
    assert (result.returncode, result.stderr) == (2, "error: --port 99999: expected 1 to 65535\n")
