"""What a search and a launcher show on a terminal of 80 columns: nothing is cut."""

import io

import pytest
from rich.console import Console

from launch.machine.pool import progress_bars
from launch.search.board import table

NAME = "resnet50-rla-cbam_channel_artist+style+genre_s0-3f9a1c7b"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_of_a_search_fits(width: int) -> None:
    keys = ["lr", "weight_decay", "label_smoothing", "crop_scale", "attention", "recurrence"]
    cells = ["0.034641", "0.0001", "0.05", "0.4619", "cbam_channel", "lstm"]
    rows = [[f"#{number}", "stopped early", "12/50", "0.6174", *cells] for number in (7, 12)]
    console = Console(force_terminal=True, width=width, color_system=None, file=io.StringIO())
    console.print(table(["", "state", "epoch", "val/top1", *keys], rows, width))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    said = " ".join(lines)
    assert [
        text for text in (*keys, *cells, "#7", "#12", "stopped early", "val/top1", "0.6174") if text not in said
    ] == []
    assert len(lines) == 3 if width == 200 else not any(line.startswith("state") for line in lines)


def test_the_bar_of_a_long_name_shows_its_number() -> None:
    console = Console(force_terminal=True, width=80, color_system=None, file=io.StringIO())
    bars = progress_bars(console)
    bars.add_task(NAME, total=50, shown="epoch 12 val top-1 61.7 %")
    console.print(bars.get_renderable())
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert "epoch 12 val top-1 61.7 %" in lines[0]
    assert "".join(line.split()[0] for line in lines) == NAME
