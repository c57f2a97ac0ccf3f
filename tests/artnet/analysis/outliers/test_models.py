import pytest

from artnet.analysis.outliers.models import models
from artnet.config import build, unflatten
from artnet.rundir import RunDir, read_json, write_json
from shards.errors import UserError
from tests.artnet.analysis.test_report import PLAIN, SE, make_sweep, result_of, write_manifest


def better(run: RunDir) -> None:
    """Give a run a higher top-1 on val."""
    result = read_json(run.result_file)
    result["tasks"]["style"]["val"]["top1"] = 0.9
    write_json(run.result_file, result)


def test_of_a_sweep_the_seeds_of_the_model_that_is_best_on_val_are_asked(tmp_path):
    fates = [({**model, "seed": seed}, 0.5) for model in (PLAIN, SE) for seed in (0, 1)]
    runs = make_sweep(tmp_path, [*fates, ({"model.attention": "eca", "seed": 0}, {"state": "failed"})])
    better(runs[3])
    (model,) = models(tmp_path)
    assert [run.path for run in model.runs] == [run.path for run in runs[2:4]]
    assert (model.task, model.parts, model.left_out) == ("style", ["", ""], 1)
    assert [config.seed for config in model.configs] == [0, 1]


def test_a_model_with_a_run_that_is_not_complete_is_left_out(tmp_path):
    failed = {"state": "failed", "reason": "out of memory"}
    fates = [({**PLAIN, "seed": 0}, 0.5), ({**SE, "seed": 0}, 0.5), ({**SE, "seed": 1}, failed)]
    runs = make_sweep(tmp_path, fates)
    better(runs[1])
    assert [run.path for run in models(tmp_path)[0].runs] == [runs[0].path]
    runs[0].result_file.unlink()
    with pytest.raises(UserError, match=r"no model of style whose runs are all complete: .* is failed"):
        models(tmp_path)


def test_folds_are_of_one_model_and_each_is_a_part(tmp_path):
    planned = []
    for fold in (0, 1, 2):
        values = {"data.fold": fold, "seed": 0}
        config = build(unflatten({"task": "style", "data.folds": 3, "model.recurrence": "lstm", **values}))
        run = RunDir(tmp_path / config.name)
        run.write_config(config)
        write_json(run.result_file, result_of(config, 0.5).model_dump(mode="json"))
        planned.append((config.name, config, values))
    write_manifest(tmp_path, planned)
    assert models(tmp_path)[0].parts == ["fold 0", "fold 1", "fold 2"]
    (alone,) = models(tmp_path / planned[1][0])
    assert alone.parts == [""]  # its val is out of sample too


def test_a_run_of_several_tasks_is_no_seed_of_one_of_a_single_task(tmp_path):
    planned = []
    for tasks in (["style"], ["artist", "style"]):
        values = {"task": tasks, "seed": 0}
        config = build(unflatten(values))
        write_json(RunDir(tmp_path / config.name).result_file, result_of(config, 0.5).model_dump(mode="json"))
        RunDir(tmp_path / config.name).write_config(config)
        planned.append((config.name, config, values))
    write_manifest(tmp_path, planned)
    assert [(model.task, len(model.runs)) for model in models(tmp_path)] == [("artist", 1), ("style", 1)]


def test_a_run_that_is_not_complete_and_a_newer_one_are_refused(tmp_path):
    (run,) = make_sweep(tmp_path, [(PLAIN, 0.5)])
    result = read_json(run.result_file)
    write_json(run.result_file, {**result, "format": 99})
    with pytest.raises(UserError, match=r"result.json was made by a newer artnet \(format 99"):
        models(run.path)
    run.result_file.unlink()
    with pytest.raises(UserError, match=r"is not complete \(result.json is missing\); train it to its end"):
        models(run.path)
