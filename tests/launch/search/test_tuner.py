"""A search: its runs are ordinary runs, and its best is saved."""

import contextlib
import json
import os
import re
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from artnet import search_log
from launch.host.sessions import processes_of
from launch.search import actor, ray_cluster, share, supervisor, tuner
from launch.search.actor import TrialActor
from launch.search.block import TuneBlock
from launch.search.share import Share
from shards.index import read_index
from tests.conftest import environment

STRANGERS = {"RAY_ADDRESS": "203.0.113.1:6379", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": "/nonexistent"}


def listening(launcher: int) -> list[str]:
    """The addresses on which the processes that a launcher has started listen, the last four bytes in hexadecimal."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    sockets = set()
    for process in [pid for child in children for pid in processes_of(int(child))]:
        with contextlib.suppress(OSError):
            sockets |= {re.sub(r"\D", "", str(link.readlink())) for link in Path(f"/proc/{process}/fd").iterdir()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [row[1].partition(":")[0][-8:] for row in rows if row[3] == "0A" and row[9] in sockets]


@pytest.mark.slow
def test_a_search_runs_under_ray_reports_each_epoch_and_saves_the_best(trainable, shards, capsys, tmp_path, request):
    hostile = tmp_path / "downloads"
    hostile.mkdir()
    for module in ("yaml", "pandas", "tensorboardX", "launch", "json"):
        (hostile / f"{module}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    # A relative path, as in sweeps/search.yaml: Ray's workers start in a folder of their own.
    trainable.write(
        parameters={"optim.lr": {"loguniform": [0.01, 0.2]}, "data.sampler": {"choice": ["shuffle", "class_balanced"]}},
        fixed={"data.shards": os.path.relpath(shards, hostile), "train.epochs": 2},
        tune={"samples": 2, "max_parallel": 2, "reduction_factor": 2},
    )
    launcher = subprocess.Popen(
        trainable.command("tune"), cwd=hostile, env=environment(**STRANGERS), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    request.addfinalizer(launcher.kill)
    lines = iter(launcher.stderr)
    said = next(line for line in lines if "Ray dashboard" in line)
    dashboard, token = re.search(r"(http://127\.0\.0\.1:\d+) +its token: (\S+)", said).groups()
    answer = urllib.request.Request(f"{dashboard}/api/version")  # noqa: S310  # a URL of this machine
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(answer, timeout=60)  # noqa: S310
    answer.add_header("Authorization", f"Bearer {Path(token).read_text()}")
    with urllib.request.urlopen(answer, timeout=60) as page:  # noqa: S310
        assert "ray_version" in json.load(page)
    assert len(addresses := listening(launcher.pid)) > 5 and set(addresses) == {"0100007F"}
    assert stat.S_IMODE(Path(token).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(token).parent.stat().st_mode) == 0o700
    stderr = said + "".join(lines)
    assert launcher.wait(300) == 0, stderr
    assert not (tmp_path / "ran").exists() and not Path(token).parent.exists()
    runs = trainable.folders
    complete = [run for run in runs if run.result()]
    assert complete
    for run in runs:
        reported = [line for line in stderr.splitlines() if line.startswith(f"{run.name} epoch")]
        assert len(reported) == len(run.epochs())
        assert run.state().state == ("complete" if run in complete else "stopped_early")
    best = yaml.safe_load((trainable.sweep.folder / "best.yaml").read_text())
    tops = {run.config().optim.lr: max(epoch["val/top1"] for epoch in run.epochs()) for run in complete}
    assert best["optim"]["lr"] == max(tops, key=tops.__getitem__)
    assert trainable.call("tune", "--data", os.path.relpath(shards)) == 0
    assert "dashboard" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("block", "cpus", "gpus", "each"),
    [
        ({}, 8, 0, Share(1, 0, 8)),
        ({}, 16, 2, Share(8, 1, 2)),
        ({"max_parallel": 1}, 16, 2, Share(16, 1, 1)),
        ({"gpus_per_run": 0}, 16, 2, Share(1, 0, 16)),
        ({"gpus_per_run": 0.5}, 16, 2, Share(4, 0.5, 4)),
        ({"gpus_per_run": 0.5, "cpus_per_run": 1}, 16, 2, Share(1, 0.5, 4)),
        ({"gpus_per_run": 2}, 16, 8, Share(4, 2, 4)),
        ({"cpus_per_run": 1.5}, 4, 0, Share(1.5, 0, 2)),
    ],
)
def test_a_run_gets_a_gpu_where_there_are_gpus_and_its_share_of_the_cpus(block, cpus, gpus, each):
    assert share.share(TuneBlock(**block), cpus, gpus) == each


def test_a_run_with_several_gpus_has_a_rank_on_each():
    assert (Share(8, 4).processes, Share(8, 4).threads) == (4, 2)
    assert (Share(8, 0.5).processes, Share(8, 0.5).threads) == (1, 8)


def test_a_run_gets_no_more_cpus_than_its_share(monkeypatch):
    monkeypatch.setattr(share, "own_cpus", lambda: {cpu: (0, 0, cpu) for cpu in range(8)})
    assert Share(3, 1).parts() == [[0, 1, 2], [4, 5, 6]]
    assert Share(0.25, 0).parts() == [[cpu] for cpu in range(8) for _ in range(4)]


def test_trials_run_on_different_cpus_near_their_gpu_and_see_no_gpu_if_they_get_none(tiny, monkeypatch, tmp_path):
    folders = tiny.plan(seeds=3)
    cpu = max(os.sched_getaffinity(0))
    started = []
    monkeypatch.setattr(actor.TrainingProcess, "start", lambda *given, **options: started.append((given, options)))
    common = {
        "metric": "val/top1", "threads": 1, "gpus": 1, "processes": 1, "began": 0.0, "max_failures": 0,
        "cpus": 1, "binds": True, "near": {"3": [cpu]},
    }  # fmt: skip
    monkeypatch.setattr(actor.Share, "parts", lambda share: [[7], [cpu]])
    monkeypatch.setenv(ray_cluster.FOLDER, str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    trials = [TrialActor.__new__(TrialActor) for _ in folders]
    for one, folder in zip(trials, folders, strict=True):
        one.setup({"run": {**common, "folder": str(folder.path)}})
        one._start()
    assert [given[5] for given, _ in started] == [[cpu], [7], []]
    held = subprocess.Popen(["sleep", "60"], pass_fds=started[0][1]["pass_fds"])
    trials[0].cleanup()  # its training goes on
    trials[1].cleanup()
    trials[2].wanted = {**common, "gpus": 0}
    trials[2]._start()
    held.kill()
    held.wait()
    trials[0].cpus_lock = None
    trials[0]._start()
    assert [given[5] for given, _ in started[3:]] == [[7], [cpu]]
    assert [given[4]["CUDA_VISIBLE_DEVICES"] for given, _ in started[2:4]] == ["3", ""]


def test_more_than_the_machine_has_is_refused_before_ray_starts(trainable, monkeypatch, capsys):
    monkeypatch.setattr(tuner, "visible_gpus", lambda: ["0"])
    for key, value in (("gpus_per_run", 2), ("cpus_per_run", 100_000)):
        trainable.write(tune={"samples": 1, key: value})
        assert trainable.call("tune") == 2
        assert f"grid.yaml:21: tune.{key} {value} is more than this machine shows" in capsys.readouterr().err


def test_it_is_said_how_far_runs_may_differ_by_chance(trainable):
    trainable.write()
    [config] = {run.config for run in trainable.expand()[:1]}
    paintings = len(read_index(Path(config.data.shards)).select("val", config.task, config.data.labelled)[0])
    assert 10 < paintings < 50
    points = 100 * 1.96 * (2 * 0.25 / paintings) ** 0.5
    assert tuner.noise("val/top1", config) == (
        f"val/top1 is over {paintings} val paintings: two runs may differ by {points:.0f} points by chance"
    )
    assert tuner.noise("val/nll", config) == ""
    assert (
        tuner.noise("val/top1", config.model_copy(update={"data": config.data.model_copy(update={"shards": ""})})) == ""
    )


@pytest.fixture
def orders(monkeypatch):
    """The orders that launches give to Ray's driver, none of which is carried out."""
    given = []

    def drive(self, order):
        given.append(order)
        return True

    monkeypatch.setattr(supervisor.Supervisor, "_drive", drive)
    return given


def test_a_part_of_a_grid_can_be_trained_by_a_search_too(trainable, orders, capsys):
    trainable.write(seeds=3)
    zero, one, two = (run.config.name for run in trainable.expand())
    for options in (["--only", "seed=2"], ["--limit", "2"], []):
        assert trainable.call("tune", *options) == 2  # as no run is complete
    queues = [(order.queue, order.more) for order in orders]
    assert queues == [([two], 0), ([two, zero], 0), ([two, zero, one], None)]
    assert [line.name for line in search_log.read(trainable.sweep.folder / "search.jsonl")] == [two, zero, one]


def test_what_is_drawn_is_asked_for_in_turn(trainable, orders, capsys):
    trainable.write(parameters={"optim.lr": {"choice": [0.1, 0.2]}, "seed": [0, 1]}, tune={"trials": 4})
    assert trainable.call("tune", "--only", "lr=0.2") == 2
    assert "were not asked for yet" in capsys.readouterr().err and not orders
    assert trainable.call("tune", "--limit", "3") == 2
    assert [(order.queue, order.more) for order in orders] == [([], 3)]
