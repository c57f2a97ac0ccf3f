"""What the ranks of one host share, and which places are refused."""

import pytest
import torch

from artnet import distributed
from artnet.data.loader import in_flight
from artnet.distributed import Ranks, gloo_interface
from artnet.placement import Place, check_gpus, cpus_of, local_ranks
from artnet.world import World
from shards.errors import UserError

CPU = torch.device("cpu")


def cpus(start: int, number: int) -> frozenset[int]:
    return frozenset(range(start, start + number))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([Place("a", cpus(8 * rank, 8)) for rank in range(4)], [8] * 4),
        ([Place("a", cpus(0, 8))] * 4, [2] * 4),
        ([Place("a", cpus(0, 8)), Place("b", cpus(0, 8))], [8, 8]),
        ([Place("a", cpus(8 * rank, 8), quota=6) for rank in range(2)], [3, 3]),
        ([Place("a", cpus(0, 64), quota=16)] * 2, [8, 8]),
        ([Place("a", cpus(0, 8)), Place("a", cpus(0, 8)), Place("a", cpus(8, 8))], [4, 4, 8]),
        ([Place("a", cpus(0, 2))] * 4, [1] * 4),
    ],
)
def test_cpus_are_divided_among_the_ranks_that_share_them(places, expected):
    assert [cpus_of(places, rank) for rank in range(len(places))] == expected


def test_a_rank_gets_its_share_of_the_host_and_at_most_24_threads():
    places = [Place("b", cpus(0, 4)), *[Place("a", cpus(0, 256))] * 2]
    ranks = distributed._placed(Ranks(1, 3, 1, CPU), places)
    assert (ranks.local_world_size, ranks.threads, ranks.pinned_bytes) == (2, 24, 0)
    assert local_ranks(places, 0) == 1
    here = Place.here(CPU)
    assert Place.loads(here.dumps()) == here


@pytest.mark.parametrize(("number", "warned"), [(3, True), (4, False)])
def test_few_cpus_for_a_gpu_are_named(number, warned, capsys):
    gpu = torch.device("cuda", 0)
    places = [Place("a", cpus(0, 8), gpu="x"), Place("b", cpus(0, number), gpu="y")]
    distributed._placed(Ranks(0, 2, 1, gpu), places)
    distributed._placed(Ranks(1, 2, 1, gpu), places)
    assert capsys.readouterr().err.count("3 CPUs for the GPU of rank 1") == warned


def test_the_ranks_of_a_host_pin_a_quarter_of_its_memory(monkeypatch):
    monkeypatch.setattr(distributed, "memory_limit", lambda: 64 * 2**30)
    gpu = torch.device("cuda", 0)
    assert Ranks(0, 8, 4, gpu).pinned_bytes == 4 * 2**30
    assert Ranks(0, 8, 4, CPU).pinned_bytes == 0
    batch = 256 * 224 * 224 * 3  # 38.5 MB, rounded up to 64 MiB
    assert in_flight(8, batch, 4 * 2**30) == 12
    assert in_flight(60, batch, 4 * 2**30) == 62
    assert in_flight(60, batch, 1) == 2
    assert in_flight(60, 2**26, 10 * 2**26) == in_flight(60, 2**25 + 1, 10 * 2**26) == 8
    assert in_flight(60, batch, 0) == 64


def test_two_ranks_with_one_gpu_are_named():
    check_gpus([Place("a 1", cpus(0, 1), gpu="x"), Place("b 1", cpus(0, 1), gpu="x"), Place("a 1", cpus(0, 1))])
    with pytest.raises(UserError, match=r"ranks 0, 1 and 3 on a have one GPU, x; start at most one"):
        check_gpus([Place("a 1", cpus(0, 1), gpu=gpu) for gpu in "xxyx"])


def test_gpus_that_would_be_idle_are_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    places = [Place("a 1", cpus(0, 16), gpu=gpu) for gpu in "xy"]
    distributed._placed(Ranks(0, 2, 2, torch.device("cuda", 0)), places)
    assert "2 of the 4 GPUs that this training may use are idle" in capsys.readouterr().err
    distributed._placed(Ranks(0, 4, 4, torch.device("cuda", 0)), places * 2)
    distributed._placed(Ranks(0, 2, 2, CPU), places)
    assert not capsys.readouterr().err


def test_the_words_of_nccl_are_reported_as_what_they_mean():
    def error(words):
        return distributed._join_error(Ranks(1, 2, 2, CPU), distributed.timedelta(seconds=9), RuntimeError(words))

    nccl = "NCCL error in: NCCLUtils.hpp:77, NCCL version 2.29\nncclInvalidUsage: This usually\nLast error:\n"
    duplicate = error(nccl + "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000")
    assert isinstance(duplicate, UserError) and "both on CUDA device 1000" in str(duplicate)
    full = error(nccl + "Cuda failure 2 'out of memory'")
    assert type(full).__name__ == "OutOfMemoryError" and "Cuda failure 2" in str(full)
    assert "within 9 s, or lost the connection (no route)" in str(error("no route\nsecond line"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("eth0", "eth0"), ("=ib0,eth0", "ib0"), ("eth", ""), ("^eth0", ""), ("^=eth0", ""), ("", ""), ("eth9", "")],
)
def test_gloo_takes_the_interface_that_nccl_is_told_exactly(name, expected):
    assert gloo_interface({"NCCL_SOCKET_IFNAME": name}, ["lo", "eth0", "ib0"]) == expected


ADDRESS = {"MASTER_ADDR": "a", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "3", "WORLD_SIZE": "1"},
        {"RANK": "3"},
        {"RANK": "-1", "WORLD_SIZE": "2", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "1", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "-1", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "two", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"},
        {"WORLD_SIZE": "2", **ADDRESS},
    ],
)
def test_variables_of_another_job_are_refused(environment):
    with pytest.raises(UserError, match=r"; start ranks with torchrun, or unset these variables"):
        World.from_environment(environment)


def test_variables_that_may_be_left_out():
    assert World.from_environment({"RANK": "", "WORLD_SIZE": ""}) == World()
    given = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", **ADDRESS}
    assert World.from_environment(given) == World(5, 8, 1, 1)
