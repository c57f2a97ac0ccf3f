"""The state of a run by its folder alone."""

import shutil

import pytest

from artnet.rundir import RunDir, RunState
from launch.sweep.attempt import attempt_folder
from launch.sweep.folder import find_run, note_state
from launch.sweep.state import Found, State
from shards.errors import UserError


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "result.json is missing"), ("{}", "result.json is not valid, or of another run")],
)
def test_a_lost_result_is_the_reason_why_a_run_is_no_longer_complete(tmp_path, content, reason):
    run = RunDir(tmp_path)
    RunState(state="complete", launcher="local", reason="of before").write(run.state_file)
    if content is not None:
        run.result_file.write_text(content)
    assert find_run(run, "signature") == Found(State.FAILED, reason)


def test_a_folder_that_was_deleted_is_not_made_again(tiny):
    run, *_ = tiny.plan(seeds=1)
    note_state(run, State.RUNNING, launcher="local")
    shutil.rmtree(run.path)
    note_state(run, State.FAILED, "why")
    with pytest.raises(UserError, match=f"{run.name} was deleted; launch the grid again"):
        attempt_folder(run, 1)
    assert not run.path.exists()
    assert tiny.call("local", "--status") == 0
