"""A real browser: Debian's Chromium, without a window."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artnet.analysis.page.html import html

PATIENCE_MS = 120_000  # until what a page should show is there
WIDTHS = (390, 800, 1400)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium. The tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra dev")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium; on Debian: apt install chromium")
    options = ["--no-sandbox"] if os.getuid() == 0 else []  # as root it refuses to start with one
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=program, args=options)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A new page of it."""
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


class Opened:
    """A page that was opened, and what it complained of or asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "request", lambda request: self.complaints.append(request.url) if self._is_foreign(request.url) else None
        )

    @staticmethod
    def _is_foreign(url: str) -> bool:
        return not url.startswith(("file:", "data:"))

    def drawn(self) -> None:
        """Wait until all charts are drawn."""
        self.page.wait_for_selector("html[data-ready]", state="attached")
        self.page.wait_for_function("[...document.querySelectorAll('.drawing')].every(one => one.children.length)")

    def resize(self, width: int) -> None:
        """Give the page another width, and wait until it is drawn for it."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.wait_for_function(f"innerWidth === {width}")
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a page, or the page of some data."""
    contexts = []

    def open_page(data: dict[str, Any] | str, width: int = 1400, wait: bool = True, **options: Any) -> Opened:
        file = tmp_path / "report.html"
        file.write_text(data if isinstance(data, str) else html(data), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        contexts[-1].set_default_timeout(PATIENCE_MS)
        opened = Opened(contexts[-1].new_page())
        opened.page.goto(file.as_uri())
        if wait:
            opened.drawn()
        return opened

    yield open_page
    for context in contexts:
        context.close()
