"""Part 10: one rank on NCCL, and what two ranks on one card say."""

import os
import socket
import subprocess
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from artnet.inference.forward import PixelNetwork, forward

from .report import Record
from .setting import Setting, batches, is_finite, learner, no_search

TWO_RANKS = """
import sys
import torch
from artnet.distributed.group import process_group
from shards.errors import command

@command
def main(argv=None):
    with process_group() as ranks:
        ranks.sum(ones := torch.ones(3, device=ranks.device))
        print("the sum is", ones.tolist())
    return 0

sys.exit(main())
"""


def nccl(setting: Setting, record: Record) -> None:
    """DDP with one rank on NCCL trains. Two ranks on one card are refused in one sentence, with exit code 2."""
    one_rank(setting, record)
    codes, said = two_ranks()
    sentences = " / ".join(line for text in said for line in text.strip().splitlines()[-1:])
    record.figure("exit codes of two ranks on one card", " ".join(map(str, codes)))
    record.figure("what they say", sentences)
    if setting.rehearse:  # without a card, both use gloo
        record.check(all("the sum is [2.0" in text for text in said), sentences)
        setting.needs_gpu()
    if torch.cuda.device_count() > 1:
        return  # each has a card of its own
    record.check(set(codes) == {2}, f"two ranks on one card end with {codes}, not 2: {sentences}")
    record.check(not any("Traceback" in text for text in said), "two ranks on one card end with a traceback")
    record.check(any("\nerror: " in f"\n{text}" for text in said), f"no sentence but: {sentences}")


def one_rank(setting: Setting, record: Record) -> None:
    """A forward and backward pass under DDP in a group of one rank, and a sum."""
    device = setting.device
    backend = "gloo" if setting.rehearse else "nccl"
    dist.init_process_group(
        backend, init_method=f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1,
        device_id=None if setting.rehearse else torch.device("cuda", 0),
    )  # fmt: skip
    config = setting.config(64, 4, model__recurrence="lstm")
    trained = learner(config, device)
    no_search()
    parallel = DistributedDataParallel(PixelNetwork(trained.model), device_ids=None if setting.rehearse else [0])
    for batch in batches(config, 3, device):
        loss = forward(parallel, batch.images, config.train.precision)["style"].float().square().mean()
        loss.backward()
        trained.optimizer.step()
        trained.optimizer.zero_grad()
    total = torch.ones(3, device=device)
    dist.all_reduce(total)
    record.check(total.tolist() == [1, 1, 1], f"a sum over one rank gives {total.tolist()}")
    record.check(is_finite(trained.model), "weights are not finite after three steps under DDP")
    del parallel
    dist.destroy_process_group()
    if not setting.rehearse:
        record.figure("NCCL", ".".join(map(str, torch.cuda.nccl.version())))


def two_ranks() -> tuple[list[int], list[str]]:
    """The exit codes and the outputs of two ranks on this machine."""
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common["ARTNET_TIMEOUT_S"] = "40"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_RANKS],
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=100)[0] for process in started]
    return [process.returncode for process in started], said


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
