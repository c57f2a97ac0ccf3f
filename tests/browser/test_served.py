"""The served page in a browser: it loads itself again when a run has ended, and keeps what was chosen."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from artnet.analysis.page import page as rendered
from artnet.analysis.page import page_data
from artnet.analysis.page.serve import Server
from artnet.analysis.results import read_sweep
from artnet.rundir import RunDir
from tests.artnet.analysis.page.made import make
from tests.browser.sweeps import MODELS


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[RunDir]]]:
    """The address of a sweep whose last run is at work, and its runs; the result of that one stands aside."""
    runs = make(tmp_path, MODELS[:2])
    runs[-1].result_file.rename(tmp_path / "aside.json")
    server = Server(tmp_path, lambda: rendered(page_data(read_sweep(tmp_path)), served=True))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.address, runs
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_served_page_shows_the_run_that_has_just_ended(served: Any, page: Any, tmp_path: Path) -> None:
    address, runs = served
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    with page.expect_response("**/version"):  # it knows the version that it shows
        page.goto(address)
    page.locator("#runs-find").fill("se_style")
    assert page.locator(".facts", has_text="5 complete").count() == 1
    (tmp_path / "aside.json").rename(runs[-1].result_file)
    page.locator(".facts", has_text="6 complete").wait_for()
    page.wait_for_selector("html[data-ready]", state="attached")
    page.wait_for_function("document.querySelector('#runs-find').value === 'se_style'")
    assert page.locator("#runs tbody tr").count() == 3
    assert complaints == []
