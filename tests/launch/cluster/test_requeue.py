"""Whether a job goes on."""

from launch.cluster.requeue import Start, Stop, read_stop, refusal
from launch.sweep.state import State


def test_time_outs_and_lost_nodes_use_up_the_budget_and_preemptions_do_not():
    starts = [Start("timed out", 0), Start("preempted", 1), Start("", 2)]
    assert refusal(starts, 3, budget=2) is None
    state, reason = refusal(starts, 3, budget=1)
    assert state is State.NODE_FAILED
    assert reason.startswith("ran out of time 1 time and was lost with its node 1 time, and `requeue: 1` is used up")
    assert refusal(starts[:1], 1, budget=0)[0] is State.TIMED_OUT
    state, reason = refusal([Start("timed out", 0), Start("timed out", 1)], 2, budget=1)
    assert state is State.TIMED_OUT
    assert reason.startswith("ran out of time 2 times, and")
    assert refusal([Start("preempted", n) for n in range(9)], 9, budget=0) is None


def test_a_job_that_never_begins_to_train_goes_on_once_only():
    assert refusal([Start("timed out", 2)], 2, budget=9) is None
    assert refusal([Start("timed out", 2), Start("asked to stop", 2)], 2, budget=9) == (
        State.FAILED, "never began to train, 2 times in a row",
    )  # fmt: skip
    assert refusal([Start("timed out", 0), Start("", 0), Start("timed out", 0)], 1, budget=9) is None
    assert refusal([Start("preempted", 0), Start("", 0)] * 2, 0, budget=9) is None


def test_why_a_job_was_stopped():
    running = "JobState=RUNNING Restarts=1 PreemptTime=None TimeLimit=1-00:30:00 RunTime="
    assert read_stop(running + "1-00:28:00", 1, 180) == Stop("timed out")
    assert read_stop(running + "00:28:00", 1, 180) == Stop("asked to stop")
    assert read_stop("JobState=RUNNING Restarts=1 TimeLimit=UNLIMITED RunTime=00:28:00", 1, 180) == Stop(
        "asked to stop"
    )
    assert read_stop("JobState=RUNNING", 1, 180) == Stop("asked to stop", in_queue=False)
    preempted = running + "1-00:28:00 PreemptTime=2026-11-27T20:40:30"
    assert read_stop(preempted, 1, 180) == Stop("preempted")
    assert read_stop("JobState=COMPLETING Restarts=2", 1, 180) == Stop("preempted", in_queue=True)
    assert read_stop("JobState=COMPLETING Restarts=1", 1, 180) == Stop("cancelled")
