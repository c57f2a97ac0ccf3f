"""The page on paper: dark ink on white from a dark browser, with every run and column that the screen has."""

import csv
import io
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from artnet.analysis.page import page, page_data
from artnet.analysis.results import read_sweep
from artnet.analysis.table import results_csv
from tests.artnet.analysis.page.made import make
from tests.browser.sweeps import MODELS

TABLES = """
[...document.querySelectorAll('table')].filter((one) => one.checkVisibility())
    .flatMap((one) => [...one.querySelectorAll('th, td')].map((cell) => cell.textContent))
"""


def read(pdf: bytes) -> tuple[str, set[tuple[float, ...]]]:
    """The text of a PDF without spaces, and the inks that its letters have, as (red, green, blue) from 0 to 1."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is in the extra dev")
    inks: set[tuple[float, ...]] = set()

    def note(operator: bytes, operands: list[Any], *_: Any) -> None:
        if operator == b"q":
            stack.append(stack[-1])
        elif operator == b"Q":
            stack.pop()
        elif operator in (b"rg", b"g"):
            stack[-1] = tuple(map(float, operands)) * (3 // len(operands))
        elif operator in (b"Tj", b"TJ"):
            inks.add(stack[-1])

    texts = []
    for sheet in pypdf.PdfReader(io.BytesIO(pdf)).pages:
        stack: list[tuple[float, ...]] = [(0.0, 0.0, 0.0)]
        texts.append(sheet.extract_text(visitor_operand_before=note))
    return "".join(unicodedata.normalize("NFKC", "".join(texts)).split()), inks


def luminance(ink: tuple[float, ...]) -> float:
    parts = [of / 12.92 if of <= 0.03928 else ((of + 0.055) / 1.055) ** 2.4 for of in ink]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.slow
def test_a_dark_browser_prints_dark_ink_and_every_number(show: Any, tmp_path: Path) -> None:
    make(tmp_path, [({**values, "optim.lr": lr}, skill) for values, skill in MODELS for lr in (0.1, 0.2)], seeds=4)
    sweep = read_sweep(tmp_path)
    opened = show(page(page_data(sweep)), color_scheme="dark")
    wanted = set(opened.page.evaluate(TABLES))
    text, inks = read(opened.page.pdf(prefer_css_page_size=True))
    assert [cell for cell in wanted if "".join(cell.split()) not in text] == []
    rows = list(csv.DictReader(io.StringIO(results_csv(sweep))))
    assert len(rows) == 32
    for row in rows:
        assert row["run"] in text and f"{100 * float(row['test_top1']):.2f}" in text
    halo = (1.0, 1.0, 1.0)  # of the paper, around a label in a chart, which is drawn over it
    assert len(inks) > 2 and [ink for ink in inks - {halo} if luminance(ink) > 0.183] == []  # 4.5 against white
    assert opened.complaints == []
