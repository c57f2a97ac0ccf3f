"""shards/workers: worker processes respect limits, bound their memory and report when one is killed."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.workers import CHUNK_SIZE, MAX_PENDING, cores, cpu_quota, memory_limit, parallel_map


def test_a_killed_worker_is_reported_in_one_sentence():
    with pytest.raises(UserError, match="fewer workers"), parallel_map(os._exit, [1], 1) as results:
        next(results)


@pytest.mark.parametrize(("limit", "least"), [("max 100000", None), ("40000 100000", 1), ("99900000 100000", None)])
def test_the_cpu_limit_of_a_container_bounds_the_workers(monkeypatch, limit, least):
    monkeypatch.setattr(Path, "read_text", lambda file: limit)
    assert cores() == (least or len(os.sched_getaffinity(0)))


def test_limits_of_a_job_are_those_of_its_control_group_and_of_all_around_it(monkeypatch):
    files = {
        "/proc/self/cgroup": "4:memory:/old\n0::/slurm/job_7/step_0",
        "/sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
        "/sys/fs/cgroup/slurm/job_7/memory.max": "1000000\n",
        "/sys/fs/cgroup/slurm/memory.max": "2000000\n",
        "/sys/fs/cgroup/slurm/job_7/cpu.max": "150000 100000",
    }

    def read_text(file):
        if str(file) not in files:
            raise FileNotFoundError(file)
        return files[str(file)]

    monkeypatch.setattr(Path, "read_text", read_text)
    assert (memory_limit(), cpu_quota()) == (1_000_000, 2)
    files.clear()
    assert memory_limit() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert cpu_quota() is None


def test_items_are_sent_to_workers_as_results_are_taken():
    class Items(Sequence):
        asked = 0

        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, part):
            self.asked = part.stop
            return range(part.start, part.stop)

    items = Items()
    with parallel_map(abs, items, 1) as results:
        assert [next(results) for _ in range(100)] == list(range(100))
    assert items.asked <= 100 + (MAX_PENDING + 1) * CHUNK_SIZE
