"""The parts of `benchmarks/gpu.py`: each is a function of a module here, and runs in a process of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part: its title, and `module.function` in this package.

    After `limit` seconds it is ended. A part that is timed or takes all memory runs `alone`, the others side by side.
    """

    title: str
    function: str
    limit: float
    alone: bool = False


SIDE_BY_SIDE = 4  # parts that run at the same time, or one for each core if there are fewer

# In the order in which they start: the device first, then checks side by side, with the launchers, which take longest,
# beside the cheap ones; then what is timed.
PARTS = {
    1: Part("device", "device.check", 60, alone=True),
    14: Part("launchers on one GPU", "programs.launchers", 300),
    3: Part("overflow in step 1, fp16", "steps.overflow", 60),
    6: Part("no hidden synchronisation", "steps.no_synchronisation", 90),
    4: Part("freezing and accumulation", "steps.freezing_and_accumulation", 90),
    5: Part("checkpoints between devices", "checkpoints.between_devices", 90),
    15: Part("exact resume", "checkpoints.exact_resume", 90),
    8: Part("pinned batches under load", "transfers.numbered_batches", 90),
    10: Part("NCCL", "ranks.nccl", 120),
    2: Part("all networks, bf16 and fp16", "steps.all_networks", 150),
    12: Part("compiled progressive sizes", "evaluation.progressive_sizes", 240),
    7: Part("kernel launches", "launches.per_step", 60, alone=True),
    9: Part("out of memory", "memory.recovery", 60, alone=True),
    13: Part("evaluation and snapshot", "evaluation.precision_and_snapshot", 60, alone=True),
    11: Part("speed", "speed.training", 330, alone=True),
}
