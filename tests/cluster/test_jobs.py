"""From sbatch to result.json on a real cluster, whatever dies in between."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

from artnet.rundir import RunDir

from .conftest import HERE

LONG = {"train.epochs": 500}  # it is stopped, not waited for


def complete(run: RunDir) -> bool:
    return run.result() is not None and run.state().state == "complete"


def training(run: RunDir) -> bool:
    return len(run.metrics()) > 2


def outcomes(run: RunDir) -> list[str]:
    return [attempt.get("outcome", "") for attempt in run.run().get("attempts", [])]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def trainings(run: RunDir) -> set[int]:
    """The processes that train this run."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().split(b"\0")
            if b"artnet.train" in words and os.fsencode(run.path) in words:
                found.add(int(file.parent.name))
    return found


def cluster(script: str, *arguments: str) -> None:
    subprocess.run([HERE / script, *arguments], check=True, capture_output=True, timeout=120)


def test_a_killed_launcher_leaves_jobs_that_lack_nothing_and_are_found_again(sweep):
    tiny = sweep(seeds=2, env_from=["ARTNET_SECRET"])
    secret = secrets.token_hex(16)
    tiny.environment["ARTNET_SECRET"] = secret
    tiny.wrap("sbatch", 'echo x >> "$0.calls"; "$REAL" --hold "$@"; kill -9 $PPID')
    assert tiny.submit().returncode == -signal.SIGKILL
    assert [(run.state().state, run.state().job) for run in tiny.runs] == [("submitting", None)] * 2
    again = tiny.submit()
    assert again.returncode == 0, again.stderr
    assert "2 pending" in again.stdout
    assert "to start" not in again.stdout
    subprocess.run(["scontrol", "release", *(run.state().job for run in tiny.runs)], check=True)
    tiny.wait(complete)
    assert (tiny.programs / "sbatch.calls").read_text().count("x") == 1
    assert [outcomes(run) for run in tiny.runs] == [["complete"], ["complete"]]
    written = [file for file in tiny.folder.rglob("*") if file.is_file()]
    assert not [file for file in written if secret.encode() in file.read_bytes()]


def test_quotes_and_line_ends_in_names_do_no_harm(sweep):
    tiny = sweep(within="it's\n$HOME %j \"; exit 1 #", fixed={"train.epochs": 1})
    assert tiny.submit().returncode == 0
    tiny.wait(complete)
    assert [log.read_text().count("complete") for log in (tiny.folder / "slurm").glob("*_0.log")] == [1]


def test_options_of_sbatch_and_srun_arrive_as_they_are_written(sweep):
    odd = 'it\'s "odd" #1 $(touch x) `y` %j'
    slurm = {
        "sbatch": {"comment": odd, "exclusive": True, "mail_type": ["END", "FAIL"], "mail_user": "a@b"},
        "srun": {"job_name": odd, "mpi": "none"},
        # The whole node, so also its GPUs, which are empty files.
        "wrapper": "env CUDA_VISIBLE_DEVICES= 'ARTNET_INSIDE=a b'",
    }
    tiny = sweep(slurm=slurm, fixed=LONG)
    assert tiny.submit().returncode == 0
    tiny.wait(training)
    (run,) = tiny.runs

    def shown(what: str, name: str) -> list[str]:
        answer = subprocess.run(["scontrol", "show", what, name], capture_output=True, text=True, check=True)
        return [line.strip() for line in answer.stdout.splitlines()]

    job = shown("job", run.state().job)
    assert {f"Comment={odd}", "MailUser=a@b MailType=END,FAIL"} <= set(job)
    assert any(line.startswith("OverSubscribe=NO ") for line in job)
    assert any(f" Name={odd} Network=" in line for line in shown("step", f"{run.state().job}.0"))
    assert b"ARTNET_INSIDE=a b" in Path(f"/proc/{run.run()['attempts'][0]['pid']}/environ").read_bytes().split(b"\0")


def test_a_job_that_was_submitted_again_since_leaves_the_run_alone(sweep):
    tiny = sweep(seeds=1)
    # The launcher dies, and its sbatch reaches SLURM only after another launcher has looked.
    tiny.wrap("sbatch", 'kill -9 $PPID; until [ -e "$0.go" ]; do sleep 0.1; done; exec "$REAL" "$@"')
    assert tiny.submit().returncode == -signal.SIGKILL
    (tiny.programs / "sbatch").unlink()
    assert "1 to start" in tiny.submit().stdout
    (tiny.programs / "sbatch.go").touch()
    tiny.wait(complete)
    until = time.monotonic() + 60
    while not any("submitted again" in log.read_text() for log in (tiny.folder / "slurm").glob("*.log")):
        assert time.monotonic() < until, tiny.story()
        time.sleep(0.5)
    assert outcomes(tiny.runs[0]) == ["complete"]


