"""How many runs train at a time on this machine, and what each of them gets."""

import pytest

from launch.host import gpus, slots
from launch.host.environment import training_environment
from launch.host.gpus import local_cpus, visible_gpus

CPUS = {cpu: (cpu // 4, cpu // 4, cpu) for cpu in range(8)}


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(slots, "own_cpus", lambda: CPUS)
    monkeypatch.setattr(slots, "cores", lambda: 8)
    monkeypatch.setattr(slots, "near_cpus", lambda gpus: dict.fromkeys(gpus, frozenset({4, 5, 6, 7})))


def test_each_run_gets_its_own_gpus_and_their_cpus():
    found = slots.slots(["4", "5", "6", "7"], processes=2, parallel=9)
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in found] == ["4,5", "6,7"]
    assert [set(slot.cpus) for slot in found] == [{4, 5}, {6, 7}]
    assert [slot.environment()["OMP_NUM_THREADS"] for slot in found] == ["1", "1"]


def test_runs_without_gpus_share_all_cpus():
    [alone] = slots.slots([], processes=2)
    assert (alone.cpus, alone.threads) == (frozenset(), 4)
    assert [set(slot.cpus) for slot in slots.slots([], 1, parallel=2)] == [{0, 1, 2, 3}, {4, 5, 6, 7}]


def test_a_containers_limit_holds_for_all_runs_together(monkeypatch):
    monkeypatch.setattr(slots, "cores", lambda: 2)
    assert [slot.threads for slot in slots.slots([], 1, parallel=2)] == [1, 1]


def test_several_small_runs_share_a_gpu_only_where_they_are_to():
    assert [slot.gpus for slot in slots.slots(["0", "1"], 1)] == [("0",), ("1",)]
    assert [slot.gpus for slot in slots.slots(["0", "1"], 1, runs_per_gpu=2)] == [("0",), ("1",)] * 2
    assert [slot.gpus for slot in slots.slots(["0", "1"], 1, parallel=3, runs_per_gpu=2)] == [("0",), ("1",), ("0",)]


@pytest.mark.parametrize(
    ("listed", "count", "found"),
    [
        ("MIG-a,MIG-b,MIG-c", 1, ["MIG-a", "MIG-b", "MIG-c"]),  # CUDA shows a process one slice only
        ("MIG-a,MIG-b", 0, []),
        ("3, 5", 2, ["3", "5"]),
        ("3,-1,5", 1, ["3"]),
        ("", 2, ["0", "1"]),
    ],
)
def test_gpus_are_named_as_cuda_visible_devices_names_them(monkeypatch, listed, count, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    assert visible_gpus() == found


def test_the_cpus_near_a_gpu_are_read_from_its_place_on_the_bus(tmp_path, monkeypatch):
    (tmp_path / "0000:3b:00.0").mkdir()
    (tmp_path / "0000:3b:00.0" / "local_cpulist").write_text("0-2,8\n")
    assert local_cpus({"1": "0000:3b:00.0", "2": "0000:af:00.0"}, tmp_path) == {"1": {0, 1, 2, 8}, "2": set()}
    monkeypatch.setattr(gpus.subprocess, "run", lambda *_, **__: pytest.fail("asked"))
    assert gpus.near_cpus([]) == gpus.near_cpus(["MIG-a"]) == {}


def test_a_run_is_no_rank_of_a_surrounding_job(monkeypatch):
    ranks = {
        "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "x", "TORCHELASTIC_RUN_ID": "7",
        "PET_NNODES": "2", "GROUP_RANK": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "OMPI_COMM_WORLD_RANK": "1",
        "PMI_RANK": "1", "SLURM_CPUS_PER_TASK": "1",
    }  # fmt: skip
    kept = {"SLURM_JOB_ID": "7", "HTTPS_PROXY": "y", "CUDA_VISIBLE_DEVICES": "3"}
    for name, value in (ranks | kept).items():
        monkeypatch.setenv(name, value)
    environment = training_environment()
    assert not ranks.keys() & environment.keys()
    assert kept.items() <= environment.items()
