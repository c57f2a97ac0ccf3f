"""launch/: what is said before jobs are submitted, and which code they run."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from artnet.config import build, unflatten
from artnet.rundir import RunDir, write_json
from launch import console as cli
from launch import grid
from launch.cluster import inventory as cluster
from launch.cluster import preflight, snapshot
from launch.cluster.resources import Request, Resources, SlurmBlock
from launch.grid import Run
from launch.sweep import cost as estimate
from shards.errors import UserError
from tests.conftest import ROOT, TINY

# As SLURM 22.05 says it, of the cluster in tests/cluster and of others.
PARTITIONS = """\
PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A \
DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED \
MaxTime=1-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=node[1-4] PriorityJobFactor=1 PriorityTier=10 \
RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=32 TotalNodes=4 \
SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=32,mem=250G
PartitionName=old AllowGroups=ALL DenyAccounts=students AllowQos=long,night Default=NO MaxNodes=1 MaxTime=UNLIMITED \
MaxCPUsPerNode=4 Nodes=old1 State=DRAIN MaxMemPerNode=2000
"""
NODES = """\
NodeName=node1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=8 CPUTot=8 CPULoad=4.53 AvailableFeatures=(null) \
ActiveFeatures=(null) Gres=gpu:2 NodeAddr=127.0.0.1 NodeHostName=vm Port=17821 Version=22.05.8 \
OS=Linux 6.18.44-fc-v657 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=64000 AllocMem=0 FreeMem=9659 Sockets=8 Boards=1 \
State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=main,low,high  \
BootTime=2026-11-25T17:47:38 CfgTRES=cpu=8,mem=62.50G,billing=8,gres/gpu=2 AllocTRES= CapWatts=n/a
NodeName=node2 CPUTot=8 Gres=gpu:a100:2(S:0-1),nvme:1 RealMemory=64000 State=MIXED Partitions=main
NodeName=node3 CPUTot=8 Gres=(null) RealMemory=64000 MemSpecLimit=4000 State=IDLE+CLOUD Partitions=main
NodeName=node4 CPUTot=8 Gres=gpu RealMemory=64000 State=DOWN*+DRAIN Partitions=main \
Reason=State=IDLE Gres=gpu:9 is a lie [root@2026-11-25T21:35:14]
NodeName=old1 CPUTot=64 Gres=gpu:1g.5gb:7,gpu:2g.10gb:1 RealMemory=8000 State=IDLE Partitions=old
"""
CLUSTER = cluster.Cluster(
    cluster.read_partitions(PARTITIONS),
    cluster.read_nodes(NODES),
    frozenset({"physics", "students"}),
    frozenset({"normal", "night"}),
)


def problems(**asked: object) -> list[str]:
    return preflight.resource_problems(Resources(**asked), CLUSTER, lambda key: f"grid.yaml:{key}")


def request(tmp_path: Path, slurm: dict, **given: object) -> tuple[Request, list[Run]]:
    values = {"name": "tiny", "slurm": slurm, "fixed": TINY, "parameters": {"seed": [0, 1, 2]}}
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    loaded = grid.load(file)
    block = cli.read_block(SlurmBlock, loaded, "slurm", loaded.slurm, given)
    return Request(loaded, block, given), grid.expand(loaded).runs


def test_what_scontrol_says_is_read_whatever_administrators_write_into_it():
    main, old = CLUSTER.partitions["main"], CLUSTER.partitions["old"]
    assert (CLUSTER.default, main.state, main.max_minutes, main.max_nodes, main.accounts) == (
        *("main", "UP", 1440, None, None),
    )
    assert (old.state, old.max_minutes, old.max_nodes, old.max_cpus_per_node, old.max_mib_per_node) == (
        *("DRAIN", None, 1, 4, 2000),
    )
    assert (old.denied_accounts, old.qos) == ({"students"}, {"long", "night"})
    assert [node.gpus_of(None) for node in CLUSTER.nodes] == [2, 2, 0, 1, 8]
    assert CLUSTER.nodes[4].gpus == {"1g.5gb": 7, "2g.10gb": 1}
    assert [node.memory_mib for node in CLUSTER.nodes] == [64000, 64000, 60000, 64000, 8000]
    assert [node.is_in_service for node in CLUSTER.nodes] == [True, True, True, False, True]
    assert CLUSTER.nodes[0].partitions == {"main", "low", "high"}
    assert cluster.read_partitions("") == {}
    assert cluster.read_nodes("No nodes in the system\n\n=\n") == ()
    assert [cluster.read_time(text) for text in ("30:00", "01:00:30", "2-12:00:00", "INFINITE")] == [30, 60, 3600, None]


def test_what_fits_the_cluster_is_not_complained_about():
    assert problems(nodes=2, gpus_per_node=2, cpus_per_task=4, mem="62G", time="1-00:00:00") == []
    assert problems(partition="nothing,main") != []
    assert problems(partition="old,main", nodes=4) == []  # one of the two is enough
    assert problems(account="physics", qos="normal") == []


@pytest.mark.parametrize(
    ("asked", "where", "said"),
    [
        ({"partition": "nosuch"}, "partition", "this cluster has main, old"),
        ({"partition": "old"}, "partition", "partition old is drain; choose another, such as main"),
        ({"time": "1-00:01:00"}, "time", "more than partition main allows, 1-00:00:00"),
        ({"nodes": 99}, "nodes", "nodes 99 is more than partition main gives a job, 4"),
        ({"partition": "old", "nodes": 2}, "nodes", "gives a job, 1"),
        ({"gpus_per_node": 3}, "gpus_per_node", "gpus_per_node 3 is more than any node of partition main has, 2"),
        (
            {"partition": "old", "gpus_per_node": 2, "gpu_type": "2g.10gb"},
            "gpus_per_node",
            "2g.10gb:2 is more than any",
        ),
        ({"nodes": 3, "gpus_per_node": 2}, "nodes", "only 2 of the 4 nodes of partition main have 2 GPUs and 2 CPUs"),
        ({"cpus_per_task": 9}, "cpus_per_task", "9 CPUs (1 tasks of 9 CPUs) is more than any node"),
        ({"tasks_per_node": 9}, "tasks_per_node", "9 CPUs"),
        ({"partition": "old", "cpus_per_task": 5}, "cpus_per_task", "partition old has, 4"),
        ({"mem": "63G"}, "mem", "63 GiB of memory is more than any node of partition main has, 62.5 GiB"),
        ({"partition": "old", "mem": "3000M"}, "mem", "1.953 GiB"),
        ({"gpus_per_node": 2, "mem_per_gpu": "40G"}, "mem_per_gpu", "80 GiB of memory"),
        ({"account": "chemistry"}, "account", "no account 'chemistry'; those that you may use are physics, students"),
        ({"partition": "old", "account": "students"}, "account", "does not take account 'students'"),
        ({"qos": "urgent"}, "qos", "no QOS 'urgent'"),
        ({"partition": "old", "qos": "normal"}, "qos", "it takes long, night"),
    ],
)
def test_what_can_never_run_is_one_sentence_that_says_where(asked, where, said):
    found = [problem for problem in problems(**asked) if said in problem]
    assert len(found) == 1
    assert found[0].startswith(f"grid.yaml:{where}: ")


def test_all_that_is_wrong_is_said_at_once():
    assert len(problems(nodes=99, gpus_per_node=9, time="9-00:00:00", account="chemistry")) == 4


def test_accounts_that_nobody_can_tell_are_not_doubted():
    unknown = cluster.Cluster(CLUSTER.partitions, CLUSTER.nodes)
    assert preflight.resource_problems(Resources(account="chemistry", qos="urgent"), unknown, str) == []


def test_a_cluster_without_a_default_partition_wants_one_named():
    nameless = cluster.Cluster({"old": CLUSTER.partitions["old"]}, CLUSTER.nodes)
    assert "give slurm.partition, one of old" in preflight.resource_problems(Resources(), nameless, str)[0]


def test_nodes_out_of_service_are_worth_a_warning():
    [warned] = preflight.resource_warnings(Resources(nodes=4), CLUSTER, str)
    assert "3 of the 4 nodes of partition main" in warned
    assert preflight.resource_warnings(Resources(nodes=3), CLUSTER, str) == []


def test_a_refusal_that_passes_is_none():
    odd = "sbatch: error: invalid partition specified: x\nallocation failure: Invalid feature specification\n"
    assert preflight.refusal(odd, all_in_service=True) == "Invalid feature specification"
    node = "allocation failure: Requested node configuration is not available\n"
    assert preflight.refusal(node, all_in_service=True)
    assert not preflight.refusal(node, all_in_service=False)
    assert not preflight.refusal("allocation failure: Unable to contact slurm controller (connect failure)\n", True)


def test_later_overrides_win_and_the_command_line_wins_over_all(tmp_path):
    overrides = [{"when": {"seed": 1}, "time": "2:00:00", "nodes": 2}, {"when": {"seed": 1}, "nodes": 3}]
    slurm = {"time": "8:00:00", "gpus_per_node": 4, "max_parallel": 8, "overrides": overrides}
    asked, runs = request(tmp_path, slurm)
    assert [(asked.of(run).time, asked.of(run).nodes) for run in runs] == [(480, 1), (120, 3), (480, 1)]
    line = (tmp_path / "grid.yaml").read_text().splitlines().index("    nodes: 3") + 1
    assert asked.where(runs[1], "nodes") == f"{tmp_path}/grid.yaml:{line}"
    asked, runs = request(tmp_path, slurm, nodes=4, time=None)
    assert [(asked.of(run).time, asked.of(run).nodes) for run in runs] == [(480, 4), (120, 4), (480, 4)]
    assert asked.where(runs[1], "nodes") == "--nodes"


def test_what_the_grid_leaves_open_the_users_own_defaults_for_sbatch_say(tmp_path):
    asked, runs = request(tmp_path, {"partition": "main"})
    asked = Request(
        asked._grid, asked.block, {}, {"SBATCH_PARTITION": "old", "SBATCH_QOS": "night", "SBATCH_ACCOUNT": ""}
    )
    wanted = asked.of(runs[0])
    assert (wanted.partition, wanted.qos, wanted.account) == ("main", "night", None)
    assert asked.where(runs[0], "qos") == "SBATCH_QOS"


def test_resources_in_submitits_words():
    asked = Resources(
        time="1-00:00:30", nodes=2, gpus_per_node=4, gpu_type="a100", mem="64G", constraint="ib|nvme",
        exclude="node[1-3],node9", reservation="course", setup="module load cuda",
    )  # fmt: skip
    assert asked.parameters() == {
        "time": 1441, "nodes": 2, "ntasks_per_node": 4, "gpus_per_node": "a100:4", "mem": "64G",
        "constraint": "ib|nvme", "exclude": "node[1-3],node9", "setup": ["module load cuda"],
        "additional_parameters": {"reservation": "course"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ({"partiton": "gpu"}, ":3: unknown key 'partiton' in slurm; the keys are partition, account"),
        ({"partition": "gpu\n#SBATCH --uid=0"}, ":3: slurm.partition: names are letters"),
        ({"account": "a b"}, ":3: slurm.account: a name is letters"),
        ({"constraint": "a'b"}, ":3: slurm.constraint: write features"),
        ({"exclude": "$(date)"}, ":3: slurm.exclude: write hosts"),
        ({"mem": 64}, ":3: slurm.mem: write memory as a number"),
        ({"nodes": True}, ":3: slurm.nodes:"),
        ({"time": "90"}, ":3: slurm.time: write a time limit"),
        ({"mem": "1G", "mem_per_gpu": "1G"}, "mem and mem_per_gpu contradict each other"),
        ({"gpu_type": "a100"}, "gpu_type means nothing without gpus_per_node"),
        ({"mem_per_gpu": "1G"}, "mem_per_gpu means nothing without gpus_per_node"),
        ({"overrides": [{"when": {"seed": 1}, "tme": "1:00:00"}]}, ":6: unknown key 'tme'; did you mean 'time'?"),
        ({"overrides": [{"when": {"seed": 1}, "time": "90"}]}, ":6: slurm.time: write a time limit"),
        ({"overrides": [{"when": {"sed": 1}, "time": "1:00:00"}]}, ":5: unknown key"),
        ({"overrides": [{"time": "1:00:00"}]}, ":4: an override is `{when: {KEY: VALUE}, ...}`"),
        ({"overrides": [{"when": {"seed": 9}, "time": "1:00:00"}]}, ":4: this `when` matches no run of the grid"),
    ],
)
def test_a_wrong_slurm_block_is_refused_with_its_line(tmp_path, slurm, said):
    with pytest.raises(UserError) as refused:
        asked, runs = request(tmp_path, slurm)
        asked.check_matches(runs)
    assert said in str(refused.value)


def test_a_full_disk_is_told_in_figures():
    config = build(unflatten({**TINY, "model.backbone": "resnet50"}))
    full = preflight.disk(Path("runs/x"), 10**8, [config] * 6, parallel=2)
    assert full.problems[0].startswith("runs/x has 0.10 GB of free disk, and a run takes about 0.")
    small = preflight.disk(Path("runs/x"), 10**9, [config] * 6, parallel=2)
    assert not small.problems
    assert "the checkpoints of 6 new runs take about " in small.warnings[0]
    assert preflight.disk(Path("runs/x"), 10**10, [config] * 6, parallel=2) == preflight.Findings()
    assert preflight.disk(Path("runs/x"), 0, [], parallel=2).problems  # a run that goes on writes too


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("recurrence", "attention"), [("none", "none"), ("lstm", "se"), ("rla", "cbam")])
def test_checkpoints_are_about_as_large_as_the_estimate(backbone, recurrence, attention):
    import torch

    from artnet.models import build_model

    names = {"backbone": backbone, "recurrence": recurrence, "attention": attention}
    with torch.device("meta"):
        model = build_model(**names, classes={"artist": 23, "style": 27, "genre": 10})
    true = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    config = build(unflatten({**TINY, **{f"model.{key}": value for key, value in names.items()}}))
    assert true <= preflight.checkpoint_bytes(config)[1] <= 1.2 * true


def test_paths_that_nodes_may_not_see_are_warned_of_only_where_nodes_are_elsewhere():
    paths = [Path("/home/me/.venv"), Path("/tmp/runs"), Path("/mem/shards")]  # noqa: S108
    kinds = {"/mem/shards": "tmpfs"}
    warned = preflight.path_warnings(paths, lambda path: kinds.get(str(path), "nfs4"), elsewhere=True)
    assert [warning.split()[0] for warning in warned] == ["/tmp/runs", "/mem/shards"]  # noqa: S108
    assert preflight.path_warnings(paths, lambda path: "tmpfs", elsewhere=False) == []


def test_the_estimate_goes_by_runs_that_differ_in_the_seed_alone():
    config = build(unflatten(TINY))
    runs = {
        name: Run(config, {"model.recurrence": kind, "seed": seed})
        for name, kind, seed in (
            ("plain 0", "none", 0),
            ("plain 1", "none", 1),
            ("lstm 0", "lstm", 0),
            ("gru", "gru", 0),
        )
    }
    finished = [
        (runs["plain 0"], estimate.Cost(2, "GPU-hours")),
        (runs["lstm 0"], estimate.Cost(6, "GPU-hours")),
        (runs["lstm 0"], estimate.Cost(99, "core-hours")),
    ]
    assert estimate.estimate(finished, [runs["plain 1"]]) == "about 2 GPU-hours for 1 run, from 2 finished ones"
    several = [runs["plain 1"], runs["lstm 0"], runs["gru"]]
    assert estimate.estimate(finished, several) == "about 12 GPU-hours for 3 runs, from 2 finished ones"
    assert estimate.estimate([], several) == estimate.estimate(finished, []) == ""


def test_what_a_run_took_is_its_seconds_on_all_of_its_gpus_or_cores(tmp_path):
    folder = RunDir(tmp_path)
    scores = {"top1": 0.5, "top5": 0.9, "macro_f1": 0.5, "nll": 1, "ece": 0.1, "recall": [0.5], "n": 10}
    task = {"classes": 5, "majority": 0.2, "val": scores, "test": scores}
    result = {"signature": "s", "data": "d", "best_epoch": 1, "epochs": 1, "steps": 1, "parameters": 1}
    write_json(folder.result_file, {**result, "seconds": 1800, "tasks": {"style": task}})
    assert estimate.cost(folder, "s") is None  # nothing says on what
    for device, taken in (("NVIDIA H100", estimate.Cost(2, "GPU-hours")), ("cpu", estimate.Cost(16, "core-hours"))):
        write_json(folder.run_file, {"attempts": [{}, {"device": device, "world_size": 4, "threads": 8}]})
        assert estimate.cost(folder, "s") == taken
    assert estimate.cost(folder, "another") is None


@pytest.fixture
def tree(tmp_path):
    """A small work tree, with this project's launch, shards and artnet in it."""
    root = tmp_path / "tree"
    for package in ("artnet", "launch", "shards"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("__pycache__/\n/runs/\n/secret\n")
    git = ["git", "-C", root, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    return root


def take(tree: Path, runs: Path) -> Path:
    program = f"from pathlib import Path; from launch.cluster import snapshot; runs = Path({str(runs)!r})\n"
    program += "print(snapshot.take(runs / 'tiny' / 'code', runs))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(done.stdout.strip())


def test_a_snapshot_holds_what_git_would_and_is_made_once_for_each_state(tree):
    (tree / "secret").write_text("ignored")
    (tree / "artnet" / "extra.py").write_text("untracked = True\n")
    (tree / "artnet" / "report.py").unlink()
    (tree / "out").mkdir()
    first = take(tree, tree / "out")
    assert (first / "artnet" / "extra.py").read_text() == "untracked = True\n"
    assert not [name for name in ("secret", "out", ".git", "artnet/report.py") if (first / name).exists()]
    state = json.loads((first / "snapshot.json").read_text())
    assert len(state["sha"]) == 40
    assert "deleted file" in state["diff"]
    assert take(tree, tree / "out") == first
    (tree / "artnet" / "extra.py").write_text("untracked = False\n")
    second = take(tree, tree / "out")
    assert second != first
    assert (first / "artnet" / "extra.py").read_text() == "untracked = True\n"


def test_two_launchers_at_once_share_one_snapshot(tree, tmp_path):
    with ThreadPoolExecutor(2) as launchers:
        first, second = launchers.map(lambda _: take(tree, tmp_path / "runs"), range(2))
    assert first == second
    assert sorted(path.name for path in first.parent.iterdir()) == [".lock", first.name]
    assert (first / "COMPLETE").exists()


def test_a_damaged_snapshot_is_mended_and_what_a_killed_launcher_left_is_removed(tree, tmp_path):
    first = take(tree, tmp_path / "runs")
    (first / "artnet" / "train.py").write_text("cut sho")
    (first / "launch" / "job.py").unlink()
    left = first.parent / ".0123.abc.tmp"
    left.mkdir()
    assert take(tree, tmp_path / "runs") == first
    assert (first / "artnet" / "train.py").read_text() == (tree / "artnet" / "train.py").read_text()
    assert (first / "launch" / "job.py").exists()
    assert not left.exists()


def test_code_in_a_snapshot_knows_the_commit_it_was_copied_from(tree, tmp_path):
    sha = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    code = take(tree, tmp_path / "runs")
    again = take(code, tmp_path / "again")  # the packages alone: there is no git
    for folder in (code, again):
        program = "from artnet import provenance; print(provenance.__file__, provenance.git_state()['sha'])"
        said = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert said.split() == [f"{folder}/artnet/provenance.py", sha]


def test_a_work_tree_full_of_data_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"name what is no code in \.gitignore, or give --no-snapshot"):
        snapshot.take(tmp_path / "runs" / "tiny" / "code", tmp_path / "runs")


def test_a_folder_that_python_cannot_be_told_of_is_refused(tmp_path):
    with pytest.raises(UserError, match="give another --runs"):
        snapshot.take(tmp_path / "a:b", tmp_path)
