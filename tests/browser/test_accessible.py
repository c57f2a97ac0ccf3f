"""What everybody can read and use: axe-core's rules, and contrasts, which axe-core does not measure in charts."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser import made_up, made_up_search
from tests.browser.conftest import WIDTHS
from tests.browser.test_page import SMALL
from tests.conftest import ROOT

FAINT = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


def data_of(kind: str) -> dict[str, Any]:
    return made_up_search.search(40) if kind == "search" else made_up.grid(**SMALL)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which is not part of the project: `npm pack axe-core` gets it."""
    file = Path(os.environ.get("ARTNET_AXE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
    if not file.is_file():
        pytest.skip("there is no axe-core: `npm install --no-save axe-core`, or give axe.min.js as ARTNET_AXE")
    return file.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["grid", "search"])
def test_axe_finds_nothing(show: Any, axe: str, kind: str, scheme: str) -> None:
    opened = show(data_of(kind), color_scheme=scheme)
    opened.page.evaluate(axe)
    for width in WIDTHS:
        opened.resize(width)
        ended = opened.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in ended["violations"]] == [], width


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["grid", "search"])
def test_texts_and_marks_stand_out(show: Any, kind: str, scheme: str) -> None:
    opened = show(data_of(kind), color_scheme=scheme)
    for width in WIDTHS[::2]:
        opened.resize(width)
        assert opened.page.evaluate(FAINT) == [], width
