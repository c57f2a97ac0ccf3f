"""A search is a function of its folder: what it asks, whom it stops, and when it ends."""

import json
import math

import pytest

from artnet import search_log
from artnet.rundir import write_json
from launch.search.trials import Outcome
from launch.sweep.folder import find_run
from launch.sweep.plan import Policy, decide
from launch.sweep.state import State
from tests.launch.grid.files import fails

from .simulated import SPACE, fail, peak, run, study, train

GP = pytest.param("gp", marks=pytest.mark.slow)
SEARCHERS = ["tpe", GP, "cmaes", "qmc", "random"]


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_search_that_is_killed_after_each_step_asks_the_same(tmp_path, searcher):
    block = {"searcher": searcher, "startup": 4}
    whole = run(study(tmp_path / "whole", block))
    assert len(whole) == 12
    while (trial := (killed := study(tmp_path / "killed", block)).ask(killed.history())) is not None:
        assert study(tmp_path / "killed", block).history().open[0].signature == trial.signature
        train(study(tmp_path / "killed", block), trial, peak)
    assert [dict(trial.values) for trial in killed.history().trials] == whole
    assert [line.n for line in killed.reader.asked()] == list(range(12))
    other = study(tmp_path / "other", {**block, "seed": 1})
    assert run(other) != whole


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["tpe", GP, "cmaes"])
def test_a_searcher_learns(tmp_path, searcher):
    block = {"searcher": searcher, "trials": 40, "scheduler": "none"}
    tried = run(study(tmp_path, block))
    off = [abs(math.log10(values["optim.lr"]) + 1) for values in tried]
    assert sum(off[20:]) / 20 < 0.6 * sum(off[:10]) / 10


@pytest.mark.slow
def test_it_learns_the_other_way_round_too(tmp_path):
    metric = {"name": "val/nll", "goal": "minimize", "scope": "best"}
    search = study(tmp_path, {"trials": 40, "scheduler": "none"}, metric=metric)
    tried = run(search, lambda trial, epoch: 1 - peak(trial, epoch))
    assert sum(abs(math.log10(values["optim.lr"]) + 1) for values in tried[20:]) / 20 < 0.5
    best = search.ranked(search.history().trials)[0]
    assert best.curve[-1] == min(trial.curve[-1] for trial in search.history().trials)


def test_weak_runs_are_stopped_recorded_and_left_alone(tmp_path):
    search = study(tmp_path, {"grace_epochs": 1})
    run(search)
    history = search.history()
    stopped = [trial for trial in history.trials if trial.outcome is Outcome.STOPPED_EARLY]
    assert 6 <= len(stopped) <= 10
    assert history.epochs == sum(len(trial.curve) for trial in history.trials) < 70
    found = {trial.folder.name: find_run(trial.folder, trial.signature) for trial in stopped}
    assert {now.state for now in found.values()} == {State.STOPPED_EARLY}
    for policy in (Policy(), Policy(retry=True)):
        assert {decision.action for decision in decide([trial.run for trial in stopped], found, policy)} == {"leave"}
    name = stopped[0].folder.name
    assert study(tmp_path).judge(name, len(stopped[0].curve))
    state = stopped[0].folder.state()
    state.model_copy(update={"state": "interrupted", "promoted": True}).write(stopped[0].folder.state_file)
    assert not search.judge(name, len(stopped[0].curve))
    assert search.history().by_name[name].outcome is Outcome.OPEN
    train(search, search.history().by_name[name], peak)
    assert search.history().by_name[name].outcome is Outcome.COMPLETE


def test_a_run_that_has_trained_past_a_rung_counts_only_up_to_it(tmp_path):
    search = study(tmp_path, {"grace_epochs": 1})
    while True:
        trial = search.ask(search.history())
        if train(search, trial, peak) < 9:
            break
    before = search.history().by_name[trial.folder.name].curve
    with trial.folder.metrics_file.open("a") as file:  # while it was being stopped
        file.write(
            json.dumps({"kind": "epoch", "time": 1, "epoch": len(before) + 1, "seconds": 1, "val/top1": 1}) + "\n"
        )
    assert search.history().by_name[trial.folder.name].curve == before


