"""What the ranks of one host share, and which places are refused."""

import pytest
import torch

from artnet.distributed.placement import Place, check_gpus, cpus_of, local_ranks
from shards.errors import UserError


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


def test_ranks_of_a_host_are_counted():
    places = [Place("b", cpus(0, 4)), *[Place("a", cpus(0, 256))] * 2]
    assert [local_ranks(places, rank) for rank in range(3)] == [1, 2, 2]


def test_two_ranks_with_one_gpu_are_named():
    check_gpus([Place("a 1", cpus(0, 1), gpu="x"), Place("b 1", cpus(0, 1), gpu="x"), Place("a 1", cpus(0, 1))])
    with pytest.raises(UserError, match=r"ranks 0, 1 and 3 on a have one GPU, x; start at most one"):
        check_gpus([Place("a 1", cpus(0, 1), gpu=gpu) for gpu in "xxyx"])


def test_a_place_is_exchanged_as_json():
    here = Place.here(torch.device("cpu"))
    assert Place.loads(here.dumps()) == here
