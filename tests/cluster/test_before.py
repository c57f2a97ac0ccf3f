"""On a real cluster: what can never run is refused, and the code that runs is the code that was submitted."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment
from tests.launch.tiny_grid import TinyGrid


@pytest.fixture
def tree(tmp_path):
    """A work tree of this project that may be edited."""
    root = tmp_path / "tree"
    for package in ("artnet", "launch", "shards"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("__pycache__/\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", root, "-c", "user.name=a", "-c", "user.email=a@b", *command], check=True)
    return root


@pytest.fixture
def submit(tree, tmp_path, shards):
    """Submit a grid of one tiny run from the tree, with a `slurm:` block and options."""

    def run(slurm: dict, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
        tiny = TinyGrid(tmp_path, str(shards))
        tiny.write(1, slurm=slurm)
        return subprocess.run(
            tiny.command("slurm", *options), cwd=tree, capture_output=True, text=True,
            env=environment(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="", **variables),
        )  # fmt: skip

    return run


def jobs() -> str:
    return subprocess.run(["squeue", "--noheader", "--me"], capture_output=True, text=True, check=True).stdout


def wait_for(what, seconds: float = 240):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.2)
    return found


@pytest.mark.parametrize(
    ("slurm", "options", "said"),
    [
        ({"partition": "nosuch"}, (), ["grid.yaml:{0}: no partition 'nosuch'; this cluster has high, low, main"]),
        (
            {"nodes": 16, "mem": "64G"},
            ("--time", "2-00:00:00"),
            [
                "--time: time 2-00:00:00 is more than partition main allows, 1-00:00:00",
                "grid.yaml:{0}: nodes 16 is more than partition main gives a job, 4",
                "grid.yaml:{1}: 64 GiB of memory is more than any node of partition main has, 62.5 GiB",
            ],
        ),
        (
            {"gpus_per_node": 4},
            (),
            ["grid.yaml:{0}: gpus_per_node 4 is more than any node of partition main has, 2"],
        ),
        (
            {"nodes": 99, "gpus_per_node": 9},
            (),
            ["grid.yaml:10: train.batch_size 16 cannot be divided among 891 ranks with train.accumulate 1"],
        ),
        ({"account": "nosuch"}, (), ["grid.yaml:{0}: no account 'nosuch'; those that you may use are root"]),
        ({"qos": "nosuch"}, (), ["grid.yaml:{0}: no QOS 'nosuch'; those that you may use are normal"]),
        ({"constraint": "a100"}, (), ["grid.yaml:{0}: SLURM refuses these resources: Invalid feature specification"]),
        ({"reservation": "x"}, (), ["grid.yaml:{0}: SLURM refuses these resources: Requested reservation is invalid"]),
        ({"exclude": "moon7"}, (), ["grid.yaml:{0}: SLURM refuses these resources: Invalid node name specified"]),
        (
            {"sbatch": {"nodelist": "moon7"}},
            (),
            ["grid.yaml:{0}: SLURM refuses these resources: Invalid node name specified; change them"],
        ),
        (
            {"sbatch": {"mail_tpye": "END"}, "srun": {"continer_image": "x"}},
            (),
            [
                "grid.yaml:{0}: SLURM refuses these resources: unrecognized option '--mail-tpye=END'; change them",
                "grid.yaml:{2}: srun refuses these options: unrecognized option '--continer-image=x'",
            ],
        ),
        (
            {"sbatch": {"exclusive": True, "comment": True}, "srun": {"mpi": True}},
            (),
            [
                "grid.yaml:{0}: SLURM refuses these resources: option '--comment' requires an argument; change them",
                "grid.yaml:{3}: srun refuses these options: option '--mpi' requires an argument; change slurm.srun",
            ],
        ),
        ({"sbatch": {"array": "0-3"}}, (), ["grid.yaml:{0}: slurm.sbatch: array cannot be given: the runs of a grid"]),
    ],
)
def test_what_can_never_run_is_refused_and_nothing_is_submitted(submit, tmp_path, slurm, options, said):
    ended = submit(slurm, *options)
    assert ended.returncode == 2
    first = (tmp_path / "grid.yaml").read_text().splitlines().index("slurm:") + 2  # the line of the first resource
    lines = ended.stderr.splitlines()
    assert len(lines) == len(said)
    for line, sentence in zip(lines, said, strict=True):
        assert (
            line.removeprefix(f"error: {tmp_path}/")
            .removeprefix("error: ")
            .startswith(sentence.format(*range(first, first + 4)))
        )
    assert not list((tmp_path / "runs").glob("tiny/*/state.json"))
    assert "artnet-t" not in jobs()


def test_a_controller_that_is_down_is_one_sentence(submit, tmp_path):
    conf = Path(os.environ["SLURM_CONF"]).read_text()
    (tmp_path / "slurm.conf").write_text(conf.replace("SlurmctldPort=", "SlurmctldPort=1"))
    (tmp_path / "gres.conf").touch()
    ended = submit({}, SLURM_CONF=str(tmp_path / "slurm.conf"))
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: SLURM does not answer (")
    assert line.endswith("nothing was submitted, try again when it does")


def test_the_code_that_runs_is_the_code_that_was_submitted(submit, tree, tmp_path):
    with (tree / "artnet" / "train.py").open("a") as code:
        code.write("# changed, and not committed\n")
    (tree / "launch" / "untracked.py").write_text("")
    go = tmp_path / "go"
    submitted = submit(
        {"time": "0:20:00", "setup": [f"while [ ! -e {go} ]; do sleep 0.1; done", f"export PYTHONPATH={tree}"]}
    )
    assert submitted.returncode == 0, submitted.stderr
    for package in ("artnet", "launch", "shards"):  # whatever of these a job imports ends it
        (tree / package / "__init__.py").write_text("raise SystemExit('the work tree was imported')\n")
    sha = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    go.touch()
    [run] = [path.parent for path in (tmp_path / "runs" / "tiny").glob("*/state.json")]
    wait_for(lambda: (run / "result.json").exists() or "artnet-t" not in jobs())
    assert (run / "result.json").exists(), [log.read_text() for log in run.parent.glob("slurm/*.out")]
    git = json.loads((run / "run.json").read_text())["git"]
    assert git["sha"] == sha
    assert "+# changed, and not committed" in git["diff"]
    [snapshot] = (tmp_path / "runs" / "tiny" / "code").glob("[!.]*")
    assert (snapshot / "launch" / "untracked.py").exists()
    assert list((snapshot / "artnet").glob("__pycache__/rundir.*"))  # it was imported from there
