"""A search is ranked on val, and has test figures only for the configurations that were confirmed."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artnet.analysis.results import Manifest, PlannedRun, Run, Sweep, read_sweep
from artnet.analysis.search.importance import importance
from artnet.analysis.search.trials import Search, Trial, read_search
from artnet.config import RunConfig, flatten
from artnet.rundir import RunDir, write_json

from .test_report import data_of, plan, result_of, rows_of, write, write_manifest

EPOCHS = 9
GRID = """name: demo
parameters:
  optim: {lr: {loguniform: [0.003, 1.0]}}
  augment.crop_scale: {uniform: [0.3, 0.9]}
  model.attention: {choice: [none, se, eca]}
conditional:
  - when: {model.attention: se}
    parameters: {model.se_reduction: {randint: [4, 32]}}
"""


@dataclass
class Asked:
    """A configuration of a made-up search: its metric by epoch, and the test top-1 that a complete run has."""

    values: dict[str, Any]
    curve: Sequence[float]
    test: float | None = None
    state: dict[str, Any] = field(default_factory=dict)
    searcher: str = "tpe"
    confirms: int | None = None
    seed: int = 0


def make_search(folder: Path, asked: Sequence[Asked], metric: str = "val/top1", **more: Any) -> Search:
    """Write the folder of a search and read it again."""
    lines, runs = [], []
    for n, one in enumerate(asked):
        config = plan({"train.epochs": EPOCHS, "seed": one.seed, **one.values})
        runs.append((config.name, config, one.values))
        line = {"n": n, "values": one.values, "signature": config.signature, "name": config.name}
        line |= {"searcher": one.searcher, "seed": one.seed}
        lines.append(line if one.confirms is None else {**line, "confirms": one.confirms})
        write_run(RunDir(folder / config.name), config, one, metric)
    (folder / "search.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "grid.yaml").write_text(GRID)
    write_manifest(folder, runs, metric={"name": metric, **more})
    search = read_search(read_sweep(folder))
    assert search
    return search


def write_run(run: RunDir, config: RunConfig, asked: Asked, metric: str) -> None:
    run.write_config(config)
    epochs = [{"kind": "epoch", "epoch": i, "step": i, metric: value} for i, value in enumerate(asked.curve, 1)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in epochs))
    if asked.test is not None:
        write_json(run.result_file, result_of(config, asked.test).model_dump(mode="json"))
    write_json(run.state_file, asked.state or {"state": "complete", "reason": ""})


def stopped(epoch: int) -> dict[str, Any]:
    return {"state": "stopped_early", "reason": f"after epoch {epoch}", "stopped_epoch": epoch}


def lr(value: float) -> dict[str, Any]:
    return {"optim.lr": value}


def some_trials() -> list[Asked]:
    """The best on val, number 2, is the worst on test; number 1 was stopped; number 4 failed."""
    return [
        Asked(lr(0.1), [0.3] * 8 + [0.6], test=0.9311, searcher="first"),
        Asked(lr(0.2), [0.1, 0.7, 0.99], state=stopped(2), searcher="random"),
        Asked(lr(0.3), [0.3] * 8 + [0.8], test=0.1234),
        Asked(lr(0.4), [0.3] * 8 + [0.7], test=0.9422),
        Asked(lr(0.5), [math.nan], state={"state": "failed", "reason": "loss is not finite"}),
        *(Asked(lr(0.3), [0.3] * 8 + [0.7], test, searcher="confirm", confirms=2, seed=s) for s, test in SEEDS),
    ]


SEEDS = [(1, 0.50), (2, 0.54), (3, 0.52)]


def test_a_search_is_ranked_on_val_and_complete_runs_come_first(tmp_path: Path) -> None:
    search = make_search(tmp_path, some_trials())
    assert [trial.n for trial in search.ranked] == [2, 3, 0, 1]
    assert search.ranked[-1].score == 0.7  # what a stopped run learned before it ended does not count
    assert search.best_so_far() == [(0, 0.6), (2, 0.8), (3, 0.8)]
    assert search.best_so_far(lambda trial: trial.searcher == "first") == [(0, 0.6)]
    assert search.epochs_saved == EPOCHS - 3
    printed, text, page = write(tmp_path, width=200)
    assert data_of(page)["search"]["ranked"] == [2, 3, 0, 1]
    for shown in (printed, text):
        words = " ".join(shown.split()).partition("The best on val")[2]
        assert "early stopping saved 6 epochs" in words
        assert "80.00 %, of #2 (tpe); the random start has 60.00 % after 1 complete run" in words
        assert "highest mean test" not in words
        assert words.index("#2") < words.index("#3") < words.index("#0")


def test_a_metric_may_be_minimized_and_its_last_epoch_count(tmp_path: Path) -> None:
    trials = [Asked(lr(0.1), [1.0, 0.1, 0.6], 0.5), Asked(lr(0.2), [0.5], 0.5), Asked(lr(0.3), [math.nan], 0.5)]
    search = make_search(tmp_path, trials, metric="val/nll", goal="minimize", scope="last")
    assert [(trial.n, trial.score) for trial in search.ranked] == [(1, 0.5), (0, 0.6)]
    assert search.best_so_far() == [(0, 0.6), (1, 0.5)]


def test_only_confirmed_configurations_have_test_figures(tmp_path: Path) -> None:
    make_search(tmp_path, some_trials())
    printed, text, page = write(tmp_path, width=200)
    for shown in (printed, text, json.dumps(data_of(page)), (tmp_path / "results.csv").read_text()):
        assert not [figure for figure in ("93.11", "12.34", "94.22", "0.9311", "0.1234", "0.9422") if figure in shown]
    # By hand: mean 52, standard deviation 2, and t of two degrees of freedom 4.303 x 2 / sqrt(3) = 4.97.
    assert "| #2 | 3 | 80.00 | 70.00 | 52.00 ± 2.00 | 47.03 to 56.97 |" in text
    rows = rows_of(tmp_path)
    assert [row["number"] for row in rows] == list("01234567")
    assert [row["test_top1"] for row in rows] == [""] * 5 + ["0.5", "0.54", "0.52"]
    assert [row["seed"] for row in rows] == ["0"] * 5 + ["1", "2", "3"]
    assert [row["confirms"] for row in rows] == [""] * 5 + ["2"] * 3
    assert [row["metric"] for row in rows][:5] == ["0.6", "0.7", "0.8", "0.7", ""]
    assert (rows[1]["state"], rows[1]["epochs"], rows[1]["searcher"]) == ("stopped_early", "3", "random")
    assert (rows[0]["val_top1"], rows[1]["val_top1"]) == ("0.7", "")


def in_memory(folder: Path, asked: Sequence[Asked]) -> Search:
    """The same search without the folders of its runs."""
    folder.mkdir(exist_ok=True)
    (folder / "grid.yaml").write_text(GRID)
    config = plan({"train.epochs": EPOCHS})
    trials = []
    for n, one in enumerate(asked):
        state = str(one.state.get("state", "complete"))
        result = None if one.test is None else result_of(config, one.test)
        run = Run(RunDir(folder / f"run-{n}"), one.values, flatten(config), ("style",), state, "", result)
        score = max(one.curve)
        trials.append(Trial(n, run, one.values, one.searcher, None, one.curve, score, len(one.curve), EPOCHS))
    planned = [PlannedRun(name=trial.run.name, signature="", values=trial.values) for trial in trials]
    return Search(Sweep(folder, Manifest(name="demo", runs=planned), [trial.run for trial in trials]), trials, [], 0)


def planted(folder: Path, seed: int, stops: bool = False, count: int = 40) -> Search:
    """Configurations whose result depends on the learning rate, less on the attention and not on the crop."""
    rng = np.random.default_rng(seed)
    asked = []
    for _ in range(count):
        rate, attention = float(np.exp(rng.uniform(np.log(0.003), 0))), str(rng.choice(["none", "se", "eca"]))
        values = {"optim.lr": rate, "augment.crop_scale": float(rng.uniform(0.3, 0.9)), "model.attention": attention}
        values |= {"model.se_reduction": int(rng.integers(4, 33))} if attention == "se" else {}
        value = 0.7 - 0.08 * (math.log10(rate) + 1) ** 2 + 0.01 * (attention != "none") + rng.normal(0, 0.01)
        cut = stops and value < 0.65
        curve = [value / 2] if cut else [value / 2, value]
        asked.append(Asked(values, curve, None if cut else 0.5, stopped(1) if cut else {}))
    return in_memory(folder, asked)


@pytest.mark.parametrize("stops", [False, True])
def test_the_most_important_key_of_a_planted_surface_is_named(tmp_path: Path, stops: bool) -> None:
    shares = [importance(planted(tmp_path / str(seed), seed, stops)) for seed in range(10)]
    assert sum(next(iter(found)) == "optim.lr" for found in shares) >= 9
    assert all(sum(found.values()) == pytest.approx(1) for found in shares)
    keys = {"optim.lr", "augment.crop_scale", "model.attention", "model.se_reduction"}
    assert all(set(found) == keys for found in shares)


def test_importance_warns_of_few_runs_and_leaves_out_what_never_varied(tmp_path: Path) -> None:
    trials = [Asked({"optim.lr": 0.1 * n, "model.attention": "se"}, [0.1 * n], test=0.5) for n in range(1, 5)]
    assert importance(make_search(tmp_path, trials)) == {"optim.lr": 1.0}
    assert "Warning: only 4 runs are complete; below 30, importance is uncertain." in write(tmp_path, width=200)[1]
    (tmp_path / "none").mkdir()
    assert importance(make_search(tmp_path / "none", trials[:1])) == {}


def test_a_search_that_has_just_begun_or_was_edited_has_a_report(tmp_path: Path) -> None:
    make_search(tmp_path, [Asked(lr(0.1), [], state={"state": "running"})])
    with (tmp_path / "search.jsonl").open("a") as log:
        log.write('{"n": 7, "values": {}, "signature": "of another space"}\n[1]\n{"n": 8')
    (tmp_path / "grid.yaml").write_text(f"{GRID}tune: {{known: [runs/ablation]}}\n")
    text = write(tmp_path, width=200)[1]
    assert "1 configuration: 1 running." in text
    assert "Left out are configurations that the edited grid no longer holds: 1." in text
    assert "The searcher also learnt from finished runs of runs/ablation, which are not shown." in text
    assert "No run is complete yet." in text


def test_the_page_of_200_configurations_is_small(tmp_path: Path) -> None:
    make_search(tmp_path, [Asked(lr(0.003 * 1.02**n), [0.3, 0.5 + n / 1000], 0.5) for n in range(200)])
    page = write(tmp_path)[2]
    assert len(page) < 1_500_000
    assert len(data_of(page)["search"]["trials"]) == 200
