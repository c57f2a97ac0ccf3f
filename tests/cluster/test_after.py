"""Jobs that wait for the jobs of another sweep."""

import time


def test_jobs_start_when_those_of_another_sweep_have_ended_well_and_the_last_runs_a_command(sweep, tmp_path):
    earlier = sweep(seeds=1, within="earlier", fixed={"train.epochs": 3})
    assert earlier.submit().returncode == 0
    source = {"sweep": str(earlier.folder), "when": {"train": {"epochs": 3}}}
    told = ["sh", "-c", f"echo $ARTNET_COMPLETE of $ARTNET_TOTAL > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/told"]
    later = sweep(seeds=2, within="later", after=str(earlier.folder), fixed={"init_from": source}, on_end=told)
    submitted = later.submit()
    assert submitted.returncode == 0, submitted.stderr
    assert "the runs wait for 1 of its jobs to end well" in submitted.stderr
    assert "waits for another job" in later.submit("--status").stdout
    later.wait(lambda run: run.result())
    (first,) = earlier.runs
    assert first.result()
    assert all(run.config().init_from == str(first.path) for run in later.runs)
    until = time.monotonic() + 120
    while not (tmp_path / "told").exists():
        assert time.monotonic() < until, later.story()
        time.sleep(0.2)
    assert (tmp_path / "told").read_text() == "2 of 2\n"
    assert (later.folder / "report.html").exists()
    again = later.submit()
    assert "2 complete" in again.stdout, again.stdout + again.stderr


def test_jobs_are_cancelled_when_one_of_those_that_they_wait_for_ends_badly(sweep):
    too_long = {"optim.warmup": 999, "optim.warmup_unit": "steps"}  # longer than the run, which fails
    earlier = sweep(seeds=1, within="earlier", fixed=too_long)
    assert earlier.submit("--requeue", "0").returncode == 0
    later = sweep(seeds=1, within="later", after=str(earlier.folder))
    assert later.submit().returncode == 0
    until = time.monotonic() + 120
    while "cancelled" not in (status := later.submit("--status")).stdout:
        assert time.monotonic() < until, later.story()
        time.sleep(0.5)
    assert status.returncode == 1
    assert "a job that it waited for has failed" in status.stdout, status.stdout
    assert earlier.runs[0].state().state == "failed"
    refused = later.submit("--retry")
    assert refused.returncode == 2
    assert "1 of the 1 runs" in refused.stderr
