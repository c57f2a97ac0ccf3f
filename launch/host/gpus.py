"""The GPUs that this process may use, and the CPUs close to each of them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .cpus import read_list

PCI_DEVICES = Path("/sys/bus/pci/devices")
MIG = "MIG-"  # how the name of a MIG slice begins

# Not in this process: reading the properties initialises CUDA, which takes memory of a GPU until the process ends.
_BUS_IDS = """
import json, torch
found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
print(json.dumps([f"{one.pci_domain_id:04x}:{one.pci_bus_id:02x}:{one.pci_device_id:02x}.0" for one in found]))
"""


def visible_gpus() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    # CUDA shows a process one slice of those listed: another process may have another one.
    slices = [name for name in named if name.startswith(MIG)]
    if count and slices:
        return slices
    return named[:count] if named else [str(number) for number in range(count)]


def near_cpus(gpus: Sequence[str]) -> dict[str, frozenset[int]]:
    """The CPUs of the NUMA node of each GPU, as far as the system knows them. `gpus` are all visible ones."""
    if not gpus or gpus[0].startswith(MIG):
        return {}
    try:
        answer = subprocess.run([sys.executable, "-P", "-c", _BUS_IDS], capture_output=True, timeout=60, check=True)
        addresses = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return local_cpus(dict(zip(gpus, addresses, strict=False)))


def local_cpus(addresses: dict[str, str], devices: Path = PCI_DEVICES) -> dict[str, frozenset[int]]:
    """The CPUs close to each GPU, by its address on the PCI bus."""
    return {gpu: frozenset(read_list(devices / address / "local_cpulist")) for gpu, address in addresses.items()}