def test_arrays_are_split_where_the_cluster_takes_no_longer_ones(sweep):
    tiny = sweep(seeds=3, slurm={"max_parallel": 4})
    tiny.wrap("scontrol", 'if [ "$2" = config ]; then echo "MaxArraySize            = 2"; else "$REAL" "$@"; fi')
    tiny.wrap("sbatch", 'printf "%s\\n" "$@" >> "$0.calls"; exec "$REAL" "$@"')
    ended = tiny.submit()
    assert ended.returncode == 0, ended.stderr
    assert sorted(len(array["runs"]) for array in tiny.arrays) == [1, 2]
    said = (tiny.programs / "sbatch.calls").read_text()
    assert "--array=0-0%1" in said
    assert "--array=0-1%2" in said
    assert "to start" not in tiny.submit().stdout
    tiny.wait(complete)
    assert all(outcomes(run) == ["complete"] for run in tiny.runs)


def test_a_preempted_job_goes_on_from_its_checkpoint(sweep):
    tiny = sweep(slurm={"partition": "low", "requeue": 0}, fixed={"train.epochs": 12})
    assert tiny.submit().returncode == 0
    tiny.wait(training)
    (run,) = tiny.runs
    node = run.run()["attempts"][0]["host"]
    high = ["sbatch", "--partition=high", "--exclusive", f"--nodelist={node}", "--output=/dev/null", "--parsable"]
    job = subprocess.run([*high, "--wrap=sleep 5"], check=True, capture_output=True, text=True).stdout.strip()
    tiny.wait(complete)
    subprocess.run(["scancel", job], check=False)
    assert outcomes(run) == ["stopped", "complete"]
    assert run.run()["attempts"][1]["from_step"] > 0
    assert '"outcome": "preempted"' in (run.attempts / "001" / "job.json").read_text()


def test_out_of_time_with_the_budget_used_up_is_timed_out(sweep):
    # SLURM sends its signal up to a minute earlier than it was asked to.
    tiny = sweep(slurm={"time": "0:03:00", "requeue": 0}, fixed=LONG)
    assert tiny.submit().returncode == 0
    tiny.wait(lambda run: run.state().state == "timed_out")
    (run,) = tiny.runs
    assert "ran out of time 1 time, and `requeue: 0` is used up" in run.state().reason
    assert outcomes(run) == ["stopped"]
    assert "1 timed out (--retry resumes it)" in tiny.submit().stdout


def test_a_run_outlives_its_node(sweep):
    tiny = sweep(fixed={"train.epochs": 12})
    assert tiny.submit().returncode == 0
    tiny.wait(lambda run: (run.checkpoints / "last.pt").exists())
    (run,) = tiny.runs
    node = run.run()["attempts"][0]["host"]
    try:
        cluster("kill-node.sh", node)
        tiny.wait(complete)
    finally:
        cluster("up.sh")
    assert outcomes(run)[-1] == "complete"
    assert run.run()["attempts"][1]["from_step"] > 0


# The cluster's GPUs are empty files, which a training would refuse.
NO_GPU = """
import os, sys
if "artnet.train" in sys.orig_argv:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
"""


