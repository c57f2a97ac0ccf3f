"""Which run a worker of a search trains next: its own, one whose worker is gone, a new one, or one that confirms."""

import pytest

from artnet import search_log
from launch.cluster.job_array import Array
from launch.search.claims import Claims, Nothing, release
from launch.search.spec import Spec
from launch.search.starts import Starts
from launch.sweep.folder import note_state
from launch.sweep.state import State

from . import simulated


class Workers:
    """The workers of a made-up search, all in this process."""

    def __init__(self, folder, fake_slurm, tune=None, **spec):
        self.search = simulated.study(folder, {"startup": 99, **(tune or {})})
        self.slurm = fake_slurm
        self.array = Array(
            Array.new_name(self.search.sweep.folder), "2026-11-25T21:00:00+00:00", [], [], 60, 30, 3, workers=4
        )
        self.array.write(self.search.sweep.folder)
        self.spec = Spec(**{**Spec.of(self.search, (), None, ()).model_dump(), **spec})
        for place in range(4):
            fake_slurm.add(f"7_{place}", self.array.name)

    def next(self, place):
        """The next run of the worker at this place, as a process that has just started finds it."""
        return Claims(self.array, place, f"7_{place}").next(self.search, self.spec, self.search.history())

    def end(self, place):
        """Let the job at this place have ended."""
        kept = [line for line in self.slurm.queue.read_text().splitlines() if not line.startswith(f"7_{place} ")]
        self.slurm.queue.write_text("".join(f"{line}\n" for line in kept))

    def numbers(self):
        return [line.n for line in search_log.read(self.search.reader.file)]


@pytest.fixture
def workers(tmp_path, fake_slurm):
    return lambda tune=None, **spec: Workers(tmp_path, fake_slurm, tune, **spec)


def test_each_worker_gets_a_run_of_its_own_and_the_same_one_after_it_was_requeued(workers):
    made = workers()
    first, second = made.next(0), made.next(1)
    assert first.name != second.name
    assert (first.state().job, first.state().position, first.state().state) == ("7_0", 0, "running")
    note_state(first, State.REQUEUED, "preempted on node1")
    assert made.next(0).name == first.name
    assert made.numbers() == [0, 1]


def test_a_run_is_taken_over_once_its_job_has_left_the_queue_and_none_is_asked_for_instead(workers):
    made = workers()
    first = made.next(0)
    made.end(0)
    assert made.next(1).name == first.name
    assert first.state().position == 1
    assert made.numbers() == [0]


def test_a_worker_that_was_killed_between_the_line_and_the_claim_loses_no_run(workers):
    made = workers()
    trial = made.search.ask(made.search.history())
    assert made.next(3).name == trial.folder.name
    assert trial.folder.config().signature == trial.signature


def test_no_clock_says_whether_a_run_was_cancelled(workers):
    made = workers()
    first = made.next(0)
    note_state(first, State.CANCELLED, "cancelled by --cancel", cancelled=4e9)  # by a node whose clock is ahead
    assert made.next(0).name != first.name
    release(first, State.INTERRUPTED, "to be resumed")  # as --retry does
    assert made.next(1).name == first.name
    assert first.state().cancelled is None


def test_the_best_are_confirmed_when_all_have_ended_and_no_worker_leaves_before(workers):
    made = workers({"trials": 2, "scheduler": "none", "confirm": {"top": 1, "seeds": [5, 6]}})
    first, second = made.next(0), made.next(1)
    by_name = made.search.history().by_name
    simulated.train(made.search, by_name[first.name], simulated.peak)
    assert made.next(0) is Nothing.LATER
    simulated.train(made.search, by_name[second.name], simulated.peak)
    confirming = made.next(0), made.next(1)
    assert sorted(run.config().seed for run in confirming) == [5, 6]
    assert made.next(2) is Nothing.EVER


def test_what_a_launch_holds_back_is_neither_asked_for_nor_resumed(workers):
    made = workers(until=1)
    first = made.next(0)
    assert made.next(1) is Nothing.EVER
    release(first, State.INTERRUPTED, "stopped on request")
    made.spec = made.spec.model_copy(update={"held": [first.name]})
    assert made.next(1) is Nothing.EVER
    made.spec = made.spec.model_copy(update={"held": [], "until": None})
    assert made.next(1).name == first.name


def test_workers_ask_for_what_one_process_asks_for(workers, tmp_path):
    block = {"trials": 6, "startup": 2}
    made = workers(block)
    while (run := made.next(0)) is not Nothing.EVER:
        simulated.train(made.search, made.search.history().by_name[run.name], simulated.peak)
    alone = simulated.run(simulated.study(tmp_path / "alone", block))
    assert [line.values for line in search_log.read(made.search.reader.file)] == alone


def test_a_worker_goes_on_as_often_as_its_budget_says(tmp_path):
    for outcome in ("timed out", "", "preempted", "preempted"):
        starts = Starts(tmp_path / "0.json")
        starts.note(run="a", attempts_before=0)
        if outcome:
            starts.note(outcome=outcome)
    starts = Starts(tmp_path / "0.json")
    starts.note()
    assert starts.refusal(budget=2) == ""
    assert (
        starts.refusal(budget=1)
        == "ran out of time 1 time and was lost with its node 1 time, and `requeue: 1` is used up"
    )
    assert starts.refusal_of("a", 1, budget=1)[0] is State.NODE_FAILED
    assert starts.refusal_of("b", 1, budget=0) is None
