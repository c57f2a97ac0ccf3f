"""Tasks of one's own: from shards with any names through a grid, a training and the report."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch.grid import expand, load
from shards.errors import UserError
from shards.pack import main as pack
from tests.artnet.analysis.test_report import data_of

from .tiny_grid import TinyGrid


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 60 pictures with the tasks `type`, which torch calls something else, and `period`."""
    folder = tmp_path_factory.mktemp("animals")
    rows = []
    for number in range(60):
        noise = Image.effect_noise((5, 5), 90).resize((40, 40))
        (folder / "images").mkdir(exist_ok=True)
        noise.convert("RGB").save(folder / "images" / f"{number}.bmp")
        rows.append((f"{number}.bmp", "cat" if number % 3 else "dog", 1800 + number % 2))
    pd.DataFrame(rows, columns=["path", "type", "period"]).to_csv(folder / "t.csv", index=False)
    options = ["--table", str(folder / "t.csv"), "--task", "type", "period", "--out", str(folder / "shards")]
    assert pack(["--images", str(folder / "images"), *options]) == 0
    return folder / "shards"


def test_a_task_that_the_shards_do_not_have_is_refused_at_a_dry_run_with_those_that_they_have(
    animals, tmp_path, capsys
):
    tiny = TinyGrid(tmp_path, str(animals))
    tiny.write(fixed={"task": "typ"})
    for options in ((), ("--dry-run",)):
        assert tiny.call("local", *options) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"grid.yaml:4: there is no task typ in the shards in {animals}; they have the tasks period, type" in said


@pytest.mark.slow
def test_a_grid_of_own_tasks_is_trained_and_reported(animals, tmp_path):
    tiny = TinyGrid(tmp_path, str(animals))
    weighted = {"task": ["type", "period"], "loss.weights.type": 3}
    reference = [{"when": {"seed": 0}, "type": 61.5}]
    tiny.write(fixed=weighted, parameters={"seed": [0]}, reference=reference)
    done = tiny.launch("local")
    assert done.returncode == 0, done.stderr
    (run,) = tiny.folders
    assert run.name.startswith("resnet18_period+type_s0-")
    result = run.result()
    assert [result.tasks[task].classes for task in ("type", "period")] == [2, 2]
    with (tiny.sweep.folder / "results.csv").open() as file:
        assert [row["task"] for row in csv.DictReader(file)] == ["period", "type"]
    table = (tiny.sweep.folder / "results.md").read_text().splitlines()
    assert next(line for line in table if line.startswith("|")) == "| model | period | n | type | n | published |"
    assert any("61.5" in line for line in table)
    metrics = {curve["metric"] for curve in data_of((tiny.sweep.folder / "report.html").read_text())["curves"]}
    assert "val/type/top1" in metrics
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert {"val/type/top1", "val/period/top1"} <= set(events.Tags()["scalars"])


def test_weights_of_own_tasks_are_axes_and_select_runs(tiny):
    tiny.write(fixed={"task": ["type", "style"]}, parameters={"loss.weights.type": [1, 2], "seed": [0, 1]})
    grid = load(tiny.file)
    assert [run.config.loss.weights.of("type") for run in expand(grid).runs] == [1, 1, 2, 2]
    chosen = expand(grid, only=["loss.weights.type=2,seed=1"]).runs
    assert [run.config.seed for run in chosen] == [1]
    assert len(expand(grid, only=["loss.weights.type=1"]).runs) == 2
    tiny.write(fixed={"task": "style", "loss.weights.typ": 2})
    with pytest.raises(UserError, match=r"grid.yaml:\d+: loss.weights.typ: the run has no task typ; name it as task"):
        expand(load(tiny.file))


def test_a_reference_names_a_task_of_the_grid(tiny):
    tiny.write(fixed={"task": "type"}, reference=[{"when": {"seed": 0}, "typ": 50}])
    with pytest.raises(UserError, match="unknown key 'typ'; did you mean 'type'"):
        load(tiny.file)
