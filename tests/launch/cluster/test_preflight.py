"""What is said before jobs are submitted."""

from pathlib import Path

import pytest

from artnet.config import build, unflatten
from launch.cluster import inventory, preflight, tryout
from launch.cluster.resources import Resources
from launch.cluster.times import read_seconds
from tests.conftest import TINY

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
CLUSTER = inventory.Cluster(
    inventory.read_partitions(PARTITIONS),
    inventory.read_nodes(NODES),
    frozenset({"physics", "students"}),
    frozenset({"normal", "night"}),
)


def problems(**asked: object) -> list[str]:
    return preflight.resource_problems(Resources(**asked), CLUSTER, lambda key: f"grid.yaml:{key}")


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
    assert inventory.read_partitions("") == {}
    assert inventory.read_nodes("No nodes in the system\n\n=\n") == ()
    times = ("30:00", "01:00:30", "2-12:00:00", "INFINITE")
    assert [read_seconds(text) for text in times] == [1800, 3630, 216_000, None]


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
    unknown = inventory.Cluster(CLUSTER.partitions, CLUSTER.nodes)
    assert preflight.resource_problems(Resources(account="chemistry", qos="urgent"), unknown, str) == []


def test_a_cluster_without_a_default_partition_wants_one_named():
    nameless = inventory.Cluster({"old": CLUSTER.partitions["old"]}, CLUSTER.nodes)
    assert "give slurm.partition, one of old" in preflight.resource_problems(Resources(), nameless, str)[0]


def test_nodes_out_of_service_are_worth_a_warning():
    [warned] = preflight.resource_warnings(Resources(nodes=4), CLUSTER, str)
    assert "3 of the 4 nodes of partition main" in warned
    assert preflight.resource_warnings(Resources(nodes=3), CLUSTER, str) == []


def test_a_refusal_that_passes_is_none():
    odd = "sbatch: error: invalid partition specified: x\nallocation failure: Invalid feature specification\n"
    assert tryout.refusal(odd, all_in_service=True) == "Invalid feature specification"
    node = "allocation failure: Requested node configuration is not available\n"
    assert tryout.refusal(node, all_in_service=True)
    assert not tryout.refusal(node, all_in_service=False)
    assert not tryout.refusal("allocation failure: Unable to contact slurm controller (connect failure)\n", True)


def test_a_full_disk_is_told_in_figures():
    config = build(unflatten({**TINY, "model.backbone": "resnet50"}))
    full = preflight.disk(Path("runs/x"), 10**8, [config] * 6, parallel=2)
    assert full.problems[0].startswith("runs/x has 0.10 GB of free disk, and a run takes about 0.")
    small = preflight.disk(Path("runs/x"), 10**9, [config] * 6, parallel=2)
    assert not small.problems
    assert "the checkpoints of 6 new runs take about " in small.warnings[0]
    assert preflight.disk(Path("runs/x"), 10**10, [config] * 6, parallel=2) == preflight.Findings()
    assert preflight.disk(Path("runs/x"), 0, [], parallel=2).problems  # a run that goes on writes too


def test_only_runs_in_training_need_more_disk_than_their_best_checkpoint():
    best, everything = (
        build(unflatten({**TINY, "model.backbone": "resnet18", "train.keep": keep})) for keep in ("best", "all")
    )
    assert preflight.disk(Path("runs/x"), 70 * 10**9, [best] * 1000, parallel=8) == preflight.Findings()
    assert "take about 3" in preflight.disk(Path("runs/x"), 70 * 10**9, [everything] * 1000, parallel=8).warnings[0]


def test_checkpoints_are_about_as_large_as_the_estimate():
    import torch

    from artnet.models import build_model

    for backbone in ("resnet18", "resnet50"):
        for recurrence, attention in (("none", "none"), ("lstm", "se"), ("rla", "cbam")):
            names = {"backbone": backbone, "recurrence": recurrence, "attention": attention}
            with torch.device("meta"):
                model = build_model(**names, classes={"artist": 23, "style": 27, "genre": 10})
            true = sum(value.numel() * value.element_size() for value in model.state_dict().values())
            config = build(unflatten({**TINY, **{f"model.{key}": value for key, value in names.items()}}))
            assert true <= preflight.checkpoint_bytes(config)[1] <= 1.2 * true, names


def test_paths_that_nodes_may_not_see_are_warned_of_only_where_nodes_are_elsewhere():
    paths = [Path("/home/me/.venv"), Path("/tmp/runs"), Path("/mem/shards")]  # noqa: S108
    kinds = {"/mem/shards": "tmpfs"}
    warned = preflight.path_warnings(paths, lambda path: kinds.get(str(path), "nfs4"), elsewhere=True)
    assert [warning.split()[0] for warning in warned] == ["/tmp/runs", "/mem/shards"]  # noqa: S108
    assert preflight.path_warnings(paths, lambda path: "tmpfs", elsewhere=False) == []
