"""Which device a process trains on, and what it says where a GPU is allocated and of no use."""

from pathlib import Path

import pytest
import torch

from artnet.distributed.device import allocated_gpus, choose_device, is_supported
from shards.errors import UserError

HERE, NOWHERE = Path(__file__), Path("/nowhere")


@pytest.mark.parametrize(
    ("environment", "device_file", "expected"),
    [
        ({}, NOWHERE, ""),
        ({}, HERE, str(HERE)),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, NOWHERE, "CUDA_VISIBLE_DEVICES=1,0"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-3eb87630"}, NOWHERE, "CUDA_VISIBLE_DEVICES=MIG-3eb87630"),
        ({"SLURM_GPUS_ON_NODE": "2"}, NOWHERE, "SLURM_GPUS_ON_NODE=2"),
        ({"SLURM_GPUS_ON_NODE": "0"}, NOWHERE, ""),
        ({"SLURM_JOB_GPUS": "3"}, NOWHERE, "SLURM_JOB_GPUS=3"),
        ({"SLURM_STEP_GPUS": "3"}, NOWHERE, "SLURM_STEP_GPUS=3"),
        *(
            ({"CUDA_VISIBLE_DEVICES": hidden, "SLURM_JOB_GPUS": "0"}, HERE, "")
            for hidden in ("", "-1", "NoDevFiles", "none")
        ),
    ],
)
def test_allocated_gpus_are_known_by_the_environment_or_the_device_file(environment, device_file, expected):
    assert allocated_gpus(environment, device_file) == expected


def _no_driver():
    raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update it.\nmore")


@pytest.mark.parametrize(("cuda", "reason"), [(None, "built without CUDA"), ("13.0", "too old (found version 11040)")])
def test_an_allocated_gpu_that_torch_cannot_use_is_an_error_with_the_reason(monkeypatch, cuda, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", _no_driver)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError) as raised:
        choose_device(0)
    assert reason in str(raised.value) and 'CUDA_VISIBLE_DEVICES=""' in str(raised.value)
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device(0).type == "cpu"


BUILT = ("sm_75", "sm_80", "sm_90a", "sm_100", "compute_100")


@pytest.mark.parametrize(
    ("capability", "supported"),
    [
        ((7, 5), True),
        ((7, 0), False),
        ((8, 9), True),
        ((9, 0), True),
        ((9, 1), False),
        ((10, 3), True),
        ((12, 0), True),
    ],
)
def test_a_gpu_is_supported_by_machine_code_of_its_major_version_or_by_an_earlier_intermediate_one(
    capability, supported
):
    assert is_supported(capability, BUILT) is supported
    assert is_supported(capability, ("gfx90a",))


def test_a_gpu_that_torch_is_not_built_for_is_an_error(monkeypatch):
    for name, value in {
        "is_available": True,
        "device_count": 2,
        "get_device_capability": (7, 0),
        "get_arch_list": ["sm_75", "sm_90"],
        "get_device_name": "Tesla V100",
        "set_device": None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    with pytest.raises(UserError, match=r"built for sm_75, sm_90, not for Tesla V100 of compute capability 7\.0"):
        choose_device(1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert choose_device(3) == torch.device("cuda", 1)
