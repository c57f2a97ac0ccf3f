"""The pages of sweeps that are not finished, or not of the usual kind, made from files."""

from pathlib import Path
from typing import Any

import pytest

from artnet.analysis.page import page, page_data
from tests.browser.conftest import WIDTHS
from tests.browser.sweeps import KINDS, OOM

SAYS = {
    "empty": ("No run is complete yet.", "12 runs: 12 planned"),
    "half": ("ResNet50 + SE", "1 running, 6 pending", "waits for 2 GPUs"),
    "failed": ("No run is complete yet.", f"out of memory: {OOM}", "failed: the loss is not finite at step 12"),
    "two": ("demo + demo", "ResNet50-LSTM + SE", "Dunnett, 3 seeds"),
    "one_seed": ("McNemar", "over paintings", "4 runs: 4 complete"),
    "search": ("Confirmed configurations", "62.00 (59.52 to 64.48)", "lr", "crop_scale", "attention"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_sweep_has_a_page(show: Any, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    opened = show(page(page_data(KINDS[kind](folder))))
    shown = opened.page.locator("body").inner_text()
    assert [text for text in SAYS[kind] if text not in shown] == []
    assert "cannot be drawn" not in shown
    for width in WIDTHS:
        opened.resize(width)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.page.screenshot()
    assert opened.complaints == []
