"""What an earlier version finished stays finished: its signatures, its sweep, and files of a newer one."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from pydantic import Field

from artnet.config import build, dump, fields, flatten, load, signature, unflatten
from artnet.config.sections import added
from artnet.formats import FORMAT
from artnet.rundir import RunDir, read_json, write_json
from launch import grid
from launch.grid.search_space import SearchSpace
from tests.conftest import ROOT

from .tiny_grid import TinyGrid

DATA = ROOT / "tests" / "data"
GOLDEN = json.loads((DATA / "signatures.json").read_text())


def drawn(search: grid.Grid) -> list[grid.Run]:
    """The runs that the first version drew for a search without lists."""
    space = SearchSpace(search)
    return [space.run(space.random(0, number, search.tune["seed"])) for number in range(8)]


@pytest.mark.parametrize("name", GOLDEN["sweeps"])
def test_the_runs_of_the_sweeps_have_the_names_and_signatures_of_the_first_version(name):
    loaded = grid.load(ROOT / "sweeps" / name)
    runs = grid.expand(loaded).runs if not loaded.tune else drawn(loaded)
    assert {run.config.name: run.config.signature for run in runs} == GOLDEN["sweeps"][name]


@pytest.mark.parametrize("golden", GOLDEN["configurations"])
def test_odd_configurations_have_the_names_and_signatures_of_the_first_version(golden):
    config = build(unflatten(golden["values"]))
    assert (config.name, config.signature) == (golden["name"], golden["signature"])


def test_a_field_that_is_added_counts_only_where_it_is_not_as_before():
    config = build({"task": "style"})
    described = {**fields(), "optim.new": Field(0.0, json_schema_extra=added(as_before=0.0))}
    flat = flatten(config)
    assert signature({**flat, "optim.new": 0.0}, described) == config.signature
    assert signature({**flat, "optim.new": 0.1}, described) != config.signature
    marked = {key: field for key, field in fields().items() if "as_before" in (field.json_schema_extra or {})}
    for key, field in marked.items():
        assert field.default == field.json_schema_extra["as_before"], f"{key}: what is not given must be as before"


@pytest.fixture
def old(tmp_path: Path) -> TinyGrid:
    """A copy of a sweep that the first version wrote: 4 complete runs of three launchers, one failed, one cancelled."""
    shutil.copytree(DATA / "version1", tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny.yaml").rename(tmp_path / "grid.yaml")
    tiny = TinyGrid(tmp_path)
    tiny.data = ("--data", tmp_path / "shards")  # type: ignore[attr-defined]
    return tiny


@pytest.mark.parametrize(("door", "code"), [("local", 1), ("slurm", 1), ("tune", 0)])
def test_a_launch_starts_nothing_that_the_first_version_finished(old, capsys, monkeypatch, door, code):
    before = {run.name: run.result_file.read_bytes() for run in old.folders if run.result()}
    assert len(before) == 4
    options = ("--cluster", "local", "--no-snapshot") if door == "slurm" else ()
    assert old.call(door, *old.data, *options) == code
    said = capsys.readouterr().out
    assert "4 complete, 1 failed (--retry resumes it), 1 cancelled (--retry resumes it)" in said
    assert before == {run.name: run.result_file.read_bytes() for run in old.folders if run.result()}
    assert not any((run.attempts / "002").exists() for run in old.folders)


def test_a_report_of_a_sweep_of_the_first_version_gives_the_same_table(old):
    def table() -> tuple[list[dict[str, str]], list[str]]:
        with (old.sweep.folder / "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        markdown = (old.sweep.folder / "results.md").read_text().splitlines()
        return rows, [line for line in markdown if line.startswith("|")]

    rows, lines = table()
    for name in ("results.csv", "results.md"):
        (old.sweep.folder / name).rename(old.sweep.folder / f"{name}.old")
    assert old.call("local", *old.data, "--collect") == 0
    again, lines_again = table()
    assert [{key: row[key] for key in known} for row, known in zip(again, rows, strict=True)] == rows
    assert lines_again == lines
    assert (old.sweep.folder / "report.html").stat().st_size


def test_all_commands_read_a_sweep_of_the_first_version(old, capsys):
    for door in ("local", "slurm", "tune"):
        assert old.call(door, *old.data, "--status") == 1
        assert "tiny: 6 runs: 4 complete, 1 failed, 1 cancelled" in capsys.readouterr().out
        assert old.call(door, *old.data, "--logs", old.folders[0].name) == 0
        assert "is complete" in capsys.readouterr().out
        assert old.call(door, *old.data, "--cancel", "--yes") == 0
        assert "nothing to cancel" in capsys.readouterr().out
        assert old.call(door, *old.data, "--clean", "--dry-run") == 0
        assert "files of jobs of complete runs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "run.json", "result.json", "config.yaml"])
def test_a_file_of_a_newer_version_is_one_sentence(old, capsys, name):
    folder = old.sweep.folder if name == "manifest.json" else old.folders[0].path
    file = folder / name
    if name == "config.yaml":
        file.write_text(f"format: {FORMAT + 1}\n{file.read_text()}")
    else:
        write_json(file, {**read_json(file), "format": FORMAT + 1, "new": "field"})
    assert old.call("local", *old.data, "--collect") == 2
    said = capsys.readouterr().err
    assert said.strip().splitlines() == [
        f"error: {file} was made by a newer artnet (format {FORMAT + 1}; this one reads up to {FORMAT}); update artnet"
    ]


def test_a_run_that_an_old_version_signed_by_the_path_of_its_weights_stays_complete(old, capsys, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    grid_file = old.file.read_text().replace("fixed:", f"fixed:\n  pretrained: {tmp_path / 'w.pth'}", 1)
    assert "pretrained" in grid_file
    for folder in old.folders:
        by_path = folder.config().model_copy(update={"pretrained": str(tmp_path / "w.pth")})
        folder.write_config(by_path)
        if folder.result():
            write_json(folder.result_file, {**read_json(folder.result_file), "signature": by_path.signature})
        folder.path.rename(folder.path.parent / by_path.name)
    old.file.write_text(grid_file)
    assert old.call("local", *old.data, "--status") == 1
    assert "tiny: 6 runs: 4 complete, 1 failed, 1 cancelled" in capsys.readouterr().out


def test_a_result_with_a_field_more_is_a_result(tmp_path):
    shutil.copytree(DATA / "version1" / "runs" / "tiny", tmp_path / "tiny")
    run = next(RunDir(file.parent) for file in (tmp_path / "tiny").glob("*/result.json"))
    content = read_json(run.result_file)
    content["added"] = content["tasks"]["style"]["added"] = content["tasks"]["style"]["test"]["added"] = 1
    write_json(run.result_file, content)
    assert run.result()


def test_what_is_written_says_its_format(tiny):
    run, *_ = tiny.plan()
    assert dump(load(run.config_file)).startswith(f"format: {FORMAT}\n")
    manifest = read_json(tiny.sweep.folder / "manifest.json")
    assert (manifest["format"], manifest["baseline"]) == (FORMAT, {})
