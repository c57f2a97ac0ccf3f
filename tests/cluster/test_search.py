"""A search by workers on a real cluster, whatever dies in between. The trainings are made up, all else is real."""

import os
import signal
import subprocess
import time

import pytest

from artnet import search_log
from artnet.rundir import RunDir
from tests.conftest import ROOT
from tests.launch.search.made_up_training import SITECUSTOMIZE

from .test_jobs import cluster, parent

SPACE = {"optim.lr": {"loguniform": [0.01, 0.2]}, "data.sampler": {"choice": ["shuffle", "class_balanced"]}}

# A worker dies as it writes its first claim; the moment is written down, and those of the claims after it.
DIES = """
if "launch.search.worker" in sys.orig_argv:
    import os, time
    from launch.search import claims
    noted = claims.note_state
    def note_state(*args, **details):
        if details.get("job_name"):
            try:
                os.close(os.open({once!r}, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                with open({once!r} + ".claims", "a") as file:
                    file.write(f"{{time.time()}}\\n")
            else:
                with open({once!r}, "w") as file:
                    file.write(str(time.time()))
                os.kill(os.getpid(), 9)
        noted(*args, **details)
    claims.note_state = note_state
"""


@pytest.fixture
def search(sweep, tmp_path):
    """Write the grid of a search of runs of four epochs, which are judged after the second."""

    def make(trials, tune=None, seconds=0.5, within=".", **slurm):
        (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
        setup = [f"export PYTHONPATH={tmp_path}:{ROOT} EPOCH_S={seconds} RUNGS={'' if tune else 2}"]
        block = {"trials": trials, "startup": 3, "grace_epochs": 2, "reduction_factor": 2, **(tune or {})}
        return sweep(
            parameters=SPACE, fixed={"train.epochs": 4}, tune=block, slurm={"setup": setup, **slurm}, within=within
        )

    return make


def lines(tiny):
    return search_log.read(tiny.folder / "search.jsonl")


def asked(tiny):
    return [RunDir(tiny.folder / line.name) for line in lines(tiny)]


def ended(run):
    return run.result() is not None or run.state().stopped_epoch is not None


def wait(tiny, done, seconds=300):
    until = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < until, tiny.story()
        time.sleep(0.2)
    return found


def wait_for_end(tiny):
    """Until no worker is left, and the page is written."""
    wait(
        tiny,
        lambda: (
            "artnet-tiny" not in subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True).stdout
        ),
    )


def at_work(tiny):
    """The runs that are being trained and have closed an epoch, each with its attempt."""
    found = []
    for run in asked(tiny):
        attempts = run.run().get("attempts")
        if attempts and run.epochs() and not ended(run) and run.is_locked():
            found.append((run, attempts[-1]))
    return found


def check(tiny, trials):
    """All trials have ended, none was asked for twice, and no attempt has lost more than an epoch."""
    assert [line.n for line in lines(tiny)] == list(range(trials))
    assert len({line.signature for line in lines(tiny)}) == trials
    for run in asked(tiny):
        assert ended(run), tiny.story()
        assert [line["epoch"] for line in run.epochs()] == list(range(1, len(run.epochs()) + 1))


def test_a_search_ends_with_its_page_and_its_best_and_shows_its_workers(search):
    tiny = search(5, max_parallel=2)
    dry = tiny.submit("--dry-run")
    assert "2 workers: default partition" in dry.stdout, dry.stderr
    submitted = tiny.submit()
    assert "submitted 2 workers" in submitted.stdout, submitted.stderr
    wait(tiny, lambda: len(at_work(tiny)) > 0)
    shown = tiny.submit("--status").stdout
    assert "2 workers: " in shown
    assert any("running" in line and "job " in line for line in shown.splitlines()), shown
    wait_for_end(tiny)
    check(tiny, 5)
    assert (tiny.folder / "best.yaml").exists()
    assert (tiny.folder / "report.html").stat().st_mtime > max(run.metrics_file.stat().st_mtime for run in asked(tiny))
    assert "best: " in tiny.submit().stdout
    assert len(tiny.arrays) == 1