def test_a_line_that_is_cut_off_is_asked_for_again(tmp_path):
    search = study(tmp_path)
    first = search.ask(search.history())
    with search.reader.file.open("a") as file:
        file.write('{"n": 1, "val')
    assert [trial.signature for trial in search.history().trials] == [first.signature]
    second = study(tmp_path).ask(study(tmp_path).history())
    assert [line.n for line in search_log.read(search.reader.file)] == [0, 1] == [first.n, second.n]


def test_more_trials_later_add_only_new_ones(tmp_path):
    whole = run(study(tmp_path / "whole", {"trials": 16}))
    assert run(study(tmp_path / "more", {"trials": 8})) == whole[:8]
    search = study(tmp_path / "more", {"trials": 16})
    assert not search.is_spent(search.history())
    assert run(search) == whole
    assert len(search.reader.asked()) == 16


def test_a_budget_of_epochs_or_hours_ends_the_search(tmp_path):
    search = study(tmp_path / "epochs", {"trials": None, "budget": {"epochs": 30}, "scheduler": "none"})
    assert len(run(search)) == 4  # 27 epochs are not enough
    search = study(tmp_path / "hours", {"trials": None, "budget": {"hours": 0.2}, "scheduler": "none"})
    assert len(run(search)) == 3  # of 0.09 hours each
    for wrong in ({}, {"epochs": 1, "hours": 1}):
        with fails("tune.budget: give either epochs or hours"):
            study(tmp_path / "wrong", {"trials": None, "budget": wrong})
    with fails("tune: give only one of trials and samples"):
        study(tmp_path / "wrong", {"samples": 2})


def test_finished_runs_of_other_sweeps_are_learnt_from_and_not_trained_again(tmp_path):
    run(study(tmp_path / "before", {"scheduler": "none"}))
    known = str(tmp_path / "before" / "runs" / "made-up")
    write_manifest(study(tmp_path / "before"))
    search = study(tmp_path / "now", {"known": [known], "trials": 6})
    assert len(search.history().known) == 12
    assert {trial.outcome for trial in search.history().known} == {Outcome.COMPLETE}
    run(search)
    signatures = {trial.signature for trial in search.history().known}
    assert not signatures.intersection(trial.signature for trial in search.history().trials)
    assert {line.searcher for line in search.reader.asked()} == {"tpe"}  # nothing random is left to do
    assert len(study(tmp_path / "other", {"known": [known]}, ("train.epochs=8",)).history().known) == 0
    with fails("grid.yaml:", "tune.known: runs/nowhere holds no runs"):
        study(tmp_path / "now", {"known": ["runs/nowhere"]})


def write_manifest(search):
    runs = search.runs(search.history())
    write_json(
        search.sweep.folder / "manifest.json",
        {"name": "made-up", "runs": [{"name": run.config.name, "signature": run.config.signature} for run in runs]},
    )


def test_an_edited_space_keeps_what_fits_and_names_the_rest(tmp_path):
    search = study(tmp_path)
    run(search)
    names = {trial.folder.name: trial.values["optim.lr"] for trial in search.history().trials}
    narrow = SPACE | {"optim.lr": {"loguniform": [0.03, 1.0]}}
    edited = study(tmp_path, parameters=narrow)
    kept = {trial.folder.name for trial in edited.history().trials}
    assert kept == {name for name, lr in names.items() if lr >= 0.03}
    assert set(edited.history().strangers) == names.keys() - kept
    run(edited)
    assert len(edited.history().trials) == 12
    assert [line.n for line in edited.reader.asked()] == list(range(12 + len(names) - len(kept)))
    wider = study(tmp_path, parameters=narrow | {"optim.momentum": {"uniform": [0.5, 0.95]}})
    assert len(wider.history().trials) == 12  # with the value that they had anyway
    assert not study(tmp_path, sets=("train.epochs=3",)).history().trials


def test_runs_that_fail_say_nothing_and_those_that_diverge_are_avoided(tmp_path):
    def shares(outcome):
        search = study(tmp_path / outcome, {"trials": 40, "scheduler": "none", "startup": 12})
        while (trial := search.ask(search.history())) is not None:
            if trial.values["optim.lr"] > 0.03 and outcome != "trained":
                fail(trial, diverged=outcome == "diverged")
            else:
                train(search, trial, lambda trial, epoch: 0.5)
        return sum(trial.values["optim.lr"] > 0.03 for trial in search.history().trials[12:]) / 28

    assert shares("diverged") < 0.6 * shares("failed")


