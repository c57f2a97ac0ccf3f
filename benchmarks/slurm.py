"""`python benchmarks/slurm.py bars | storm`: launch/slurm.py on the cluster of tests/cluster (`up.sh` first).

`bars` times the commands on a grid of 1,000 runs and counts their scheduler commands. `storm` trains a grid while
tasks, nodes and launchers are killed and jobs preempted, and compares every result with that of an undisturbed
training.
"""

import argparse
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from artnet.rundir import RunDir
from shards.demo import dataset as demo
from shards.pack import pack

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr", "scancel")
TINY = {
    "recipe": "modern",
    "task": "style",
    "model.backbone": "resnet18",
    "data.size": 33,
    "data.threads": 1,
    "augment.policy": "none",
    "train.batch_size": 16,
    "train.log_every": 1,
}


@dataclass
class Bench:
    """A folder with paintings, a grid, and wrappers of SLURM's programs that come first on PATH."""

    folder: Path

    @property
    def sweep(self) -> Path:
        return self.folder / "runs" / "bench"

    @property
    def runs(self) -> list[RunDir]:
        manifest = json.loads((self.sweep / "manifest.json").read_text())
        return [RunDir(self.sweep / run["name"]) for run in manifest["runs"]]

    def prepare(self, runs: int, epochs: int, slurm: dict[str, object]) -> None:
        """Paint, pack and write the grid."""
        demo.write(self.folder / "paintings", paintings=200, seed=0)
        pack(self.folder / "paintings/images", self.folder / "paintings/labels", self.folder / "shards")
        fixed = {**TINY, "train.epochs": epochs, "data.shards": str(self.folder / "shards")}
        grid = {"name": "bench", "fixed": fixed, "parameters": {"seed": list(range(runs))}, "slurm": slurm}
        grid["local"] = {"max_parallel": 2}
        (self.folder / "grid.yaml").write_text(yaml.safe_dump(grid))
        (self.folder / "bin").mkdir()

    def wrap(self, program: str, script: str) -> None:
        """Replace a program on PATH by a shell script, in which $REAL is the program."""
        file = self.folder / "bin" / program
        file.write_text(f'#!/bin/bash\nREAL="{shutil.which(program)}"\n{script}\n')
        file.chmod(0o755)

    def launch(self, door: str, *options: str, runs: str = "runs") -> subprocess.CompletedProcess[str]:
        """Run a launcher on the grid."""
        command = [sys.executable, f"launch/{door}.py", "--grid", self.folder / "grid.yaml"]
        return subprocess.run(
            [*map(str, command), "--runs", str(self.folder / runs), *options],
            cwd=ROOT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
        )

    def launch_to_die(self) -> bool:
        """Run a launcher that is killed after SLURM accepted its jobs and before it reads their ids.

        Returns whether it had any jobs to submit.
        """
        self.wrap("sbatch", 'case "$*" in *--test-only*) exec "$REAL" "$@";; esac; "$REAL" "$@"; kill -9 $PPID')
        ended = self.launch("slurm")
        (self.folder / "bin/sbatch").unlink()
        return ended.returncode == -signal.SIGKILL


def bars(bench: Bench, runs: int) -> None:
    """Print the time and the scheduler commands of each command on a large grid."""
    bench.prepare(runs, epochs=1, slurm={"max_parallel": 1})
    log = bench.folder / "asked"
    for name in COMMANDS:
        bench.wrap(name, f'echo {name} >> "{log}"; exec "$REAL" "$@"')

    def timed(title: str, *options: str) -> None:
        log.write_text("")
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = bench.launch("slurm", *options)
        took, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert ended.returncode in (0, 1), ended.stderr
        asked = Counter(log.read_text().split())
        said = ", ".join(f"{count} {name}" for name, count in asked.items()) or "no scheduler command"
        print(f"{title:28} {took:6.2f} s, {cpu:.2f} of CPU   {said}", flush=True)

    timed(f"dry run of {runs:,} runs", "--dry-run")
    timed("submit")
    (bench.sweep / "slurm/answer.json").unlink(missing_ok=True)
    timed("status", "--status")
    timed("status again", "--status")
    for file in (bench.sweep / "slurm").glob("artnet-*.json"):
        subprocess.run(["scancel", f"--name={file.stem}"], check=True)


