"""A real browser: Debian's Chromium, without a window."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

PATIENCE_MS = 120_000  # until what a page should show is there


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
