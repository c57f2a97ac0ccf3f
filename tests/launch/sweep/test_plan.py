"""The plan: what is done with a run, by how it was found."""

from artnet.config import build, unflatten
from launch.grid import Run
from launch.sweep.plan import Action, Policy, decide, outside, summary
from launch.sweep.state import ENDED_BADLY, LIVE, Found, State
from tests.conftest import TINY


def test_the_plan_starts_what_is_missing_and_leaves_what_lives_or_failed():
    run = Run(build(unflatten(TINY)), {})

    def action(state: State, retry: bool) -> Action:
        return decide([run], {run.config.name: Found(state)}, Policy(retry=retry))[0].action

    for state in State:
        started = {State.PLANNED: Action.START, State.INTERRUPTED: Action.RESUME}.get(state, Action.LEAVE)
        assert action(state, retry=False) is started
        assert action(state, retry=True) is (Action.RESUME if state in ENDED_BADLY else started)
    assert not LIVE & ENDED_BADLY


def test_the_plan_is_a_function_of_grid_states_and_policy(tiny):
    tiny.write(seeds=3)
    run, *others = tiny.expand()

    def action(state: State, **policy: bool) -> Action:
        return decide([run], {run.config.name: Found(state)}, Policy(**policy))[0].action

    for state in State:
        if state is State.PLANNED:
            assert action(state, force=True) is Action.START
        else:
            assert action(state, force=True) is Action.FROM_SCRATCH
        assert action(state, prune=True) is action(state)
    found = {one.config.name: Found(State.PLANNED) for one in [run, *others]}
    found[run.config.name] = Found(State.COMPLETE)
    limited = decide([run, *others], found, Policy(limit=1, prune=True), dropped=[])
    assert [one.action for one in limited] == [Action.LEAVE, Action.START, Action.LATER]
    assert summary(limited) == "1 to start, 1 left for later by --limit, 1 complete"
    gone = decide([run], found, Policy(), dropped=others)
    assert [one.action for one in gone] == [Action.LEAVE] * 3
    assert "2 runs are in the folder but not in the grid (2 planned" in outside(gone)
    assert [one.action for one in decide([run], found, Policy(prune=True), others)][1:] == [Action.DROP] * 2
    assert LIVE | ENDED_BADLY | {State.PLANNED, State.INTERRUPTED, State.COMPLETE} == set(State)
