"""How CPUs are divided among slots, and how a process gets its own."""

import os
import subprocess
import sys

import pytest

from launch.host.cpus import bound_to, divide, own_cpus, read_list

# Two sockets of four cores with two hyperthreads each, numbered as Linux does: 0 to 7, then their siblings 8 to 15.
TWO_NODES = {cpu: (cpu % 8 // 4, cpu % 8 // 4, cpu % 4) for cpu in range(16)}
NODE_0, NODE_1 = {0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}
ANYWHERE: set[int] = set()


@pytest.mark.parametrize(
    ("near", "parts"),
    [
        ([ANYWHERE], [NODE_0 | NODE_1]),
        ([ANYWHERE] * 2, [NODE_0, NODE_1]),
        ([ANYWHERE] * 4, [{0, 1, 8, 9}, {2, 3, 10, 11}, {4, 5, 12, 13}, {6, 7, 14, 15}]),
        ([ANYWHERE] * 3, [{0, 1, 8, 9}, {2, 3, 4, 10, 11, 12}, {5, 6, 7, 13, 14, 15}]),
        ([NODE_1, NODE_0], [NODE_1, NODE_0]),
        ([NODE_1] * 2, [{4, 5, 12, 13}, {6, 7, 14, 15}]),
        ([NODE_0, NODE_1, NODE_0], [{0, 1, 8, 9}, NODE_1, {2, 3, 10, 11}]),
        ([NODE_0 | NODE_1, NODE_1], [NODE_0, NODE_1]),  # they overlap
        ([NODE_1, {99}], [NODE_0, NODE_1]),  # CPUs that this process may not use
        ([NODE_1, ANYWHERE], [NODE_0, NODE_1]),
    ],
)
def test_slots_get_whole_cores_of_the_node_of_their_gpus(near, parts):
    assert [set(part) for part in divide(TWO_NODES, near)] == parts


def test_slots_share_cpus_only_where_there_are_too_few():
    sixteen = divide(TWO_NODES, [ANYWHERE] * 16)
    assert sorted(cpu for part in sixteen for cpu in part) == list(range(16))
    assert [set(part) for part in divide({3: (0, 0, 0), 5: (0, 0, 0)}, [ANYWHERE] * 4)] == [{3}, {3}, {5}, {5}]


def test_nodes_and_cores_are_read_from_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 9, 5}, raising=False)
    (tmp_path / "node" / "node1").mkdir(parents=True)
    (tmp_path / "node" / "node1" / "cpulist").write_text("4-6,9\n")
    (tmp_path / "cpu" / "cpu9" / "topology").mkdir(parents=True)
    for name, value in (("physical_package_id", "1"), ("core_id", "7")):
        (tmp_path / "cpu" / "cpu9" / "topology" / name).write_text(value)
    assert own_cpus(tmp_path) == {0: (0, 0, 0), 5: (1, 0, 5), 9: (1, 1, 7)}
    assert read_list(tmp_path / "none") == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_a_process_started_for_a_slot_sees_its_cpus_alone():
    before = os.sched_getaffinity(0)
    cpu = max(before)
    with bound_to({cpu}):
        program = "import os; from shards.workers import cores; print(os.sched_getaffinity(0), cores())"
        seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert seen.stdout == f"{{{cpu}}} 1\n", seen.stderr
    assert os.sched_getaffinity(0) == before
    with bound_to({10_000}), bound_to(()):  # no such CPU
        assert os.sched_getaffinity(0) == before
