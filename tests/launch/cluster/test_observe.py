"""What becomes of a run by what SLURM says of its job."""

from pathlib import Path

import pytest

from artnet.rundir import RunDir, write_json
from launch.cluster import observe
from launch.cluster.queue import Answer, QueueEntry
from launch.cluster.reasons import in_words
from launch.sweep.folder import note_state
from launch.sweep.state import Found, State


def note(path: Path, state: State, reason: str = "", **details: object) -> RunDir:
    """A run in this folder, of which this is noted."""
    run = RunDir(path)
    path.mkdir(exist_ok=True)
    run.config_file.touch()
    note_state(run, state, reason, launcher="slurm", job_name="artnet-x", position=0, **details)
    return run


def judge(path: Path, job: QueueEntry | None, answer: Answer) -> Found:
    return observe.judge(RunDir(path), RunDir(path).state(), job, answer)


@pytest.mark.parametrize(
    ("noted", "job", "answer", "expected"),
    [
        ("running", QueueEntry("1_0", "RUNNING", "node1"), Answer({}), State.RUNNING),
        ("requeued", QueueEntry("1_0", "PENDING", reason="BeginTime"), Answer({}), State.PENDING),
        ("running", None, Answer({}, "down", queue_known=False, history_known=False), State.UNKNOWN),
        ("running", None, Answer({}, "down", history_known=False), State.UNKNOWN),
        ("running", None, Answer({}), State.INTERRUPTED),
        ("submitting", None, Answer({}), State.PLANNED),
        ("submitting", None, Answer({}, "down", history_known=False), State.UNKNOWN),
        ("interrupted", QueueEntry("1_0", "FAILED", exit_code="1:0"), Answer({}), State.INTERRUPTED),
        ("interrupted", QueueEntry("1_0", "OUT_OF_MEMORY"), Answer({}), State.OUT_OF_MEMORY),
        ("running", QueueEntry("1_0", "COMPLETED"), Answer({}), State.FAILED),
    ],
)
def test_a_run_is_judged_by_slurm_and_by_what_its_job_noted(tmp_path, noted, job, answer, expected):
    note(tmp_path, State(noted))
    assert judge(tmp_path, job, answer).state is expected


def test_a_run_that_says_it_failed_has_failed_where_slurm_has_forgotten_it(tmp_path):
    note(tmp_path, State.RUNNING)
    write_json(tmp_path / "run.json", {"attempts": [{"outcome": "failed: no more"}]})
    assert judge(tmp_path, None, Answer({})) == Found(State.FAILED, "no more")


def test_a_run_whose_job_slurm_holds_for_good_is_resumed_by_a_new_one(tmp_path):
    note(tmp_path, State.REQUEUED, "preempted")
    held = QueueEntry("7_0", "REQUEUE_HOLD", reason="JobHoldMaxRequeue")
    assert judge(tmp_path, held, Answer({})).state is State.INTERRUPTED
    assert judge(tmp_path, QueueEntry("7_0", "REQUEUE_HOLD"), Answer({})).state is State.REQUEUED


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (["0: error: no such module", "srun: error: node1: task 0: Exited"], (State.FAILED, ", no such module")),
        (
            [
                "0: 12: a number",
                "srun: error: Unable to create step for job 7: Job/step already completing or completed",
            ],
            (State.INTERRUPTED, "completed"),
        ),
        ([], (State.FAILED, "FAILED (exit code 1:0)")),
    ],
)
def test_a_job_without_an_outcome_tells_it_by_its_log(tmp_path, log, found):
    run = note(tmp_path / "run", State.PENDING)
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "7_0.log").write_text("\n".join(log))
    judged = judge(run.path, QueueEntry("7_0", "FAILED", exit_code="1:0"), Answer({}))
    assert judged.state is found[0]
    assert judged.reason.endswith(found[1])


def test_a_run_whose_lock_is_held_is_alive_whatever_a_scheduler_says(tmp_path):
    run = note(tmp_path, State.RUNNING)
    failed = QueueEntry("7_0", "FAILED", exit_code="1:0")
    with run.locked():
        for job, answer in ((failed, Answer({})), (None, Answer({})), (None, Answer({}, "down", queue_known=False))):
            assert judge(tmp_path, job, answer).state is State.RUNNING
        assert observe.judge_here(run, run.state()).state is State.RUNNING
    assert judge(tmp_path, failed, Answer({})).state is State.FAILED
    found = observe.judge_here(run, run.state())
    assert (found.state, found.reason) == (State.INTERRUPTED, "its process is gone")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("JobArrayTaskLimit", "waits for max_parallel"),
        ("QOSMaxJobsPerUserLimit", "waits for a limit of its quality of service (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpGRES", "waits for a limit of its account (AssocGrpGRES)"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-2]",
         "nodes that it needs are down or reserved, UnavailableNodes:node[1-2]"),
        ("NewInSlurm30", "NewInSlurm30"),
        ("", ""),
    ],
)  # fmt: skip
def test_slurms_reasons_are_said_in_words(word, said):
    assert in_words(word) == said