def test_each_point_of_the_lists_is_asked_in_turn_and_compared_with_itself(tmp_path):
    search = study(tmp_path, {"trials": None, "samples": 6, "grace_epochs": 1}, parameters={**SPACE, "seed": [0, 1]})
    run(search, lambda trial, epoch: peak(trial, epoch) / (1 + 9 * trial.point))  # the second is far below the first
    trials = search.history().trials
    assert [trial.values["seed"] for trial in trials] == [0, 1] * 6
    assert {trial.point for trial in trials if trial.outcome is Outcome.COMPLETE} == {0, 1}


def test_first_values_conditionals_and_a_space_that_is_used_up(tmp_path):
    block = {"first": [{"optim.lr": 0.25}, {"optim": {"lr": 0.5}}], "trials": 20}
    conditional = [{"when": {"optim.schedule": "step"}, "parameters": {"optim.warmup": {"choice": [0.1, 0.2]}}}]
    tried = run(study(tmp_path / "first", block, conditional=conditional))
    assert [values["optim.lr"] for values in tried[:2]] == [0.25, 0.5]
    assert {values["optim.schedule"] == "step" for values in tried if "optim.warmup" in values} == {True}
    used_up = study(tmp_path / "small", {"trials": 20}, parameters={"optim.schedule": {"choice": ["cosine", "step"]}})
    flat = lambda trial, epoch: 0.5  # noqa: E731
    assert len(run(used_up, flat)) == 2
    single = study(tmp_path / "one", {"trials": 5}, parameters={"optim.lr": {"choice": [0.1]}})
    assert len(run(single, flat)) == 1
    left_out = study(tmp_path / "out", {"trials": 9}, parameters={"seed": [0, 1, 2]}, exclude=[{"seed": 1}])
    assert [values["seed"] for values in run(left_out, flat)] == [0, 2]


def test_the_best_are_confirmed_with_other_seeds(tmp_path):
    search = study(tmp_path, {"confirm": {"top": 2, "seeds": [7, 8]}})
    run(search)
    best = search.ranked(search.history().trials)[:2]
    again = search.ask_again(search.history())
    assert [trial.run.config.seed for trial in again] == [7, 8, 7, 8]
    assert [trial.values for trial in again] == [one.values for one in best for _ in range(2)]
    assert not search.ask_again(study(tmp_path, {"confirm": {"top": 2, "seeds": [7, 8]}}).history())
    assert len(search.history().trials) == 12 and not search.judge(again[0].folder.name, 1)
    assert len(search.runs(search.history())) == 16


def test_what_is_certain_is_known_before_it_is_asked(tmp_path):
    search = study(tmp_path, {"startup": 5})
    ahead = [run.config.signature for run in search.upcoming(search.history())]
    assert len(ahead) == 5
    run(search)
    assert [trial.signature for trial in search.history().trials][:5] == ahead
    assert not search.upcoming(search.history())
    everything = study(tmp_path / "qmc", {"searcher": "qmc"})
    assert [run.config.signature for run in everything.upcoming(everything.history())] == [
        everything.space.run(values).config.signature for values in run(everything)
    ]


def test_the_runs_that_an_earlier_version_drew_are_the_first_of_the_search(tmp_path):
    search = study(tmp_path, {"trials": None, "samples": 15})
    search.reader.file.unlink()
    drawn = [search.space.run(search.space.random(0, number, seed=0)) for number in range(15)]
    for one in drawn:
        search.sweep.run(one).write_config(one.config)
    manifest = [{"name": one.config.name, "signature": one.config.signature} for one in drawn]
    write_json(search.sweep.folder / "manifest.json", {"name": "made-up", "runs": manifest})
    assert [trial.signature for trial in search.history().trials] == [one.config.signature for one in drawn]
    search = study(tmp_path, {"trials": None, "samples": 15})
    assert search.is_spent(search.history()) and len(search.reader.asked()) == 15