def storm(bench: Bench, runs: int, seed: int) -> None:
    """Kill each run three times after it has trained some steps, launch again and again, and check the results."""
    bench.prepare(runs, epochs=12, slurm={"partition": "low", "time": "1:00:00", "requeue": 1000, "max_parallel": 6})
    draw = random.Random(seed)
    kills = {run: draw.choices(("task", "node", "preempt", "launcher"), k=3) for run in range(runs)}
    print(f"{runs} runs, {3 * runs} kills: {dict(Counter(itertools.chain(*kills.values())))}", flush=True)
    strike = {"task": kill_task, "node": kill_node, "preempt": preempt, "launcher": kill_task}
    started, struck, doomed = time.monotonic(), dict.fromkeys(kills, 0), 0
    bench.launch("slurm")
    power = switch_on()
    while not all(run.result() for run in bench.runs):
        for number, run in enumerate(bench.runs):
            attempts = len(run.run().get("attempts", []))
            is_training = run.is_locked() and run.state().state == "running" and not run.result()
            if kills[number] and is_training and attempts > struck[number] and len(run.metrics()) > 4 * attempts:
                struck[number] = attempts
                kind = kills[number].pop()
                strike[kind](run)
                doomed += kind == "launcher"  # of the launcher that submits this run again
        if doomed:
            doomed -= bench.launch_to_die()
        else:
            bench.launch("slurm")
        states = Counter(str(run.state().state) for run in bench.runs)
        left = sum(map(len, kills.values())) + doomed
        print(f"{time.monotonic() - started:5.0f} s, {left} kills left: {dict(states)}", flush=True)
        if power.poll() is not None:
            power = switch_on()
        time.sleep(draw.uniform(2, 10))
    power.wait()
    print(f"all complete after {time.monotonic() - started:.0f} s, {left} kills came too late", flush=True)
    check(bench)


def switch_on() -> subprocess.Popen[bytes]:
    """Start the nodes that were killed."""
    return subprocess.Popen([ROOT / "tests/cluster/up.sh"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_task(run: RunDir) -> None:
    """Send SIGKILL to the job's process and its training."""
    training = run.run().get("attempts", [{}])[-1].get("pid", 0)
    try:
        parent = int(Path(f"/proc/{training}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return
    for process in (parent, training):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_node(run: RunDir) -> None:
    """Kill all processes of the run's node, as a power cut does."""
    node = run.state().reason.rpartition(" ")[2]
    subprocess.run([ROOT / "tests/cluster/kill-node.sh", node], check=False, capture_output=True)


def preempt(run: RunDir) -> None:
    """Preempt the run by a job of the partition `high` that needs the whole node."""
    node = run.state().reason.rpartition(" ")[2]
    options = ["--partition=high", "--exclusive", f"--nodelist={node}", "--output=/dev/null"]
    subprocess.run(["sbatch", *options, "--wrap=sleep 2"], check=False, capture_output=True)


def check(bench: Bench) -> None:
    """Compare the results with undisturbed trainings, and check that no run was trained by two processes at once."""
    bench.launch("local", runs="control")
    differing, overlapping, attempts = [], [], 0
    for run in bench.runs:
        control = RunDir(bench.folder / "control" / "bench" / run.name)
        results = [folder.result() for folder in (run, control)]
        assert results[0] and results[1]
        if results[0].model_dump(exclude={"seconds"}) != results[1].model_dump(exclude={"seconds"}):
            differing.append(run.name)
        tries = run.run()["attempts"]
        attempts += len(tries)
        ends = [attempt.get("ended", attempt["started"]) for attempt in tries]
        too_early = any(after["started"] < end for after, end in zip(tries[1:], ends, strict=False))
        complete = [attempt for attempt in tries if attempt.get("outcome") == "complete"]
        steps = [line["step"] for line in run.metrics() if line["kind"] == "step"]
        if too_early or len(complete) != 1 or steps != sorted(set(steps)):
            overlapping.append(run.name)
    print(f"{attempts} attempts; trained twice: {overlapping or 'none'}; different results: {differing or 'none'}")
    assert not differing
    assert not overlapping


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("bars", "storm"))
    parser.add_argument("--runs", type=int, metavar="N", help="default: 1000 for bars, 50 for storm")
    parser.add_argument("--seed", type=int, default=0, help="seed of the storm (default: 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="artnet-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder))
        if args.what == "bars":
            bars(bench, args.runs or 1000)
        else:
            storm(bench, args.runs or 50, args.seed)


if __name__ == "__main__":
    main()
