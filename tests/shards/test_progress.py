"""shards/progress: a bar or plain lines that show the speed and the time that is left."""

import re
import time

import pytest

from shards import progress


def test_plain_lines_show_the_time_that_is_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0)
    with progress.progress("packing", 3) as advance:
        time.sleep(0.01)
        advance()
    assert re.fullmatch(r"packing: 1 of 3, [\d.,]+/s, 0 s left\n", capsys.readouterr().err)
    assert [progress.time_left(seconds) for seconds in (9.4, 125, 9000)] == ["9 s left", "2 min left", "2.5 h left"]


@pytest.mark.parametrize("terminal", ["0", "1"])
def test_bar_and_plain_lines_show_the_items_per_second(monkeypatch, capsys, terminal):
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0)
    with progress.progress("packing paintings", 3) as advance:
        for _ in range(3):
            advance()
    assert re.search(r"3( of |/)3.* [\d,]+\.\d/s", capsys.readouterr().err)
