"""What a launch may take away, and which input starts nothing."""

import re

import pytest
import torch

from artnet.models import build_model
from artnet.rundir import write_json
from launch.cluster import backend
from launch.commands.launch import agreed, clear
from launch.machine import MachineBackend
from launch.sweep.backend import Engines
from launch.sweep.folder import note_state
from launch.sweep.plan import Action, Policy, decide
from launch.sweep.state import State

from ..tiny_grid import DOORS, complete

ENGINES = Engines(MachineBackend())


def test_what_an_edited_grid_dropped_is_named_until_it_is_pruned(tiny, capsys):
    folders = tiny.plan()
    for folder in folders:
        note_state(folder, State.FAILED, "why")
    tiny.write(seeds=2)
    tiny.call("local", "--dry-run")
    told = capsys.readouterr().out
    assert "1 run is in the folder but not in the grid (1 failed" in told
    assert folders[2].name in told
    tiny.call("local", "--status")
    assert f"in its folder: 1 run ({folders[2].name})" in capsys.readouterr().out

    runs = tiny.expand()
    gone = tiny.sweep.dropped(runs)
    found = ENGINES.find(tiny.sweep, [*runs, *gone], False).found
    left = clear(ENGINES, tiny.sweep, decide(runs, found, Policy(prune=True), gone), found)
    assert [one.run for one in left] == runs
    assert tiny.sweep.dropped(runs) == []
    assert folders[2].config_file.exists()
    tiny.write(seeds=3)
    assert ENGINES.find(tiny.sweep, tiny.expand(), False).found[folders[2].name].state is State.FAILED


def test_force_asks_and_keeps_what_the_runs_had(tiny, capsys):
    for number in (1, 2):
        folders = tiny.plan(seeds=2)
        runs = tiny.expand()
        complete(folders[0])
        folders[0].run_file.write_text(str(number))
        note_state(folders[0], State.COMPLETE)
        found = ENGINES.find(tiny.sweep, runs, False).found
        decisions = decide(runs, found, Policy(force=True))
        with pytest.raises(Exception, match=r"starts 1 run: 1 complete from scratch.*--yes"):
            agreed(tiny.sweep, decisions, yes=False)
        after = clear(ENGINES, tiny.sweep, decisions, found)
        assert [one.action for one in after] == [Action.START, Action.START]
        assert not folders[0].path.exists()
        assert (tiny.sweep.folder / "replaced" / f"{folders[0].name}.{number}" / "run.json").read_text() == str(number)
    assert tiny.sweep.dropped(runs) == []


