"""How many seconds does each part of a run take, from its start to its first step?

    python benchmarks/startup.py RUN.yaml STARTED

Prints a JSON object that maps parts to seconds. RUN.yaml names the shards. STARTED is the time at which the process was
started, in seconds since 1970 as printed by `date +%s.%N`: the time from then to the first line of this file is that of
the interpreter. As modules are imported only once, each process gives one measurement; `train.py` starts several.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG, STARTED = Path(sys.argv[1]), float(sys.argv[2])
seconds: dict[str, float] = {"interpreter": time.time() - STARTED}


@contextmanager
def part(name: str) -> Iterator[None]:
    """Measure how long the block takes."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


with part("import torch"):
    import torch
with part("other imports"):
    import artnet.train
    import artnet.training.attempt  # noqa: F401  # imported by the command only if there is work
    from artnet.config import load as load_config
    from artnet.data.loader import load
    from artnet.data.sampler import train_batches
    from artnet.distributed.group import process_group
    from artnet.inference.forward import on_device
    from artnet.rundir import RunDir
    from artnet.stop import StopRequest
    from artnet.training.trainer import Trainer
    from shards.index import read_index
with process_group() as ranks, tempfile.TemporaryDirectory() as folder:
    with part("configuration and index"):
        config = load_config(CONFIG)
        index = read_index(Path(config.data.shards or ""))
    with part("data, model and optimizer"):
        training = Trainer(config, index, RunDir(Path(folder) / "run"), ranks, StopRequest(), accumulate=1)
    data = training.data["train"]
    with part("first batch"):
        positions = train_batches(len(data), config.train.batch_size, 0, 1)[:1]
        batches = load(data, data.plan(0), positions, training.threads, ranks.pinned_bytes)
        batch = next(on_device(batches, ranks.device))
    with part("first step"):
        training.learner.step(batch, 0)
        if ranks.on_gpu:
            torch.cuda.synchronize()
print(json.dumps(seconds))