def test_ranks_on_two_nodes_train_one_run_even_submitted_from_inside_a_job(sweep, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_GPU)
    setup = [f"export PYTHONPATH={tmp_path}"]
    tiny = sweep(slurm={"nodes": 2, "gpus_per_node": 1, "cpus_per_task": 2, "setup": setup})
    tiny.environment |= {
        "SLURM_JOB_ID": "1", "SLURM_NTASKS": "7", "SLURM_MEM_PER_NODE": "1", "SLURM_ARRAY_TASK_ID": "5",
        "SBATCH_JOB_NAME": "mine", "MASTER_PORT": "1", "RANK": "3", "WORLD_SIZE": "7",
    }  # fmt: skip
    assert tiny.submit().returncode == 0
    tiny.wait(training)
    (run,) = tiny.runs
    seen = Path(f"/proc/{run.run()['attempts'][0]['pid']}/environ").read_bytes().decode().split("\0")
    environment = dict(line.split("=", 1) for line in seen if "=" in line)
    assert environment["SRUN_CPUS_PER_TASK"] == "2"
    assert environment["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    assert environment["MASTER_PORT"] == str(20_000 + int(environment["SLURM_JOB_ID"]) % 12_000)
    tiny.wait(complete)
    assert run.run()["attempts"][0]["world_size"] == 2
    together = sweep(slurm={"tasks_per_node": 2, "cpus_per_task": 2}, within="together")
    assert together.submit().returncode == 0
    together.wait(complete)
    assert together.runs[0].result().tasks == run.result().tasks


def test_a_killed_task_is_resumed_by_the_next_launch(sweep):
    tiny = sweep(fixed=LONG)
    assert tiny.submit().returncode == 0
    tiny.wait(training)
    (run,) = tiny.runs
    os.kill(parent(run.run()["attempts"][0]["pid"]), signal.SIGKILL)
    until = time.monotonic() + 60
    while "1 to resume" not in (said := tiny.submit("--dry-run").stdout):
        assert time.monotonic() < until, said + tiny.story()
        (tiny.folder / "slurm" / "answer.json").unlink(missing_ok=True)
        time.sleep(1)
    while run.is_locked():
        assert time.monotonic() < until, "the training outlived its task"
        time.sleep(0.2)


@pytest.mark.parametrize("victim", ["training", "task"])
def test_a_killed_rank_interrupts_the_run_and_does_not_fail_it(sweep, victim):
    tiny = sweep(slurm={"tasks_per_node": 2}, fixed={"train.epochs": 12, "train.checkpoint_minutes": 0.01})
    assert tiny.submit().returncode == 0
    tiny.wait(lambda run: (run.checkpoints / "last.pt").exists())
    (run,) = tiny.runs
    first = run.run()["attempts"][0]["pid"]
    (second,) = trainings(run) - {first}
    os.kill(second if victim == "training" else parent(second), signal.SIGKILL)
    # SLURM kills the other task some seconds later, on a busy machine before it has noted anything.
    tiny.wait(lambda run: run.state().state not in ("running", "pending") or run.state().job not in tiny.queue())
    state = run.state()
    assert state.state in ("interrupted" if victim == "training" else "requeued", "running"), tiny.story()
    if state.state != "running":
        assert ("rank 1: killed by SIGKILL" in state.reason) == (victim == "training")
    tiny.submit()
    tiny.wait(complete)
    assert run.run()["attempts"][1]["from_step"] > 0


def test_a_rank_that_cannot_begin_fails_the_run_in_its_own_words(sweep, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('RANK') == '1' and 'artnet.train' in sys.orig_argv:\n"
        "    os.write(2, b'error: no paintings on this node\\n')\n"
        "    os._exit(2)\n"
    )
    tiny = sweep(slurm={"tasks_per_node": 2, "setup": [f"export PYTHONPATH={tmp_path}"]})
    assert tiny.submit().returncode == 0
    tiny.wait(lambda run: run.state().state == "failed")
    assert tiny.runs[0].state().reason == "rank 1: no paintings on this node"


def test_a_cancelled_run_is_cancelled_and_stays_so(sweep):
    tiny = sweep(fixed=LONG)
    assert tiny.submit().returncode == 0
    tiny.wait(training)
    (run,) = tiny.runs
    subprocess.run(["scancel", run.state().job], check=True)
    until = time.monotonic() + 60
    while "1 cancelled" not in (said := tiny.submit().stdout):
        assert "1 running" in said
        assert time.monotonic() < until, tiny.story()
        time.sleep(1)
    assert run.state().state == "cancelled"


def test_status_asks_slurm_at_most_three_times_and_not_again_within_30_s(sweep):
    tiny = sweep(seeds=3, fixed=LONG)
    assert tiny.submit().returncode == 0
    for program in ("squeue", "sacct", "scontrol", "sinfo", "sacctmgr"):
        tiny.wrap(program, f'echo {program} >> "{tiny.programs}/asked"; exec "$REAL" "$@"')
    (tiny.folder / "slurm" / "answer.json").unlink(missing_ok=True)
    for _ in range(3):
        assert tiny.submit("--dry-run").returncode == 0
    assert len((tiny.programs / "asked").read_text().split()) <= 3
