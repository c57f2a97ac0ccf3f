"""The CPUs of this machine, and their division among slots."""

import contextlib
import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

SYSTEM = Path("/sys/devices/system")

Core = tuple[int, int, int]  # NUMA node, socket, core: CPUs with the same one are hyperthreads of one core


def divide(cpus: Mapping[int, Core], near: Sequence[Collection[int]]) -> list[frozenset[int]]:
    """Divide `cpus` among slots, of which `near` has the CPUs close to each one's GPUs; empty: not known.

    Slots that are close to the same CPUs share these evenly. If it is not known of all slots, or some of their CPUs
    overlap, all slots share all CPUs. Parts are contiguous in the order of NUMA nodes and cores. Hyperthreads of a
    core stay together unless there are more slots than cores; slots overlap only if there are more slots than CPUs.
    """
    groups = [frozenset(cpus.keys() & set(own)) for own in near]
    distinct = set(groups)
    if not all(groups) or any(one & other for one, other in itertools.combinations(distinct, 2)):
        groups = [frozenset(cpus)] * len(near)
        distinct = set(groups)
    parts = {group: iter(_parts({cpu: cpus[cpu] for cpu in group}, groups.count(group))) for group in distinct}
    return [next(parts[group]) for group in groups]


def _parts(cpus: Mapping[int, Core], count: int) -> list[frozenset[int]]:
    ordered = sorted(cpus, key=lambda cpu: (cpus[cpu], cpu))
    units = [list(threads) for _, threads in itertools.groupby(ordered, key=cpus.__getitem__)]
    if len(units) < count:
        units = [[cpu] for cpu in ordered]
    bounds = [len(units) * part // count for part in range(count + 1)]
    shares = (units[first : max(last, first + 1)] for first, last in itertools.pairwise(bounds))
    return [frozenset(itertools.chain(*share)) for share in shares]


def own_cpus(system: Path = SYSTEM) -> dict[int, Core]:
    """The CPUs that this process may use, with their cores. Empty where the system has no CPU affinity."""
    if not hasattr(os, "sched_getaffinity"):
        return {}
    nodes = {
        cpu: int(folder.name.removeprefix("node"))
        for folder in (system / "node").glob("node[0-9]*")
        for cpu in read_list(folder / "cpulist")
    }
    found = {}
    for cpu in os.sched_getaffinity(0):
        topology = system / "cpu" / f"cpu{cpu}" / "topology"
        socket, core = (_number(topology / name) for name in ("physical_package_id", "core_id"))
        found[cpu] = (nodes.get(cpu, 0), max(socket, 0), cpu if core < 0 else core)
    return found


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return -1


def read_list(file: Path) -> list[int]:
    """Read the kernel's list of CPUs, such as `0-3,8`; empty if the file is missing or broken."""
    try:
        ranges = [part.partition("-") for part in file.read_text().strip().split(",") if part]
        return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]
    except (OSError, ValueError):
        return []


@contextlib.contextmanager
def bound_to(cpus: Collection[int]) -> Iterator[None]:
    """Let the processes that this thread starts in the block use these CPUs only; empty: all that it may use itself.

    A process inherits the affinity of the thread that starts it, so it never runs elsewhere.
    """
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # CPUs that were taken from this process since: the system knows better
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)
