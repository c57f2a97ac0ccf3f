"""The commands beside launching, the selectors, and what a launch may take away."""

import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from artnet.rundir import RunDir, write_json
from launch import grid, local, slurm, tune
from launch.commands import cancel, clean, clearing, logs, status
from launch.sweep import folder as rundir
from launch.sweep import plan
from launch.sweep.plan import Action, Found, Policy
from launch.sweep.state import ENDED_BADLY, LIVE, State
from tests.conftest import ROOT, TINY, python

DOORS = {"slurm": slurm, "local": local, "tune": tune}


class Place:
    """A grid of tiny runs in a folder, launched by nobody."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "grid.yaml"
        self.runs = folder / "runs"
        self.sweep = rundir.Sweep(self.runs / "tiny")

    def write(self, seeds: int = 3, **fixed: object) -> list[grid.Run]:
        values = {
            "name": "tiny",
            "fixed": {**TINY, "data.shards": "/nowhere", **fixed},
            "parameters": {"seed": list(range(seeds))},
            "local": {"max_parallel": 1},
        }
        self.file.write_text(yaml.safe_dump(values, sort_keys=False))
        return grid.expand(grid.load(self.file)).runs

    def plan(self, seeds: int = 3) -> list[RunDir]:
        self.write(seeds)
        loaded = grid.load(self.file)
        expansion = grid.expand(loaded)
        self.sweep.commit(loaded, expansion, expansion.runs)
        return [self.sweep.run(run) for run in expansion.runs]

    def call(self, door: str, *options: object) -> int:
        return DOORS[door].main(["--grid", str(self.file), "--runs", str(self.runs), *map(str, options)])


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def complete(folder: RunDir) -> None:
    scores = {"top1": 0.5, "top5": 0.9, "macro_f1": 0.4, "nll": 1.0, "ece": 0.1, "recall": [0.5], "n": 10}
    task = {"classes": 5, "majority": 0.3, "val": scores, "test": scores}
    result = {"signature": folder.config().signature, "data": "x", "best_epoch": 1, "epochs": 1, "steps": 4}
    write_json(folder.result_file, {**result, "parameters": 9, "seconds": 1.0, "tasks": {"style": task}})


def log_epoch(folder: RunDir, epoch: int, **more: float) -> None:
    line = {"kind": "epoch", "time": time.time(), "epoch": epoch, "step": epoch, "seconds": 10.0 * epoch, **more}
    with folder.metrics_file.open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_the_same_verbs_and_selectors(door, capsys):
    with pytest.raises(SystemExit):
        DOORS[door].main(["--help"])
    told = capsys.readouterr().out
    for name in ("--only", "--id", "--state", "--dry-run", "--limit", "--retry", "--force", "--yes", "--status"):
        assert name in told
    for name in ("--watch", "--logs", "--follow", "--cancel", "--collect", "--clean"):
        assert name in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--status", "--cancel"), "--status and --cancel are 2 things to do"),
        (("--watch", "--logs", "x"), "--status and --logs are 2 things to do"),
        (("--status", "--retry"), "--retry says how to launch"),
        (("--collect", "--dry-run"), "--dry-run"),
        (("--retry", "--force"), "give one"),
        (("--prune", "--only", "seed=0"), "--prune is about runs that are not in the grid, --only"),
        (("--limit", "0"), "--limit 0 would start nothing"),
        (("-f",), "give --logs ID"),
        (("--watch", "0"), "--watch 0"),
        (("--state", "fialed"), "did you mean failed?"),
        (("--state", "qqq"), "the states are planned, submitting"),
        (("--status", "--only", "sed=1"), "did you mean 'seed'?"),
        (("--status", "--only", "seed=7"), "seed 0, 1, 2"),
        (("--status", "--id", "resnet19"), "the nearest is resnet18"),
        (("--logs", "resnet"), "3 runs begin so"),
        (("--logs", "qqq"), "none of 3 runs"),
        (("--cancel", "--only", "seed=0"), "give --yes"),
    ],
)
def test_what_contradicts_or_matches_nothing_ends_in_one_sentence(place, capsys, options, said):
    first, *_ = place.plan()
    first.run_file.write_text("{}")
    with first.locked():  # a run that lives, so that cancelling has something to ask
        assert place.call("local", *options) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_acting_on_what_was_never_launched_says_so(place, capsys):
    place.write()
    assert place.call("local", "--collect") == 2
    assert "holds no runs yet" in capsys.readouterr().err
    assert not place.runs.exists()


def test_selectors_of_one_kind_are_or_and_of_different_kinds_and(place, capsys):
    folders = place.plan()
    rundir.note_state(folders[0], State.FAILED, "why")
    rundir.note_state(folders[1], State.TIMED_OUT)

    def shown(*options: str) -> list[bool]:
        place.call("local", "--status", *options)
        told = capsys.readouterr().out
        return [folder.name in told for folder in folders]

    signature = folders[2].config().signature
    assert shown("--state", "failed", "--state", "timed-out") == [True, True, False]
    assert shown("--id", signature[:6], "--id", folders[0].name) == [True, False, True]
    assert shown("--id", signature[:6], "--id", folders[0].name, "--state", "failed") == [True, False, False]
    assert shown("--only", "!seed=0", "--state", "failed") == [False, False, False]


def test_the_plan_is_a_function_of_grid_states_and_policy(place):
    run, *others = place.write()

    def action(state: State, **policy: bool) -> Action:
        return plan.decide([run], {run.config.name: Found(state)}, Policy(**policy))[0].action

    for state in State:
        if state is State.PLANNED:
            assert action(state, force=True) is Action.START
        else:
            assert action(state, force=True) is Action.AFRESH
        assert action(state, prune=True) is action(state)
    found = {one.config.name: Found(State.PLANNED) for one in [run, *others]}
    found[run.config.name] = Found(State.COMPLETE)
    limited = plan.decide([run, *others], found, Policy(limit=1, prune=True), dropped=[])
    assert [one.action for one in limited] == [Action.LEAVE, Action.START, Action.LATER]
    assert plan.summary(limited) == "1 to start, 1 left for later by --limit, 1 complete"
    gone = plan.decide([run], found, Policy(), dropped=others)
    assert [one.action for one in gone] == [Action.LEAVE] * 3
    assert "2 runs are in the folder but not in the grid (2 planned" in plan.outside(gone)
    assert [one.action for one in plan.decide([run], found, Policy(prune=True), others)][1:] == [Action.DROP] * 2
    assert LIVE | ENDED_BADLY | {State.PLANNED, State.INTERRUPTED, State.COMPLETE} == set(State)


def test_what_an_edited_grid_dropped_is_named_until_it_is_pruned(place, capsys):
    folders = place.plan()
    for folder in folders:
        rundir.note_state(folder, State.FAILED, "why")
    place.write(seeds=2)
    place.call("local", "--dry-run")
    told = capsys.readouterr().out
    assert "1 run is in the folder but not in the grid (1 failed" in told
    assert folders[2].name in told
    place.call("local", "--status")
    assert f"in its folder: 1 run ({folders[2].name})" in capsys.readouterr().out

    runs = grid.expand(grid.load(place.file)).runs
    gone = place.sweep.dropped(runs)
    found = place.sweep.find([*runs, *gone])
    left = clearing.clear(place.sweep, plan.decide(runs, found, Policy(prune=True), gone), found)
    assert [one.run for one in left] == runs
    assert place.sweep.dropped(runs) == []
    assert folders[2].config_file.exists()
    place.write(seeds=3)
    assert place.sweep.find(grid.expand(grid.load(place.file)).runs)[folders[2].name].state is State.FAILED


def test_force_asks_and_keeps_what_the_runs_had(place, capsys):
    for number in (1, 2):
        folders = place.plan(seeds=2)
        runs = grid.expand(grid.load(place.file)).runs
        complete(folders[0])
        folders[0].run_file.write_text(str(number))
        rundir.note_state(folders[0], State.COMPLETE)
        found = place.sweep.find(runs)
        decisions = plan.decide(runs, found, Policy(force=True))
        with pytest.raises(Exception, match=r"starts 1 run: 1 complete afresh.*--yes"):
            clearing.agreed(place.sweep, decisions, yes=False)
        after = clearing.clear(place.sweep, decisions, found)
        assert [one.action for one in after] == [Action.START, Action.START]
        assert not folders[0].path.exists()
        assert (place.sweep.folder / "replaced" / f"{folders[0].name}.{number}" / "run.json").read_text() == str(number)
    assert place.sweep.dropped(runs) == []


@pytest.mark.parametrize(("typed", "deleted"), [("yes", True), ("y", False)])
def test_only_a_typed_yes_agrees(place, typed, deleted):
    folder, *_ = place.plan()
    complete(folder)
    last = folder.checkpoints / "last.pt"
    last.parent.mkdir()
    last.write_bytes(bytes(10))
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "launch/local.py", "--grid", place.file, "--runs", place.runs, "--clean"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdin=terminal, stderr=subprocess.PIPE, text=True)
    os.write(keyboard, f"{typed}\n".encode())
    _, told = process.communicate(timeout=120)
    assert "this deletes 10 B for good; type yes to go on" in told
    assert last.exists() is not deleted


def test_status_shows_where_each_run_is(place, capsys):
    folders = place.plan(seeds=4)
    complete(folders[0])
    log_epoch(folders[0], 1, **{"val/top1": 0.5, "images_per_s": 100.0})
    rundir.note_state(folders[1], State.RUNNING)
    write_json(folders[1].run_file, {"attempts": [{"host": "somewhere"}]})
    rundir.note_state(folders[2], State.OUT_OF_MEMORY, "no\nmore " * 50)
    with folders[1].locked():
        log_epoch(folders[1], 1, **{"val/top1": 0.25, "images_per_s": 77.4})
        assert place.call("local", "--status") == 1
        told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert place.call("local", "--status", "--only", "seed=1") == 0
        one = capsys.readouterr().out
    assert told[0] == "run state node epoch last val/top1 images/s to go reason"
    assert told[1] == f"{folders[0].name} complete 1/1 0.5000 100"
    assert told[2] == f"{folders[1].name} running somewhere 1/1 0.2500 77 0:00:00"
    assert told[3] == f"{folders[2].name} out of memory{' no more' * 50}"
    assert told[4] == f"{folders[3].name} planned"
    assert told[5] == "tiny: 4 runs: 1 planned, 1 running, 1 complete, 1 out of memory"
    assert "tiny: 1 run: 1 running of 4" in one


def test_a_scheduler_knows_the_node_and_the_time_left(place):
    run, *_ = place.write()
    found = {run.config.name: Found(State.RUNNING, node="node7", left="1:01:01")}
    (row,) = status.rows(place.sweep.folder, [run], found, "val/top1")
    assert (row.node, row.limit) == ("node7", "1:01:01")


def test_the_last_epoch_is_found_far_behind_its_steps(tmp_path):
    file = tmp_path / "metrics.jsonl"
    epoch = {"kind": "epoch", "time": 1.0, "epoch": 3, "seconds": 5.0}
    steps = "".join(json.dumps({"kind": "step", "time": 2.0, "epoch": 4, "step": n}) + "\n" for n in range(5000))
    file.write_text("\n" * 2_000_000 + json.dumps(epoch) + "\n" + steps + '{"kind": "step", "cut')
    last, closed = status.tail(file)
    assert (last["step"], closed) == (4999, epoch)
    assert status.tail(tmp_path / "none") == ({}, {})


def test_where_not_all_rows_fit_those_that_run_or_failed_are_shown():
    rows = [status.Row(str(number), state) for number, state in enumerate(State)]
    told = [row.state for row in status.most_telling(rows, 5)]
    assert told == [State.RUNNING, State.FAILED, State.OUT_OF_MEMORY, State.TIMED_OUT, State.NODE_FAILED]


def test_watching_ends_when_nothing_lives(place, capsys):
    folder, *_ = place.plan(seeds=1)
    with folder.locked():
        watcher = threading.Thread(target=lambda: codes.append(place.call("local", "--watch", "0.1")))
        codes: list[int] = []
        watcher.start()
        while "1 running" not in (told := capsys.readouterr().out):
            time.sleep(0.05)
        assert not codes
        rundir.note_state(folder, State.FAILED, "why")
    watcher.join(timeout=60)
    assert codes == [1]
    assert "1 failed" in told + capsys.readouterr().out


def test_logs_are_those_of_the_last_attempt_of_every_rank(place, capfdbinary):
    folder, *_ = place.plan()
    rundir.note_state(folder, State.RUNNING, launcher="slurm", job="7_0", job_name="artnet-a_b", position=0)
    jobs = place.sweep.folder / "slurm"
    jobs.mkdir()
    write_json(jobs / "artnet-a_b.json", {"attempts": [1]})
    (jobs / "7_0.log").write_bytes(b"no module named torch")
    assert place.call("local", "--logs", folder.name) == 0
    assert capfdbinary.readouterr().out == b"no module named torch\n"
    for number, text in ((1, b"old\n"), (2, b"new\n")):
        (rundir.attempt_folder(folder, number) / "stdout").write_bytes(text)
    (folder.attempts / "002" / "stderr").write_bytes(b"\xffwarned\n")
    place.call("local", "--logs", folder.config().signature[:9])
    assert capfdbinary.readouterr().out == b"new\n\xffwarned\n"
    (folder.attempts / "002" / "stderr.1").write_bytes(b"other\n")
    place.call("local", "--logs", folder.name)
    assert capfdbinary.readouterr().out == b"rank 0 | new\nrank 0 | \xffwarned\nrank 1 | other\n"
    write_json(jobs / "artnet-a_b.json", {"attempts": [3]})  # a third job has come to nothing
    assert [file.name for file in logs.files(folder)] == ["7_0.log"]


def test_following_a_log_goes_on_into_the_next_attempt_until_the_run_ends(place):
    folder, *_ = place.plan()
    first = rundir.attempt_folder(folder, 1) / "stdout"
    first.write_text("one\ntw")
    with folder.locked():
        command = [sys.executable, "launch/local.py", "--grid", place.file, "--runs", place.runs, "-f"]
        process = subprocess.Popen(
            [*map(str, command), "--logs", folder.name], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout.readline() == b"one\n"
        with first.open("a") as file:
            file.write("o\n")
        assert process.stdout.readline() == b"two\n"
        with first.open("a") as file:
            file.write("last of one")
        (rundir.attempt_folder(folder, 2) / "stdout").write_text("three\nno end")
        assert process.stdout.readline() == b"last of one\n"
        assert process.stdout.readline() == b"three\n"
        complete(folder)
    assert process.communicate(timeout=60)[0] == b"no end\n"
    assert process.returncode == 0


def test_jobs_of_an_array_are_named_in_few_words():
    jobs = ["7_0", "7_1", "7_2", "7_9", "8", "10_3", "7_1"]
    assert cancel.arrays(jobs) == ["7_[0-2,9]", "10_[3]", "8"]


def test_cleaning_leaves_results_last_logs_and_what_lives(place, capsys):
    folders = place.plan()
    complete(folders[0])
    for number, folder in enumerate(folders):
        job = {"launcher": "slurm", "job": f"7{number}_0", "job_name": f"artnet-a_b-{number}"}
        rundir.note_state(folder, State.RUNNING if number else State.COMPLETE, **job)
        folder.checkpoints.mkdir()
        for file in ("last.pt", "best.pt"):
            (folder.checkpoints / file).write_bytes(bytes(1000))
        for attempt in (1, 2):
            (rundir.attempt_folder(folder, attempt) / "stdout").write_bytes(bytes(100))
    jobs = place.sweep.folder / "slurm"
    jobs.mkdir()
    for name in ("70_0.log", "artnet-a_b-0.json", "71_0.log", "artnet-a_b-1.json", "72_0.log", "answer.json"):
        (jobs / name).write_bytes(bytes(10))
    (place.sweep.replaced / "some.1").mkdir(parents=True)
    (place.sweep.replaced / "some.1" / "file").write_bytes(bytes(5000))

    copied = place.sweep.code / "3f9a1c7b20d4e5f6"
    copied.mkdir(parents=True)

    place.sweep.lock.touch()
    before = sorted(place.runs.rglob("*"))
    assert place.call("local", "--clean", "--dry-run") == 0
    assert "dry run: nothing was deleted of 6.1 kB" in capsys.readouterr().out
    assert before == sorted(place.runs.rglob("*"))
    assert place.call("local", "--clean", "--yes") == 0
    gone = {str(path.relative_to(place.sweep.folder)) for path in {*before} - {*place.runs.rglob("*")}}
    name = folders[0].name
    assert gone == {
        f"{name}/checkpoints/last.pt", f"{name}/attempts/001", f"{name}/attempts/001/stdout",
        "slurm/70_0.log", "slurm/artnet-a_b-0.json", "replaced/some.1", "replaced/some.1/file",
    }  # fmt: skip
    capsys.readouterr()
    place.call("local", "--clean")
    assert "nothing to clean" in capsys.readouterr().out
    for folder in folders:
        rundir.note_state(folder, State.CANCELLED)
    place.call("local", "--clean", "--yes")
    assert not copied.exists()
    assert clean.in_words(1_234_567_890) == "1.2 GB"


def test_collecting_writes_the_table_and_starts_nothing(place, capsys):
    folders = place.plan()
    complete(folders[0])
    assert place.call("local", "--collect") == 0
    assert "ResNet18" in capsys.readouterr().out
    for name in ("results.csv", "results.md", "report.html"):
        assert (place.sweep.folder / name).stat().st_size
    assert not any(folder.attempts.exists() for folder in folders)


def test_runs_of_a_launcher_at_work_are_cancelled_and_stay_so(place, shards):
    place.write(seeds=2, **{"data.shards": str(shards), "train.epochs": 1000})
    command = ["launch/local.py", "--grid", place.file, "--runs", place.runs]
    launcher = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first, second = (place.sweep.run(run) for run in grid.expand(grid.load(place.file)).runs)
    while not first.metrics():
        assert launcher.poll() is None
        time.sleep(0.1)
    ended = python(*command, "--cancel", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert "cancelled 2" in ended.stdout
    launcher.communicate(timeout=120)
    assert launcher.returncode == 1
    assert [folder.state()["state"] for folder in (first, second)] == ["cancelled", "cancelled"]
    assert (first.checkpoints / "last.pt").exists()
    assert not second.attempts.exists()
    assert "2 cancelled (--retry goes on with them)" in python(*command, "--dry-run").stdout
