"""The device of this process: its GPU, or a CPU without one, and an error about a GPU that torch cannot use."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from shards.errors import UserError

_ON_CPU = 'to train on the CPU, set CUDA_VISIBLE_DEVICES=""'


def choose_device(local_rank: int) -> torch.device:
    """The device of a rank. Raises `UserError` if GPUs are allocated to this process and torch can use none of them."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not gpus:
        if where := allocated_gpus(os.environ):
            raise UserError(f"a GPU is allocated ({where}), but {_why_unusable()}; fix that, or {_ON_CPU}")
        return torch.device("cpu")
    # A scheduler may make only its own GPU visible to each process: then it is number 0 for every local rank.
    device = torch.device("cuda", local_rank % gpus)
    capability, built = torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()
    if not is_supported(capability, built):
        raise UserError(
            f"torch {torch.__version__} is built for {', '.join(built)}, not for {torch.cuda.get_device_name(device)} "
            f"of compute capability {capability[0]}.{capability[1]}; install another build of torch, or {_ON_CPU}"
        )
    torch.cuda.set_device(device)
    return device


def allocated_gpus(environment: Mapping[str, str], device_file: Path = Path("/dev/nvidia0")) -> str:
    """How one sees that GPUs are allocated to this process; empty if they are not."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # CUDA shows no GPU from the first entry on that names none
        names_one = re.match(r"\s*(\d|GPU-|MIG-)", visible)
        return f"CUDA_VISIBLE_DEVICES={visible}" if names_one else ""
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        if value := environment.get(name):
            return f"{name}={value}"
    count = environment.get("SLURM_GPUS_ON_NODE", "")
    if count.isdigit() and int(count):
        return f"SLURM_GPUS_ON_NODE={count}"
    return str(device_file) if device_file.exists() else ""


def is_supported(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a torch that is built for these architectures (`sm_80`, `compute_90`) runs on this compute capability.

    Machine code (sm) runs on later minor versions of its major version, an intermediate one (compute) on all later
    versions; architectures with a letter (`sm_90a`) only on their own. True if none of `built` is known, as on ROCm.
    """
    known = [match for name in built if (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name))]
    for match in known:
        version = int(match[2]), int(match[3])
        if version == capability or (
            not match[4] and version < capability and (match[1] == "compute" or version[0] == capability[0])
        ):
            return True
    return not known


def _why_unusable() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch {torch.__version__} cannot use it ({str(error).strip().splitlines()[0].rstrip('.')})"
    return f"torch {torch.__version__} finds none"