def test_in_a_storm_every_trial_ends_and_none_is_asked_for_twice(search):
    tiny = search(8, seconds=2, max_parallel=3, partition="low", sbatch={"exclusive": True}, requeue=6)
    assert tiny.submit().returncode == 0
    for kind in ("task", "node", "preemption", "task"):
        run, attempt = wait(tiny, lambda: at_work(tiny))[0]
        if kind == "task":
            os.kill(parent(attempt["pid"]), signal.SIGKILL)
        elif kind == "node":
            cluster("kill-node.sh", attempt["host"])
            cluster("up.sh")
        else:
            high = ["sbatch", "--partition=high", "--exclusive", f"--nodelist={attempt['host']}", "--output=/dev/null"]
            subprocess.run([*high, "--wrap=true"], check=True, capture_output=True)
        wait(tiny, lambda run=run, before=attempt: ended(run) or run.run()["attempts"][-1] != before)
    wait_for_end(tiny)
    check(tiny, 8)
    for run in asked(tiny):
        for lost, attempt in zip(run.run()["attempts"], run.run()["attempts"][1:], strict=False):
            assert attempt["from_step"] > lost["from_step"] - 1


def test_a_worker_that_is_killed_while_it_holds_the_lock_is_not_waited_for(search, tmp_path):
    # The first one to ask dies with the line written, before the claim.
    tiny = search(3, max_parallel=2)
    once = tmp_path / "once"
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE + DIES.format(once=str(once)))
    assert tiny.submit().returncode == 0
    wait_for_end(tiny)
    died = float(once.read_text())
    check(tiny, 3)
    claims = sorted(float(line) for line in (tmp_path / "once.claims").read_text().split())
    assert claims[0] - died < 2, (died, claims)


def test_everything_is_cancelled_and_the_same_command_asks_for_the_rest(search):
    tiny = search(6, seconds=2, max_parallel=2)
    assert tiny.submit().returncode == 0
    wait(tiny, lambda: len(at_work(tiny)) == 2)
    stopped = tiny.submit("--cancel", "--yes")
    assert stopped.returncode == 0, stopped.stderr
    assert not [job for job in subprocess.run(
        ["squeue", "--noheader", "--format=%j", "--states=RUNNING,PENDING"], capture_output=True, text=True
    ).stdout.split() if job in {array["name"] for array in tiny.arrays}]  # fmt: skip
    cancelled = [run for run in asked(tiny) if run.state().state == "cancelled"]
    assert cancelled
    before = len(lines(tiny))
    again = tiny.submit()
    assert "submitted 2 workers" in again.stdout, again.stderr
    wait_for_end(tiny)
    assert len(lines(tiny)) == 6 > before
    assert [run.name for run in asked(tiny) if not ended(run)] == [run.name for run in cancelled]
    assert tiny.submit("--retry").returncode == 0
    wait_for_end(tiny)
    check(tiny, 6)


def test_a_run_alone_is_cancelled_and_its_worker_goes_on(search):
    tiny = search(3, seconds=2, max_parallel=1)
    assert tiny.submit().returncode == 0
    (run, _), *_ = wait(tiny, lambda: at_work(tiny))
    stopped = tiny.submit("--cancel", "--id", run.name, "--yes")
    assert stopped.returncode == 0, stopped.stderr
    wait_for_end(tiny)
    assert [each.name for each in asked(tiny) if not ended(each)] == [run.name]
    assert len(lines(tiny)) == 3


def test_ranks_train_the_runs_of_a_search_together(search):
    tiny = search(2, max_parallel=1, tasks_per_node=2, nodes=2)
    assert tiny.submit().returncode == 0
    wait_for_end(tiny)
    check(tiny, 2)


@pytest.mark.slow
def test_one_worker_asks_for_what_ray_asks_for(search):
    slurm, ray = search(10, max_parallel=1), search(10, within="ray")
    assert slurm.submit().returncode == 0
    variables = {"PYTHONPATH": f"{slurm.programs.parent}:{ROOT}", "EPOCH_S": "0.5", "RUNGS": "2"}
    block = ray.launch("tune", "--max-parallel", "1", **variables)
    assert block.returncode == 0, block.stderr
    wait_for_end(slurm)
    assert [line.values for line in lines(slurm)] == [line.values for line in lines(ray)]
    assert [run.state().stopped_epoch for run in asked(slurm)] == [run.state().stopped_epoch for run in asked(ray)]
