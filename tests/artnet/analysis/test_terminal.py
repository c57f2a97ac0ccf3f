"""Tables fit the terminal, whatever its width: no line is wrapped by it and no header cut."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from artnet import report
from artnet.analysis.terminal import print_table
from shards.streams import filled

from .test_report import PLAIN, SE, make_sweep, seeds
from .test_search import make_search, some_trials

LONG = {"model.attention": "cbam", "optim.lr": 0.03464101615137755, "augment.crop_scale": 0.4619123456789012}


def printed(folder: Path, width: int) -> list[str]:
    file = io.StringIO()
    report.write(folder, Console(width=width, file=file))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 119, 200])
def test_a_sweep_of_three_tasks_fits(tmp_path: Path, width: int) -> None:
    tasks = {"task": ["artist", "style", "genre"]}
    reference = [{"when": {}, "artist": 76.2, "style": 58.4, "genre": 67.8}]
    fates = seeds(PLAIN | tasks, [0.5, 0.6, 0.7]) + seeds(SE | tasks, [0.5]) + seeds(LONG | tasks, [0.5, 0.6])
    make_sweep(tmp_path, fates, reference=reference)
    lines = printed(tmp_path, width)
    end = next(number for number, line in enumerate(lines) if line.startswith("artist: "))
    assert max(map(len, lines[:end])) <= width
    headers = [line.split() for line in lines[:end] if "published" in line]
    one = [["model", task, "n", "published"] for task in ("artist", "style", "genre")]
    assert headers == (one if width < 120 else [["model", *(name for of in one for name in of[1:])]])
    assert sum("60.00 ± 10.00" in line for line in lines[:end]) == len(headers)
    assert sum(line.count("50.00 (46.91 to 53.09)") for line in lines[:end]) == 3


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_search_fits(tmp_path: Path, width: int) -> None:
    make_search(tmp_path, some_trials())
    lines = printed(tmp_path, width)
    end = next(number for number, line in enumerate(lines) if line.startswith("Runs without a result"))
    assert max(map(len, lines[:end])) <= width
    text = " ".join(" ".join(lines).split())
    assert "80.00" in text
    assert "0.8000" not in text


def test_a_row_that_cannot_fit_is_a_few_lines() -> None:
    console = Console(width=30, file=io.StringIO())
    print_table(console, "title", ["model", "score", "n"], [["a model", "50.00 (46.91 to 53.09)", "3"]])
    lines = console.file.getvalue().splitlines()
    assert [line.strip() for line in lines] == ["title", "a model", "score: 50.00 (46.91 to", "53.09),", "n: 3"]


def test_no_fact_is_divided_between_two_lines() -> None:
    facts = ["complete", "epoch 3/3", "val/top1 61.74 %", "14 images/s"]
    assert filled(facts, 40) == ["complete, epoch 3/3, val/top1 61.74 %,", "14 images/s"]
    assert filled(facts, 80) == [", ".join(facts)]
    assert filled([], 80) == []
