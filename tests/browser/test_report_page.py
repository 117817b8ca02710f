"""The report in a real browser, at a desk and on a phone, by day and by night, and on paper."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports.test_page import trained_run, write_images
from xpmlp.reports.page import write_report

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CONTRAST = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const below = element.parentElement ? behind(element.parentElement) : [255, 255, 255];
    const [r, g, b, a = 1] = channels(getComputedStyle(element).backgroundColor);
    return [r, g, b].map((v, i) => a * v + (1 - a) * below[i]);
  };
  let least = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.closest('svg') || element.tagName === 'STYLE') continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, element.outerHTML.slice(0, 80)];
  }
  return least;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("no browser: install chromium, and Playwright's Python package")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    data = write_images(place / "tiny", classes=10, count=200)
    name = "a-run-with-a-name-so-long-that-no-phone-has-room-for-it-in-one-line"
    run = trained_run(
        place / name, data, "model.layer_sizes=16,40,10", "validation=0.2", "members=2"
    )
    write_report(run, place / "report.html")
    return place / "report.html"


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_page_is_quiet_whole_and_readable(
    browser, page: Path, width: int, scheme: str
) -> None:
    said: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("requestfailed", lambda request: said.append(request.url[:80]))
    tab.goto(page.as_uri())
    assert said == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing but wide tables, which scroll by themselves, reaches beyond the screen.
    beyond = tab.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, svg') &&"
        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []
    if width >= 390:  # ten classes have room on a phone
        assert tab.evaluate(
            "[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth)"
        )
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    ratio, where = tab.evaluate(CONTRAST)
    assert ratio >= 4.5, where  # WCAG 2.2, 1.4.3
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 31)"
    )
    context.close()


def test_text_in_charts_is_large_enough_on_a_phone(browser, page: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.goto(page.as_uri())
    heights = tab.evaluate(
        "[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(heights) > 20
    assert min(heights) >= 10  # pixels
    context.close()


def test_report_page_prints(browser, page: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert tab.pdf().startswith(b"%PDF")
    context.close()