@pytest.mark.parametrize(
    ("door", "blocks", "options", "said"),
    [
        ("local", {"local": {"max_paralel": 2}}, (), "grid.yaml:18: unknown key 'max_paralel'"),
        ("local", {"local": {"max_parallel": 0}}, (), "grid.yaml:18: local.max_parallel"),
        ("local", {}, ("--max-parallel", "0"), "--max-parallel: local.max_parallel"),
        ("local", {}, ("--data", "/nowhere"), "/nowhere holds no index.parquet"),
        ("local", {"parameters": {"optim.lr": {"uniform": [0.1, 0.2]}}}, (), "launch/tune.py"),
        ("slurm", {}, (), "launch/local.py"),
        ("slurm", {"slurm": {"time": 28800}}, ("--dry-run",), "in quotes"),
        ("slurm", {"slurm": {"overrides": [{"when": {"model.depth": 1}, "nodes": 2}]}}, ("--dry-run",), "model.depth"),
        ("tune", {"tune": {"samples": 0}}, (), "tune.samples"),
        ("tune", {"metric": {"name": "val/genre/top1"}}, (), "no run reports 'val/genre/top1'"),
        ("local", {"env_from": ["NOT_SET_ANYWHERE"]}, (), "NOT_SET_ANYWHERE is not set"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_starts_nothing(
    trainable, monkeypatch, capsys, door, blocks, options, said
):
    if door == "slurm" and not options:
        monkeypatch.setenv("PATH", "/nowhere")
    trainable.write(**blocks)
    assert trainable.call(door, *options) == 2
    ended = capsys.readouterr().err
    assert said in ended
    assert len(ended.strip().splitlines()) == 1
    assert not trainable.root.exists() or {path.name for path in trainable.sweep.folder.iterdir()} == {".lock"}


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("door", DOORS)
def test_runs_that_do_not_fit_their_data_are_refused_at_launch(trainable, capsys, door, options):
    options = (*options, "--cluster", "local") if door == "slurm" else options
    trainable.write(include=[{"train.batch_size": 1000}])
    assert trainable.call(door, *options) == 2
    assert re.search(r"grid.yaml:\d+: train.batch_size 1000 is more than the \d+ training", capsys.readouterr().err)
    assert trainable.call(door, "--only", "batch_size=16", "--data", "/nowhere", *options) == 2
    assert "--set data.shards: /nowhere holds no index.parquet" in capsys.readouterr().err
    assert not any(folder.state().state for folder in trainable.folders)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("door", DOORS)
def test_weights_that_are_not_there_are_refused_at_launch(trainable, tmp_path, monkeypatch, capsys, door, options):
    options = (*options, "--cluster", "local") if door == "slurm" else options
    source = tmp_path / "source"
    (source / "checkpoints").mkdir(parents=True)
    for key, value, said in (
        ("pretrained", "/nowhere.pt", "/nowhere.pt does not exist; give the file"),
        ("pretrained", source, "source cannot be read (Is a directory); give the file"),
        ("init_from", source, "source/checkpoints/best.pt does not exist; train that run first"),
    ):
        trainable.write(include=[{key: str(value)}])
        assert trainable.call(door, *options) == 2
        assert re.search(rf"grid.yaml:\d+: {key}: \S*{re.escape(said)}", capsys.readouterr().err)
    assert not any(folder.state().state for folder in trainable.folders)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("door", DOORS)
def test_weights_that_do_not_fit_a_run_are_refused_at_launch(trainable, tmp_path, capsys, door, options):
    options = (*options, "--cluster", "local") if door == "slurm" else options
    page, other = tmp_path / "page.pth", tmp_path / "other.pth"
    page.write_bytes(b"<!DOCTYPE html><html>")
    with torch.device("meta"):
        names = {"backbone": "resnet18", "recurrence": "lstm", "attention": "none", "classes": {"style": 2}}
        state = build_model(**names).state_dict()
    torch.save({"model": {name: torch.tensor(0.0).expand(tensor.shape) for name, tensor in state.items()}}, other)
    fitting = {"pretrained": str(other), "model.recurrence": "lstm"}
    for key, file, said in (
        ("pretrained", page, "is a web page"),
        ("init_from", other, "has recurrence, which this network lacks; set model.recurrence to lstm"),
    ):
        trainable.write(include=[fitting, {key: str(file)}])
        assert trainable.call(door, *options) == 2
        assert re.search(rf"grid.yaml:\d+: {key}: {file} {said}", capsys.readouterr().err)
    assert not any(folder.state().state for folder in trainable.folders)
    trainable.write(include=[fitting])
    assert trainable.call(door, "--dry-run", *options) == 0


def test_a_run_that_has_a_checkpoint_needs_no_weights_to_start_from(trainable, tmp_path, capsys):
    (tmp_path / "w.pt").write_bytes(b"w")
    run, *_ = trainable.plan(seeds=1, fixed={"pretrained": str(tmp_path / "w.pt")})
    note_state(run, State.INTERRUPTED)
    (tmp_path / "w.pt").unlink()
    assert trainable.call("local", "--dry-run") == 2
    assert "w.pt does not exist" in capsys.readouterr().err
    run.checkpoints.mkdir()
    (run.checkpoints / "last.pt").touch()
    assert trainable.call("local", "--dry-run") == 0
    assert trainable.call("local", "--dry-run", "--force") == 2
    complete(run)
    assert trainable.call("local", "--dry-run") == 0


@pytest.mark.parametrize(
    ("door", "options", "ranks"),
    [
        ("local", ("--processes", "3"), 3),
        ("slurm", ("--nodes", "3", "--tasks-per-node", "2"), 6),
        ("slurm", ("--cluster", "local", "--tasks-per-node", "3"), 3),
    ],
)
def test_a_batch_that_the_ranks_cannot_divide_is_refused_at_launch(trainable, capsys, door, options, ranks):
    trainable.write(fixed={"train.accumulate": 2})
    assert trainable.call(door, *options, "--dry-run") == 2
    said = f"grid.yaml:10: train.batch_size 16 cannot be divided among {ranks} ranks with train.accumulate 2"
    assert said in capsys.readouterr().err
    # A run that is complete is not asked for any more.
    complete(trainable.plan(seeds=1, fixed={"train.accumulate": 2})[0])
    assert trainable.call(door, *options, "--dry-run") == 0


def test_shards_that_only_the_cluster_may_see_are_a_warning_there(tiny, monkeypatch, capsys):
    monkeypatch.setattr(backend.shutil, "which", lambda name: None)  # no sbatch: it is not asked
    tiny.write()
    assert tiny.call("slurm", "--dry-run") == 0
    assert "/nowhere cannot be seen on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_each_rank_of_a_job_needs_a_gpu(trainable, monkeypatch, capsys, cluster):
    monkeypatch.setattr(backend, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(backend.shutil, "which", lambda name: None)
    ask = ("slurm", "--dry-run", "--cluster", cluster)
    trainable.write(slurm={"gpus_per_node": 2, "tasks_per_node": 4})
    assert trainable.call(*ask) == 2
    assert "grid.yaml:21: tasks_per_node 4 is more than gpus_per_node 2" in capsys.readouterr().err
    assert trainable.call(*ask, "--tasks-per-node", "1") == 0
    assert "warning: " in (said := capsys.readouterr().err)
    assert "grid.yaml:20: gpus_per_node 2, but 1 of them in use" in said
    assert trainable.call(*ask, "--gpus", "4") == 2 * (cluster == "local")
    assert ("--gpus-per-node: gpus_per_node 4 is more than this machine shows, 2" in capsys.readouterr().err) == (
        cluster == "local"
    )


def test_data_that_changed_under_a_sweep_is_noticed(trainable, capsys):
    run, *_ = trainable.plan(seeds=1)
    write_json(run.run_file, {"attempts": [], "data": {"fingerprint": "another"}})
    assert trainable.call("local") == 2
    assert f"{run.path} was trained on other data" in capsys.readouterr().err
