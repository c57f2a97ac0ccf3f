"""The report page in a browser, of made-up data: what it shows, what it asks for, how it is used."""

from typing import Any

import pytest

from artnet.analysis.page.html import html
from tests.browser import made_up, made_up_search
from tests.browser.conftest import WIDTHS

SMALL_TEXT = """
[...document.querySelectorAll('svg.plot')].filter(svg => svg.getBoundingClientRect().width).flatMap(svg => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const size = text => parseFloat(getComputedStyle(text).fontSize) * scale;
    return [...svg.querySelectorAll('text')].map(text => [size(text), text.textContent]);
}).filter(([size]) => size < 10.99)
"""
SMALL = {"models": 6, "classes": 8, "epochs": 10}
CONTROLS = """
[...document.querySelectorAll('a[href], button, select, input, summary')]
    .filter(one => one.checkVisibility() && !one.disabled && (one.type !== 'radio' || one.checked))
    .map((one, i) => { one.dataset.control = i; return String(i); })
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["grid", "hostile", "search"])
def test_nothing_overflows_and_no_text_is_small(show: Any, kind: str, scheme: str) -> None:
    data = made_up_search.search(40) if kind == "search" else made_up.grid(**SMALL, hostile=kind == "hostile")
    opened = show(data, color_scheme=scheme)
    for width in WIDTHS:
        opened.resize(width)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        small = opened.page.evaluate(SMALL_TEXT)
        assert small == [], width
    assert opened.complaints == []


def test_the_answer_is_read_without_scripts(show: Any) -> None:
    page = show(made_up.grid(**SMALL), java_script_enabled=False, wait=False).page
    assert "5.2 points above" in page.locator("#answer .finding").first.inner_text()
    assert page.locator("#answer table.answer tbody tr").count() == SMALL["models"]
    assert page.locator("#answer table.answer strong").count() >= 3


@pytest.mark.slow
def test_a_page_of_200_runs_is_small_and_not_tall(show: Any) -> None:
    data = made_up.grid(models=67)
    assert len(html(data).encode()) < 3_000_000
    opened = show(data)
    assert opened.page.evaluate("document.documentElement.scrollHeight") < 12_000
    assert opened.complaints == []


def test_runs_are_sorted_filtered_and_linked(show: Any) -> None:
    page = show(made_up.grid(**SMALL)).page
    runs = page.locator("#runs tbody tr")
    score = page.locator("#runs thead button", has_text="artist test")
    score.click()
    score = page.locator("#runs thead th", has_text="artist test")
    assert score.get_attribute("aria-sort") == "ascending"
    column = page.locator("#runs thead th").all_text_contents().index("artist test, %")
    shown = [float(row.locator("th, td").nth(column).inner_text()) for row in runs.all()]
    assert shown == sorted(shown) and len(set(shown)) > 1
    page.locator("#runs-find").fill("lstm + se")
    assert 0 < runs.count() < 18 and all("LSTM + SE" in row.inner_text() for row in runs.all())
    name = runs.first.locator("a").inner_text()
    runs.first.locator("a").click()
    assert page.locator("dialog h2").inner_text() == name
    assert "lstm" in page.locator("dialog").inner_text()
    page.reload()  # the address names the run
    assert page.locator("dialog h2").inner_text() == name
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.url.endswith("#runs")


@pytest.mark.slow
def test_every_control_is_reached_and_used_with_the_keyboard(show: Any) -> None:
    page = show(made_up.grid(**SMALL)).page
    wanted = page.evaluate(CONTROLS)
    reached = set()
    for _ in range(len(wanted) * 2):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.control ?? ''"))
    assert set(wanted) <= reached
    page.locator("#cost-task-artist").focus()
    before = page.locator("#cost svg.plot").first.inner_html()
    page.keyboard.press("ArrowRight")
    assert page.locator("#cost-task-genre").is_checked()
    assert page.locator("#cost svg.plot").first.inner_html() != before


def test_a_confusion_shows_its_paintings_or_their_keys(show: Any) -> None:
    opened = show(made_up.grid(**SMALL))
    page = opened.page
    shown = page.locator("#classes .thumbnails li")
    page.locator("#classes button", has_text="show").nth(0).click()
    assert page.locator("#classes .thumbnails img").count() == shown.count() == 12
    assert page.evaluate("[...document.querySelectorAll('.thumbnails img')].every(one => one.naturalWidth)")
    model = int(page.locator("#classes-model").input_value())
    order = page.evaluate(f"page.classOrder({{task: 'artist', model: {model}, by: 'support'}})")
    cell = order.index(1) * len(order) + order.index(4)  # class 1 for class 4, without thumbnails
    page.locator("#classes [aria-label^='Confusion of'] svg rect").nth(cell).click()
    assert page.locator("#classes .confused h3").inner_text() == "Artist 1, taken for Artist 4"
    assert (shown.first.inner_text(), page.locator("#classes .thumbnails img").count()) == ("artist/1-0", 0)
    assert opened.complaints == []


@pytest.mark.parametrize("name", ["LaTeX", "Markdown", "CSV"])
def test_the_table_is_copied(show: Any, name: str) -> None:
    page = show(made_up.grid(models=2, classes=3, epochs=3), permissions=["clipboard-read", "clipboard-write"]).page
    page.locator(".copy button", has_text=name).click()
    page.locator("#said", has_text=f"Copied as {name}").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    first = {"LaTeX": "ResNet50 & ", "Markdown": "| ResNet50 | ", "CSV": "ResNet50,"}[name]
    assert sum(line.startswith(first) for line in lines) == 1
