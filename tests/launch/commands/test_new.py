"""`--new NAME` writes a grid that can be launched as it is, and whose commented parts are valid too."""

import re
from pathlib import Path

import pytest

from launch.cluster.resources import Request, SlurmBlock
from launch.grid import expand, load
from launch.machine.backend import LocalBlock
from launch.search.block import TuneBlock

from ..tiny_grid import DOORS


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_written_can_be_launched_as_it_is(door, shards, capsys):
    assert DOORS[door].main(["--new", "colours"]) == 0
    assert (
        capsys.readouterr().out.strip().endswith(f"then: python launch/{door}.py --grid sweeps/colours.yaml --dry-run")
    )
    options = ("--cluster", "local") if door == "slurm" else ()
    assert DOORS[door].main(["--grid", "sweeps/colours.yaml", "--data", str(shards), "--dry-run", *options]) == 0
    assert "colours: 2 x 2 = 4 runs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["2024", "on", "null", "1e3", "a.b-c", "NAME"])
def test_a_name_stays_text(name):
    assert DOORS["local"].main(["--new", name]) == 0
    assert load(Path("sweeps", f"{name}.yaml")).name == name


def test_the_commented_parts_are_valid_too():
    assert DOORS["local"].main(["--new", "all"]) == 0
    file = Path("sweeps", "all.yaml")
    text = re.sub(r"^# (?=[a-z ])", "", file.read_text(), flags=re.MULTILINE)
    file.write_text(text)
    grid = load(file)
    runs = expand(grid).runs
    assert len(runs) == 12 - 1 - 2 + 1  # 2 x 2 x 2, two values where se; what lstm and seed 1 make left out; one added
    for model, name in ((LocalBlock, "local"), (TuneBlock, "tune")):
        grid.read_block(model, name, getattr(grid, name), {})
    Request(grid, grid.read_block(SlurmBlock, "slurm", grid.slurm, {}), {})
    assert grid.reference
    assert (grid.after, grid.on_end[0]) == ((Path("runs/pretrain"),), "sh")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a b", "é", "x" * 101])
def test_a_name_that_is_no_folders_is_refused(name, tmp_path, capsys):
    assert DOORS["local"].main(["--new", name]) == 2
    assert "cannot name a folder; give up to 100 letters" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_never_written_over(capsys):
    Path("sweeps").mkdir()
    Path("sweeps/mine.yaml").symlink_to("elsewhere.yaml")
    assert DOORS["local"].main(["--new", "mine"]) == 2
    assert "sweeps/mine.yaml exists; give another name" in capsys.readouterr().err
    assert not Path("sweeps/elsewhere.yaml").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--status",), "--status and --new are 2 things to do"),
        (("--only", "seed=0"), "--only is about the runs of a grid, and --new writes one"),
        (("--limit", "2"), "--limit says how to launch, and --new launches nothing"),
    ],
)
def test_options_that_mean_nothing_beside_it_are_refused(options, said, capsys, tmp_path):
    assert DOORS["local"].main(["--new", "x", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
