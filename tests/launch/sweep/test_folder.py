"""The state of a run by its folder alone."""

import pytest

from artnet.rundir import RunDir, RunState
from launch.sweep.folder import find_run
from launch.sweep.state import Found, State


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
