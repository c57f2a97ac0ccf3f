"""The process that drives Ray Tune: `python -m launch.search.driver ORDER`, which only `supervisor` starts.

It may be killed, or hang with Ray: all that counts is in the sweep's folder. It writes what happens as lines of JSON to
its standard output, and ends all processes of its session when its standard input is closed: then the launcher is gone.
"""

import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from artnet.rundir import RunDir
from shards.errors import UserError

from ..grid import load
from ..host.gpus import near_cpus
from ..host.sessions import kill_session
from ..sweep.folder import SweepDir
from . import ray_cluster
from .block import TuneBlock
from .share import Share
from .study import Study

NODES_EVERY_S = 1.0


class Order(BaseModel):
    """What the driver is to do. `queue` are the names of the runs to train first."""

    grid: Path
    sets: list[str]
    block: TuneBlock
    sweep: Path
    queue: list[str]
    more: int | None
    share: Share
    gpus: list[str]
    folder: Path
    cpus: int
    ip: str = "127.0.0.1"
    nodes: int = 1
    address: str | None = None

    def common(self) -> dict[str, Any]:
        """What every run's actor gets."""
        return {
            "max_failures": self.block.max_failures,
            "cpus": self.share.cpus,
            "gpus": self.share.gpus,
            "processes": self.share.processes,
            "threads": self.share.threads,
            "binds": self.address is None,
            "near": {gpu: sorted(cpus) for gpu, cpus in near_cpus(self.gpus).items()},
        }


def main() -> None:
    """The command."""
    order = Order.model_validate_json(Path(sys.argv[1]).read_text())
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what Ray prints goes to the log
    threading.Thread(target=_end_with_launcher, args=(order.folder,), daemon=True).start()

    def emit(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")

    try:
        drive(order, emit)
    except UserError as error:
        emit(refused=str(error))
        raise SystemExit(2) from None
    except Exception as error:  # of Ray, whatever it is: the launcher starts it again
        traceback.print_exc()
        emit(failed=f"{type(error).__name__}: {error}"[:300])
        raise SystemExit(1) from None
    emit(done=True)


def drive(order: Order, emit: Callable[..., None]) -> None:
    """Start Ray and let it train the runs."""
    sweep, loaded = SweepDir(order.sweep), load(order.grid)
    study = Study(sweep, loaded, order.block, order.sets)
    token = "" if order.address else str(ray_cluster.token_file(order.folder))
    address, dashboard = ray_cluster.start(order.folder, order.ip, order.cpus, len(order.gpus), order.address)
    emit(dashboard=dashboard, address=address, token=token)
    if order.nodes > 1:
        threading.Thread(target=_count_nodes, args=(order.nodes, emit), daemon=True).start()
    from .tune_run import tune_runs  # Ray takes a while

    queue = [RunDir(order.sweep / name) for name in order.queue]
    common = {**order.common(), "metric": loaded.metric["name"]}
    notes = order.folder / "notes"  # Ray's own; ours are in the run directories
    notes.mkdir(exist_ok=True)
    tune_runs(study, queue, order.more, order.share.runs, common, notes, lambda text, **more: emit(say=text, **more))


def _count_nodes(expected: int, emit: Callable[..., None]) -> None:
    """Say how many nodes Ray has, whenever that changes."""
    import ray

    before = 0
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        if len(alive) != before:
            before = len(alive)
            cpus, gpus = (sum(node["Resources"].get(kind, 0) for node in alive) for kind in ("CPU", "GPU"))
            emit(say=f"Ray: {before} of {expected} nodes, CPUs: {cpus:g}, GPUs: {gpus:g}")
        time.sleep(NODES_EVERY_S)


def _end_with_launcher(folder: Path) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    kill_session(os.getsid(0), spare=os.getpid())
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
