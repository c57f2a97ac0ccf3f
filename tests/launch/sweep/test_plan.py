"""The plan: what is done with a run in each state."""

from collections.abc import Sequence

import pytest

from artnet.config import build, unflatten
from launch.grid import Run
from launch.sweep.plan import Action, Decision, Policy, decide, outside, summary, to_start
from launch.sweep.state import ENDED_BADLY, ENDED_WELL, LIVE, Found, State
from tests.conftest import TINY

RUNS = [Run(build(unflatten({**TINY, "seed": seed})), {"seed": seed}) for seed in range(9)]
START, RESUME, LEAVE, SCRATCH = Action.START, Action.RESUME, Action.LEAVE, Action.FROM_SCRATCH


def plan(states: Sequence[State | str], policy: Policy = Policy(), gone: int = 0) -> list[Decision]:  # noqa: B008
    """The plan for runs in these states, the last `gone` of which are no longer in the grid."""
    runs = RUNS[: len(states)]
    found = {run.config.name: Found(State(state)) for run, state in zip(runs, states, strict=True)}
    kept = len(runs) - gone
    return decide(runs[:kept], found, policy, runs[kept:])


@pytest.mark.parametrize(
    ("states", "plain", "retry", "force"),
    [
        ({"planned"}, START, START, START),
        (LIVE, LEAVE, LEAVE, SCRATCH),
        ({"interrupted"}, RESUME, RESUME, SCRATCH),
        (ENDED_BADLY, LEAVE, RESUME, SCRATCH),
        ({"complete"}, LEAVE, LEAVE, SCRATCH),
        ({"cannot_be_read"}, LEAVE, LEAVE, LEAVE),
    ],
)
def test_each_state_has_one_action_under_each_policy(states, plain, retry, force):
    states = sorted(states)
    for policy, action in ((Policy(), plain), (Policy(retry=True), retry), (Policy(force=True), force)):
        decisions = plan(states, policy)
        assert [one.action for one in decisions] == [action] * len(states)
        assert [one.state for one in decisions] == states
        assert to_start(decisions) == (decisions if action is not LEAVE else [])
        assert all(one.in_grid for one in decisions)


def test_every_state_is_live_ended_badly_ended_well_or_one_of_three_others():
    others = {State.PLANNED, State.INTERRUPTED, State.UNREADABLE}
    assert len(LIVE) + len(ENDED_BADLY) + len(ENDED_WELL) + len(others) == len(State)
    assert LIVE | ENDED_BADLY | ENDED_WELL | others == set(State)


@pytest.mark.parametrize("limit", [0, 1, 2, 9])
def test_a_limit_counts_only_the_runs_that_start_and_keeps_their_order(limit):
    decisions = plan(["complete", "planned", "failed", "interrupted"], Policy(limit=limit))
    wanted = [LEAVE, START, LEAVE, RESUME]
    later = [1, 3][limit:]
    assert [one.action for one in decisions] == [Action.LATER if n in later else wanted[n] for n in range(4)]


@pytest.mark.parametrize(
    ("states", "policy", "said"),
    [
        (["planned"] * 2 + ["interrupted"], Policy(), "2 to start, 1 to resume"),
        (["planned"] * 3, Policy(limit=1), "1 to start, 2 left for later by --limit"),
        (["complete", "running"], Policy(force=True), "2 to start from scratch"),
        (["complete", "running"], Policy(), "1 running, 1 complete"),
        (["failed"], Policy(), "1 failed (--retry resumes it)"),
        (
            ["timed_out", "complete", "timed_out"],
            Policy(),
            "1 complete, 2 timed out (--retry resumes them)",
        ),
    ],
)
def test_the_summary_counts_actions_then_states(states, policy, said):
    assert summary(plan(states, policy)) == said


def test_runs_outside_the_grid_are_named_up_to_five_and_dropped_by_prune_alone():
    assert outside(plan(["running"])) == ""
    kept = plan(["planned", "running", "out_of_memory"], gone=2)
    assert [(one.action, one.in_grid) for one in kept] == [(START, True), (LEAVE, False), (LEAVE, False)]
    assert summary(kept) == "1 to start"
    names = [run.config.name for run in RUNS]
    assert outside(kept) == (
        "2 runs are in the folder but not in the grid (1 running, 1 out of memory; --prune cancels those that are "
        f"alive and forgets all; their folders stay): {names[1]}, {names[2]}"
    )
    pruned = plan(["complete", "failed"], Policy(prune=True), gone=1)
    assert [one.action for one in pruned] == [LEAVE, Action.DROP]
    assert outside(pruned).startswith("1 run is in the folder but not in the grid (1 failed; pruned: ")
    assert outside(plan(["failed"] * 5, gone=5)).endswith(", ".join(names[:5]))
    assert outside(plan(["failed"] * 6, gone=6)).endswith(", ".join(names[:5]) + " and 1 more")
