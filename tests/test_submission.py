"""What SLURM says, read; and what becomes of a run by it. All without a cluster."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from artnet.rundir import RunDir, write_json
from launch.cluster import observe as sight
from launch.cluster import queue as scheduler
from launch.cluster import submit as submission
from launch.cluster.executor import SlurmArrayExecutor, scrubbed
from launch.cluster.job_array import Array
from launch.cluster.queue import Answer, Job, Stop, read_elements, read_history, read_queue, read_stop
from launch.sweep import folder as rundir
from launch.sweep.plan import Found
from launch.sweep.state import Start, State, from_slurm, refusal
from tests.conftest import ROOT, TINY, python


def judge(path: Path, job: Job | None, answer: Answer) -> Found:
    return sight.judge(RunDir(path), RunDir(path).state(), job, answer)


def queue_line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, scheduler.QUEUE_COLUMNS.values(), strict=True))


def test_a_line_of_squeue_is_a_job_by_its_name_and_place():
    text = "\n".join(
        [
            queue_line("12_3", "RUNNING", "node[1-2]", "None", "1:58", "0", "artnet-a|b-1"),
            queue_line("12_4", "FAILED", "node1", "NonZeroExit", "0:00", "35072", "artnet-a"),
            "slurm_load_jobs error: not a job",
        ]
    )
    jobs = read_queue(text)
    assert jobs == {
        ("artnet-a|b-1", 3): Job("12_3", "RUNNING", "node[1-2]", "", "1:58", "0:0"),
        ("artnet-a", 4): Job("12_4", "FAILED", "node1", "NonZeroExit", "0:00", "137:0"),
    }


def test_the_last_time_that_accounting_saw_a_job_counts_and_ranges_are_all_their_elements():
    jobs = read_history(
        "12_0|NODE_FAIL|node1|None|0:0|artnet-a\n"
        "12_0|COMPLETED|node2|None|0:0|artnet-a\n"
        "12_[1-2,5%2]|CANCELLED by 0|None assigned|None|0:0|artnet-a\n"
    )
    assert jobs["artnet-a", 0].node == "node2"
    assert [jobs["artnet-a", place].id for place in (1, 2, 5)] == ["12_1", "12_2", "12_5"]
    assert len(jobs) == 4


def test_elements_of_arrays():
    assert read_elements("") == [0]
    assert read_elements("3") == [3]
    assert read_elements("[0-4:2,7%4]") == [0, 2, 4, 7]
    with pytest.raises(ValueError, match="names no elements"):
        read_elements("[0-")


def test_every_word_of_slurm_has_a_meaning_and_new_ones_are_unknown():
    words = (
        "PENDING RUNNING SUSPENDED COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE "
        "OUT_OF_MEMORY COMPLETING CONFIGURING LAUNCH_FAILED POWER_UP_NODE RECONFIG_FAIL REQUEUED REQUEUE_FED "
        "REQUEUE_HOLD RESIZING RESV_DEL_HOLD REVOKED SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED UPDATE_DB EXPEDITING"
    )
    assert State.UNKNOWN not in map(from_slurm, words.split())
    assert from_slurm("CANCELLED+") is State.CANCELLED
    assert from_slurm("BRAND_NEW") is State.UNKNOWN


def test_a_job_that_somebody_killed_has_not_failed():
    assert from_slurm("FAILED", "137:0") is State.INTERRUPTED
    assert from_slurm("FAILED", "0:9") is State.INTERRUPTED
    assert from_slurm("FAILED", "9:0") is State.INTERRUPTED
    assert from_slurm("FAILED", "2:0") is State.FAILED
    assert from_slurm("FAILED", "75:0") is State.INTERRUPTED
    assert from_slurm("FAILED", "1:0") is State.FAILED
    assert from_slurm("FAILED", "139:0") is State.FAILED
    assert from_slurm("OUT_OF_MEMORY", "0:9") is State.OUT_OF_MEMORY


def test_time_outs_and_lost_nodes_use_up_the_budget_and_preemptions_do_not():
    starts = [Start("timed out", 0), Start("preempted", 1), Start("", 2)]
    assert refusal(starts, 3, budget=2) is None
    state, reason = refusal(starts, 3, budget=1)
    assert state is State.NODE_FAILED
    assert reason.startswith("ran out of time 1 time and was lost with its node 1 time, and `requeue: 1` is used up")
    assert refusal(starts[:1], 1, budget=0)[0] is State.TIMED_OUT
    assert refusal([Start("preempted", n) for n in range(9)], 9, budget=0) is None


def test_a_job_that_never_begins_to_train_goes_on_once_only():
    assert refusal([Start("timed out", 2)], 2, budget=9) is None
    assert refusal([Start("timed out", 2), Start("told to stop", 2)], 2, budget=9) == (
        State.FAILED, "never began to train, 2 times in a row",
    )  # fmt: skip
    assert refusal([Start("timed out", 0), Start("", 0), Start("timed out", 0)], 1, budget=9) is None
    assert refusal([Start("preempted", 0), Start("", 0)] * 2, 0, budget=9) is None


def test_why_a_job_was_stopped():
    soon = datetime.fromtimestamp(time.time() + 100).isoformat(timespec="seconds")
    late = datetime.fromtimestamp(time.time() + 9999).isoformat(timespec="seconds")
    running = "JobState=RUNNING Restarts=1 PreemptTime=None EndTime="
    assert read_stop(running + soon, 1, 180) == Stop("timed out")
    assert read_stop(running + late, 1, 180) == Stop("told to stop")
    assert read_stop(f"JobState=RUNNING Restarts=1 EndTime={soon} PreemptTime={soon}", 1, 180) == Stop("preempted")
    assert read_stop("JobState=COMPLETING Restarts=2", 1, 180) == Stop("preempted", in_queue=True)
    assert read_stop("JobState=COMPLETING Restarts=1", 1, 180) == Stop("cancelled")


@pytest.mark.parametrize(
    ("noted", "job", "answer", "expected"),
    [
        ("running", Job("1_0", "RUNNING", "node1"), Answer({}), State.RUNNING),
        ("requeued", Job("1_0", "PENDING", reason="BeginTime"), Answer({}), State.PENDING),
        ("running", None, Answer({}, "down", queue_known=False, history_known=False), State.UNKNOWN),
        ("running", None, Answer({}, "down", history_known=False), State.UNKNOWN),
        ("running", None, Answer({}), State.INTERRUPTED),
        ("submitting", None, Answer({}), State.PLANNED),
        ("submitting", None, Answer({}, "down", history_known=False), State.UNKNOWN),
        ("interrupted", Job("1_0", "FAILED", exit_code="1:0"), Answer({}), State.INTERRUPTED),
        ("interrupted", Job("1_0", "OUT_OF_MEMORY"), Answer({}), State.OUT_OF_MEMORY),
        ("running", Job("1_0", "COMPLETED"), Answer({}), State.FAILED),
    ],
)
def test_a_run_is_judged_by_slurm_and_by_what_its_job_noted(tmp_path, noted, job, answer, expected):
    rundir.note_state(RunDir(tmp_path), State(noted), launcher="slurm", job_name="artnet-x", position=0)
    assert judge(tmp_path, job, answer).state is expected


def test_a_run_that_says_it_failed_has_failed_where_slurm_has_forgotten_it(tmp_path):
    rundir.note_state(RunDir(tmp_path), State.RUNNING, launcher="slurm", job_name="artnet-x", position=0)
    write_json(tmp_path / "run.json", {"attempts": [{"outcome": "failed: no more"}]})
    assert judge(tmp_path, None, Answer({})) == Found(State.FAILED, "no more")


def test_a_run_whose_job_slurm_holds_for_good_is_resumed_by_a_new_one(tmp_path):
    rundir.note_state(RunDir(tmp_path), State.REQUEUED, "preempted", launcher="slurm", job_name="artnet-x", position=0)
    held = Job("7_0", "REQUEUE_HOLD", reason="JobHoldMaxRequeue")
    assert judge(tmp_path, held, Answer({})).state is State.INTERRUPTED
    assert judge(tmp_path, Job("7_0", "REQUEUE_HOLD"), Answer({})).state is State.REQUEUED


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
    run = RunDir(tmp_path / "run")
    rundir.note_state(run, State.PENDING, launcher="slurm", job_name="artnet-x", position=0)
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "7_0.log").write_text("\n".join(log))
    judged = judge(run.path, Job("7_0", "FAILED", exit_code="1:0"), Answer({}))
    assert judged.state is found[0]
    assert judged.reason.endswith(found[1])


def test_groups_are_split_evenly_and_lose_nothing():
    assert [list(part) for part in submission.split(range(3), 2)] == [[0], [1, 2]]
    assert [len(part) for part in submission.split(range(1000), 300)] == [250] * 4
    assert [len(part) for part in submission.split(range(2), 0)] == [1, 1]


def test_arrays_share_the_jobs_that_run_at_a_time():
    assert [submission.share(8, part, 54) for part in (50, 4)] == [7, 1]
    assert [submission.share(room, 3, 3) for room in (256, 2, 0, -4)] == [256, 2, 1, 1]


def test_an_answer_is_kept_for_30_s_but_not_for_other_jobs(tmp_path, monkeypatch):
    asked = []
    known = Answer({("a", 0): Job("1_0", "RUNNING", "node1")}, "accounting is down", history_known=False)
    monkeypatch.setattr(scheduler, "ask", lambda names, places, since: asked.append(names) or known)
    now = datetime.now()
    assert scheduler.ask_again(tmp_path, {"a"}, [("a", 0)], now) == known
    assert scheduler.ask_again(tmp_path, {"a"}, [("a", 0)], now) == known
    assert len(asked) == 1
    scheduler.ask_again(tmp_path, {"a", "b"}, [("a", 0), ("b", 0)], now)
    assert len(asked) == 2
    monkeypatch.setattr(scheduler, "ASK_EVERY_S", 0)
    scheduler.ask_again(tmp_path, {"a"}, [("a", 0)], now)
    assert len(asked) == 3


def test_what_a_surrounding_job_has_set_is_not_passed_on(monkeypatch):
    values = {
        "SLURM_CONF": "/etc/c", "SLURM_JOB_ID": "7", "SRUN_DEBUG": "3", "MASTER_PORT": "1", "RANK": "2",
        "SBATCH_ACCOUNT": "art", "SBATCH_JOB_NAME": "mine", "ARTNET_SECRET": "x",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with scrubbed():
        assert {name for name in values if name in os.environ} == {"SLURM_CONF", "ARTNET_SECRET"}
    assert {name: os.environ[name] for name in values} == values


def test_names_with_quotes_and_line_ends_reach_the_shell_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(SlurmArrayExecutor, "affinity", classmethod(lambda cls: 2))
    folder = tmp_path / 'it\'s %j\n"odd"'
    executor = SlurmArrayExecutor(folder)
    executor.update_parameters(time=5, array_parallelism=4, signal_delay_s=30, setup=["module load cuda"])
    executor._count, executor._code = 2, folder
    command = executor._make_submission_command(folder / "a.sh")
    assert f"--output={str(folder).replace('%', '%%')}/%A_%a.log" in command
    assert "--array=0-1%2" in command
    text = executor._make_submission_file_text("true", "").replace("exec srun", 'printf %s "$PYTHONPATH"; :')
    shown = subprocess.run(["bash", "-c", text.replace("module load cuda", ":")], capture_output=True, text=True,
                           env={"PATH": os.environ["PATH"]})  # fmt: skip
    assert shown.stdout == str(folder)


def test_an_array_is_read_as_it_was_written(tmp_path):
    array = Array(Array.new_name(tmp_path / "my sweep"), "2026-11-25T21:00:00+00:00", ["a", "b"], [1, 3], 60, 120, 3)
    file = array.write(tmp_path)
    assert Array.read(file) == array
    assert array.run(file, 1).path == tmp_path / "b"
    assert " " not in array.name


@pytest.fixture
def tiny_grid(tmp_path, shards):
    def write(**fixed: object):
        grid = {"name": "tiny", "fixed": {**TINY, "data.shards": str(shards), **fixed}, "parameters": {"seed": [0]}}
        file = tmp_path / "grid.yaml"
        file.write_text(yaml.safe_dump(grid))
        return file

    return write


def launch(grid, cluster):
    ended = python("launch/slurm.py", "--grid", grid, "--runs", grid.parent / "runs", "--cluster", cluster)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, *map(RunDir, (grid.parent / "runs" / "tiny").glob("resnet18*"))


def test_without_slurm_a_run_is_trained_in_this_process(tiny_grid):
    grid = tiny_grid()
    said, run = launch(grid, "debug")
    assert "1 to start" in said
    assert run.result()
    assert run.state()["state"] == "complete"
    assert "1 complete" in launch(grid, "debug")[0]


def test_a_preempted_job_checkpoints_and_goes_on(tiny_grid):
    grid = tiny_grid(**{"train.epochs": 3})
    command = [sys.executable, "launch/slurm.py", "--grid", grid, "--runs", grid.parent / "runs", "--cluster", "local"]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (run,) = map(RunDir, (grid.parent / "runs" / "tiny").glob("resnet18*"))
    while len(run.metrics()) < 2:
        assert run.state()["state"] in ("pending", "running")
        time.sleep(0.05)
    assert "1 running" in launch(grid, "local")[0]
    training = run.run()["attempts"][0]["pid"]
    os.kill(int(Path(f"/proc/{training}/stat").read_text().split()[3]), signal.SIGUSR2)  # its parent: the job
    while (state := run.state()["state"]) != "complete":
        assert state in ("running", "requeued")
        time.sleep(0.1)
    attempts = run.run()["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["stopped", "complete"]
    assert attempts[1]["from_step"] > 0
    assert '"outcome": "told to stop"' in (run.attempts / "001" / "job.json").read_text()
