"""Several sweeps in one report: their models in one table, and differing data refused."""

from pathlib import Path

import pytest

from artnet import report
from artnet.analysis.merge import merged
from artnet.analysis.results import read_sweep
from artnet.analysis.summary import summarise
from artnet.rundir import read_json, write_json

from .test_report import PLAIN, SE, data_of, make_sweep, rows_of, seeds


def together(tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    make_sweep(a, seeds(PLAIN, [0.5, 0.6]), reference=[{"when": {}, "style": 60}])
    make_sweep(b, [({**SE, "seed": 0, "optim.lr": 0.2}, 0.7)])
    return a, b


def test_rows_show_what_differs_between_the_sweeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = together(tmp_path)
    groups = summarise(merged([read_sweep(a), read_sweep(b)])).groups
    assert [(group.label, len(group.runs)) for group in groups] == [
        ("ResNet50-LSTM (optim.lr=0.1)", 2), ("ResNet50-LSTM + SE (optim.lr=0.2)", 1),
    ]  # fmt: skip
    before = sorted(tmp_path.glob("[ab]/*"))
    assert report.main([str(a), str(b)]) == 0
    assert "a+b" in capsys.readouterr().out
    assert sorted(tmp_path.glob("[ab]/*")) == before
    assert [row["test_top1"] for row in rows_of(tmp_path / "a+b")] == ["0.5", "0.6", "0.7"]
    links = [run["folder"] for run in data_of((tmp_path / "a+b" / "report.html").read_text())["runs"]]
    assert len(links) == 3
    assert all((tmp_path / "a+b" / link).is_dir() for link in links)


def test_differing_data_are_refused_unless_rows_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = together(tmp_path)
    (file,) = b.glob("*/result.json")
    write_json(file, {**read_json(file), "data": "other"})
    assert report.main([str(a), str(b)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the runs of ")
    assert error.count("\n") == 1
    assert not (tmp_path / "a+b").exists()
    config = next(b.glob("*/config.yaml"))
    config.write_text(config.read_text().replace("size: 224", "size: 192", 1))
    labels = [group.label for group in summarise(merged([read_sweep(a), read_sweep(b)])).groups]
    assert ["data.size=224" in label for label in labels] == [True, False]


def test_a_search_is_reported_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = together(tmp_path)
    (b / "search.jsonl").touch()
    assert report.main([str(a), str(b)]) == 2
    assert f"{b} is a search" in capsys.readouterr().err
