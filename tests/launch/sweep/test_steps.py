"""What a dry run says of the runs that it would start."""

from artnet.config import build
from launch.cluster.resources import Resources
from launch.sweep.disk import estimate, in_words, size
from launch.sweep.folder import note_state
from launch.sweep.state import State
from launch.sweep.steps import steps

from ..tiny_grid import complete


def test_too_few_steps_to_learn_are_named(tiny):
    tiny.write(seeds=2, fixed={"train.batch_size": 256, "train.epochs": 2}, include=[{"train.epochs": 80}])
    runs = tiny.expand()
    paintings = {run.config.name: 755 for run in runs}
    assert steps(runs, paintings) == [
        "2 runs: 755 paintings / 256 = 2 steps an epoch, 4 in all: too few to learn; "
        "set train.batch_size or train.epochs",
        "1 run: 755 paintings / 256 = 2 steps an epoch, 160 in all",
    ]
    assert steps(runs, {}) == []


def test_a_dry_run_shows_resources_steps_and_disk(trainable, capsys):
    done, *_ = trainable.plan(seeds=3)
    complete(done)
    (done.path / "file").write_bytes(bytes(10**7))
    assert trainable.call("local", "--dry-run", "--max-parallel", "2") == 0
    said = capsys.readouterr().out
    assert "on this machine, 2 at a time, for each run: processes: 1, GPUs: " in said
    assert "2 runs: 122 paintings / 16 = 7 steps an epoch, 7 in all: too few to learn" in said
    assert "about 20.0 MB of disk" in said


def test_the_disk_of_complete_runs_and_that_of_runs_in_training_are_told_apart(trainable):
    (done, *_), (run, *_) = trainable.plan(seeds=3), trainable.expand()
    for name, count in {"last.pt": 3000, "previous.pt": 3000, "best.pt": 1000}.items():
        done.checkpoints.mkdir(exist_ok=True)
        (done.checkpoints / name).write_bytes(bytes(count))
    rest = size(done.path) - 7000
    best, everything = run.config, build({**run.config.model_dump(), "train": {"keep": "all"}})
    meanwhile = ", and up to {} more for each run while it trains"
    # SGD with an average: last.pt has three times the weights.
    assert estimate([(best, done)], [best] * 2) == f"about {in_words(2 * (rest + 1000))} of disk" + meanwhile.format(
        "9.0 kB"
    )
    assert estimate([(everything, done)], [everything]) == (
        f"about {in_words(rest + 7000)} of disk" + meanwhile.format("3.0 kB")
    )
    assert estimate([], [best]) == estimate([(best, done)], []) == ""


def test_options_that_come_too_late_for_submitted_runs_are_named(trainable, capsys):
    alive, *_ = trainable.plan(seeds=3, slurm={"time": "2:30:00", "gpus_per_node": 2, "gpu_type": "a100"})
    job = {"launcher": "slurm", "job": "1", "job_name": "artnet-x", "position": 0, "cluster": "local"}
    note_state(alive, State.RUNNING, **job)
    with alive.locked():
        trainable.call("slurm", "--cluster", "local", "--dry-run", "--partition", "debug")
    said = capsys.readouterr().out
    assert "2 jobs: partition debug, time 2:30:00, 1 node, a100:2 GPUs, 2 processes" in said
    assert "--partition: without effect on 1 run that is submitted already" in said


def test_resources_are_said_in_words():
    asked = Resources(nodes=2, cpus_per_task=4, mem="64G")
    assert (
        asked.in_words == "default partition, time 1:00:00, 2 nodes, no GPU a node, 1 process a node, "
        "4 CPUs a process, memory 64G"
    )
