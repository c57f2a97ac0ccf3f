"""What a rank is given when it joins, and what is reported when it cannot."""

import pytest
import torch

from artnet.data.loader import in_flight
from artnet.distributed import group, ranks
from artnet.distributed.group import gloo_interface
from artnet.distributed.placement import Place
from artnet.distributed.ranks import Ranks
from shards.errors import UserError

CPU = torch.device("cpu")


def cpus(start: int, number: int) -> frozenset[int]:
    return frozenset(range(start, start + number))


def test_a_rank_gets_its_share_of_the_host_and_at_most_24_threads():
    places = [Place("b", cpus(0, 4)), *[Place("a", cpus(0, 256))] * 2]
    placed = group._placed(Ranks(1, 3, 1, CPU), places)
    assert (placed.local_world_size, placed.threads, placed.pinned_bytes) == (2, 24, 0)


@pytest.mark.parametrize(("number", "warned"), [(3, True), (4, False)])
def test_few_cpus_for_a_gpu_are_named(number, warned, capsys):
    gpu = torch.device("cuda", 0)
    places = [Place("a", cpus(0, 8), gpu="x"), Place("b", cpus(0, number), gpu="y")]
    group._placed(Ranks(0, 2, 1, gpu), places)
    group._placed(Ranks(1, 2, 1, gpu), places)
    assert capsys.readouterr().err.count("3 CPUs for the GPU of rank 1") == warned


def test_gpus_that_would_be_idle_are_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    places = [Place("a 1", cpus(0, 16), gpu=gpu) for gpu in "xy"]
    group._placed(Ranks(0, 2, 2, torch.device("cuda", 0)), places)
    assert "2 of the 4 GPUs that this training may use are idle" in capsys.readouterr().err
    group._placed(Ranks(0, 4, 4, torch.device("cuda", 0)), places * 2)
    group._placed(Ranks(0, 2, 2, CPU), places)
    assert not capsys.readouterr().err


def test_the_ranks_of_a_host_pin_a_quarter_of_its_memory(monkeypatch):
    monkeypatch.setattr(ranks, "memory_limit", lambda: 64 * 2**30)
    gpu = torch.device("cuda", 0)
    assert Ranks(0, 8, 4, gpu).pinned_bytes == 4 * 2**30
    assert Ranks(0, 8, 4, CPU).pinned_bytes == 0
    batch = 256 * 224 * 224 * 3  # 38.5 MB, rounded up to 64 MiB
    assert in_flight(8, batch, 4 * 2**30) == 12
    assert in_flight(60, batch, 4 * 2**30) == 62
    assert in_flight(60, batch, 1) == 2
    assert in_flight(60, 2**26, 10 * 2**26) == in_flight(60, 2**25 + 1, 10 * 2**26) == 8
    assert in_flight(60, batch, 0) == 64


def test_the_words_of_nccl_are_reported_as_what_they_mean():
    def error(words):
        return group._join_error(Ranks(1, 2, 2, CPU), group.timedelta(seconds=9), RuntimeError(words))

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
