"""A search: its runs are ordinary runs, and its best is saved."""

import os

import yaml

from tests.conftest import ROOT


def test_a_search_runs_under_ray_reports_each_epoch_and_saves_the_best(trainable, shards, capsys):
    # A relative path, as in sweeps/search.yaml: Ray's workers start in a folder of their own.
    trainable.write(
        parameters={"optim.lr": {"loguniform": [0.01, 0.2]}, "data.sampler": {"choice": ["shuffle", "class_balanced"]}},
        fixed={"data.shards": os.path.relpath(shards, ROOT), "train.epochs": 2},
        tune={"samples": 2, "max_parallel": 2, "reduction_factor": 2},
    )
    ended = trainable.launch("tune")
    assert ended.returncode == 0, ended.stderr
    assert "dashboard: http://127.0.0.1" in ended.stderr
    runs = trainable.folders
    complete = [run for run in runs if run.result()]
    assert complete
    for run in runs:
        reported = [line for line in ended.stderr.splitlines() if line.startswith(run.name)]
        assert len(reported) == len(run.epochs())
        assert run.state().state == "complete" if run in complete else "ASHA" in run.state().reason
    best = yaml.safe_load((trainable.sweep.folder / "best.yaml").read_text())
    tops = {run.config().optim.lr: max(epoch["val/top1"] for epoch in run.epochs()) for run in complete}
    assert best["optim"]["lr"] == max(tops, key=tops.__getitem__)
    assert trainable.call("tune", "--data", os.path.relpath(shards)) == 0
    assert "dashboard" not in capsys.readouterr().err
