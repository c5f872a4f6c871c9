"""The page in a real browser; skipped where there is none."""

import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api")
for _library in ("pandas", "jinja2", "torchmetrics", "matplotlib", "scipy"):
    pytest.importorskip(_library)

from report_example import make_report  # noqa: E402

CHROMIUM = os.environ.get("MOTIFKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium: install the system's package, or name one in MOTIFKIT_CHROMIUM")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        try:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=120_000)
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("browser"), copies=12)


@pytest.fixture
def open_page(browser, path):
    """Opens the report; every message of the console, and every request, is kept."""
    contexts = []

    def open(width=1400, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.messages, page.requests = [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [400, 1400])
def test_sections_are_there_and_nothing_overflows(open_page, width):
    page = open_page(width)
    for name in (
        "performance",
        "filters",
        "names",
        "knockout",
        "clusters",
        "rules",
        "places",
        "pairs",
        "how",
    ):
        page.locator(f"#h-{name}").scroll_into_view_if_needed()
        assert page.locator(f"#h-{name}").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.messages == []
    assert page.requests == [page.url]


def column(page, table, index):
    return page.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])",
        f"rows => rows.map(row => row.cells[{index}].textContent.trim())",
    )


def test_tables_sort_by_keyboard(open_page):
    page = open_page()
    order = column(page, "motif-table", 0)
    assert order == [f"filter{i}" for i in range(24)]  # by number, not by letters
    button = page.locator("#motif-table th button", has_text="sites")
    button.focus()
    page.keyboard.press("Enter")
    heading = button.locator("..")
    assert heading.get_attribute("aria-sort") == "ascending"
    sites = [int(text.split("few")[0]) for text in column(page, "motif-table", 2)]
    assert sites == sorted(sites)
    assert sites[0] == 5
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "descending"
    assert int(column(page, "motif-table", 2)[-1].split("few")[0]) == 5
    page.keyboard.press("Shift+Tab")  # to the heading before: back in the first order
    page.keyboard.press("Enter")
    assert column(page, "motif-table", 0) == order
    assert heading.get_attribute("aria-sort") is None
    knockout = page.locator("#knockout-table th button", has_text="GATA")
    knockout.focus()
    page.keyboard.press("Enter")
    assert [text[:6] for text in column(page, "knockout-table", 2)] == ["-0.250", "+0.050"]


def test_rows_can_be_searched(open_page):
    page = open_page()
    box = page.get_by_label("Show filters whose row holds")
    box.fill("gata1")
    assert column(page, "motif-table", 0) == ["filter0"]
    assert page.locator("#motif-table-shown").inner_text() == "1 of 24 shown"
    box.fill("")
    assert len(column(page, "motif-table", 0)) == 24


def test_the_first_tab_stop_skips_to_the_results_and_focus_shows(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_logos_are_drawn_when_they_come_into_view_and_for_print(open_page):
    page = open_page()
    last = page.locator("#motif-table tr").last.locator("svg.logo").first
    assert last.locator("use").count() == 0
    last.scroll_into_view_if_needed()
    page.wait_for_function(
        "!document.querySelector('#motif-table tr:last-child svg[data-logo]')", timeout=20_000
    )
    assert last.locator("use").count() >= 8  # a letter a column, at least
    box = last.locator("use").nth(3).bounding_box()  # the largest of the first column's four
    assert box["width"] > 10  # 16 pixels a column
    assert box["height"] > 20
    assert page.locator("svg[data-logo]").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("svg[data-logo]").count() == 0
    assert page.locator("details:not([open])").count() == 0


def test_light_and_dark(open_page):
    def lightness(page, selector, key):
        colour = page.eval_on_selector(selector, f"e => getComputedStyle(e)['{key}']")
        return sum(int(part) for part in colour.strip("rgb()").split(",")[:3]) / 3

    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    for page, sign in ((light, 1), (dark, -1)):
        assert sign * (lightness(page, "body", "backgroundColor") - lightness(page, "body", "color")) > 150
    dark.emulate_media(media="print", color_scheme="dark")
    assert lightness(dark, "body", "color") < 60  # ink on paper
    assert not dark.locator("nav").is_visible()


def test_three_hundred_filters_stay_small(browser, tmp_path):
    path = make_report(tmp_path, copies=150)
    assert path.stat().st_size < 5e6
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator("#motif-table tbody tr").count() == 300
    # Few of the logos were drawn to show the first view.
    assert page.locator("svg[data-logo]").count() > 250
    page.close()
