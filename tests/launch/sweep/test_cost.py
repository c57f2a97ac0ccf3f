"""What the missing runs will cost, by those that have finished."""

import pytest

from artnet.config import build, unflatten
from artnet.rundir import RunDir, write_json
from launch.grid import Run
from launch.sweep.cost import Cost, cost, estimate
from tests.conftest import TINY

from ..tiny_grid import complete


def test_the_estimate_goes_by_runs_that_differ_in_the_seed_alone():
    config = build(unflatten(TINY))
    runs = {
        name: Run(config, {"model.recurrence": kind, "seed": seed})
        for name, kind, seed in (
            ("plain 0", "none", 0),
            ("plain 1", "none", 1),
            ("lstm 0", "lstm", 0),
            ("gru", "gru", 0),
        )
    }
    finished = [
        (runs["plain 0"], Cost(2, "GPU-hours")),
        (runs["lstm 0"], Cost(6, "GPU-hours")),
        (runs["lstm 0"], Cost(99, "core-hours")),
    ]
    assert estimate(finished, [runs["plain 1"]]) == "about 2 GPU-hours for 1 run, from 2 finished ones"
    several = [runs["plain 1"], runs["lstm 0"], runs["gru"]]
    assert estimate(finished, several) == "about 12 GPU-hours for 3 runs, from 2 finished ones"
    assert estimate([], several) == estimate(finished, []) == ""


def test_what_a_run_took_is_its_seconds_on_all_of_its_gpus_or_cores(tmp_path):
    folder = RunDir(tmp_path)
    scores = {"top1": 0.5, "top5": 0.9, "macro_f1": 0.5, "nll": 1, "ece": 0.1, "recall": [0.5], "n": 10}
    task = {"classes": 5, "majority": 0.2, "val": scores, "test": scores}
    result = {"signature": "s", "data": "d", "best_epoch": 1, "epochs": 1, "steps": 1, "parameters": 1}
    write_json(folder.result_file, {**result, "seconds": 1800, "tasks": {"style": task}})
    assert cost(folder, "s") is None  # nothing says on what
    for device, taken in (("NVIDIA H100", Cost(2, "GPU-hours")), ("cpu", Cost(16, "core-hours"))):
        write_json(folder.run_file, {"attempts": [{}, {"device": device, "world_size": 4, "threads": 8}]})
        assert cost(folder, "s") == taken
    assert cost(folder, "another") is None


@pytest.mark.parametrize("value", [10**400, -1, 0, True, None, "x", [1], 2.0, 10**9])
@pytest.mark.parametrize("key", ["world_size", "threads", "device"])
def test_a_record_that_is_none_of_ours_gives_no_cost(tiny, key, value):
    folder, *_ = tiny.plan(seeds=1)
    complete(folder)
    last = {"device": "cpu", "world_size": 4, "threads": 8}
    write_json(folder.run_file, {"attempts": [last]})
    assert cost(folder, folder.config().signature) is not None
    write_json(folder.run_file, {"attempts": [{**last, key: value}]})
    found = cost(folder, folder.config().signature)
    assert found == (Cost(4 / 3600, "GPU-hours") if (key, value) == ("device", "x") else None)
