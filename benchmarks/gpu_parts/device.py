"""Part 1: the device, its driver, and what it can compute."""

import time

import torch

from .report import Record
from .setting import Setting, synchronize


def check(setting: Setting, record: Record) -> None:
    """A GPU that this build of torch has code for, bf16 without emulation, and one context that computes."""
    record.figure("torch", torch.__version__)
    record.figure("CUDA of this build", str(torch.version.cuda))
    if not setting.rehearse:
        record.check(torch.cuda.is_available(), "torch finds no usable GPU")
        describe(record)
    device = setting.device
    started = time.perf_counter()
    square = torch.randn(256, 256, device=device)
    synchronize()
    record.figure("first tensor", time.perf_counter() - started, "s")
    for dtype, tolerance in ((torch.float32, 1e-2), (torch.bfloat16, 2e-2), (torch.float16, 5e-3)):
        exact = square.double() @ square.double()
        error = ((square.to(dtype) @ square.to(dtype)).double() - exact).norm() / exact.norm()
        record.figure(f"relative error of a product in {str(dtype).removeprefix('torch.')}", float(error))
        record.check(float(error) < tolerance, f"a matrix product in {dtype} is wrong by {float(error):.2g}")
    setting.needs_gpu()


def describe(record: Record) -> None:
    """The name of the GPU and its architecture, checked against those that torch was built for."""
    major, minor = torch.cuda.get_device_capability()
    built = torch.cuda.get_arch_list()
    record.figure("GPU", torch.cuda.get_device_name())
    record.figure("GPUs", torch.cuda.device_count())
    record.figure("compute capability", f"{major}.{minor}")
    record.figure("built for", " ".join(built))
    record.figure("memory", torch.cuda.get_device_properties(0).total_memory / 2**30, "GiB")
    record.figure("free memory", torch.cuda.mem_get_info()[0] / 2**30, "GiB")
    # Code for an architecture runs on later minor versions of the same major one.
    runs = any(name.startswith(f"sm_{major}") and int(name.rpartition("_")[2].rstrip("af")) <= 10 * major + minor
               for name in built)  # fmt: skip
    record.check(runs, f"torch was built for {' '.join(built)}, not for compute capability {major}.{minor}")
    record.check(
        torch.cuda.is_bf16_supported(including_emulation=False), "this GPU computes bf16 by emulation only; use fp16"
    )
