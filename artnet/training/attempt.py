"""The attempts of a run: each trains the remaining steps, and is recorded in `run.json`."""

import gc
import json
import os
import socket
import sys
from typing import Any

import torch

from shards.errors import UserError
from shards.index import Index

from .. import provenance
from ..config import RunConfig
from ..distributed import Ranks
from ..errors import OutOfMemoryError, StoppedOnRequest
from ..formats import FORMAT
from ..inference.forward import precision_on
from ..rundir import Result, RunDir, write_json
from ..stop import StopRequest
from . import oom
from .trainer import Trainer


def train(
    config: RunConfig, index: Index, run: RunDir, ranks: Ranks, stop: StopRequest, auto_accumulate: bool = False
) -> Result:
    """Train a run, or the rest of it, and record the attempt in `run.json`. Raises as `Trainer.fit` does.

    With `auto_accumulate`, a run that is out of memory is retried with more gradient accumulation: at once by a single
    process, at the next start by several.
    """
    while True:
        attempts = run.run().get("attempts", [])
        accumulate = oom.accumulate_for(config, ranks, attempts, auto_accumulate)
        try:
            return _attempt(config, index, run, ranks, stop, accumulate)
        except OutOfMemoryError as error:
            more = oom.doubled(accumulate, config, ranks)
            if not auto_accumulate or ranks.world_size > 1 or more is None:
                raise
            print(f"{run.name}: {error}", file=sys.stderr)
            print(f"{run.name}: starting again with train.accumulate {more}", file=sys.stderr, flush=True)
        gc.collect()
        if ranks.on_gpu:
            torch.cuda.empty_cache()


def _attempt(config: RunConfig, index: Index, run: RunDir, ranks: Ranks, stop: StopRequest, accumulate: int) -> Result:
    entry = _entry(config, ranks, accumulate)
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": run.name,
        "signature": config.signature,
        "data": {"shards": str(index.folder), "fingerprint": index.fingerprint},
        "git": provenance.git_state(),
        "versions": provenance.versions(),
        "attempts": [*run.run().get("attempts", []), entry],
    }
    trainer: Trainer | None = None
    try:
        with ranks.detect_lost_peers():
            if any(ranks.any(bool(stop))):
                raise StoppedOnRequest(f"stopped by {stop.name or 'a signal'} before the training began")
            trainer = Trainer(config, index, run, ranks, stop, accumulate)
            entry["from_step"] = trainer.progress.step
            if ranks.is_first:
                write_json(run.run_file, record)
            result = trainer.fit()
        entry["outcome"] = "complete"
        return result
    except StoppedOnRequest:
        entry["outcome"] = "stopped"
        raise
    except Exception as error:
        if trainer is None and isinstance(error, UserError):
            record = {}  # nothing has started, and the folder may belong to another run
            raise
        failure = oom.explain(error, config, ranks, accumulate) if oom.is_out_of_memory(error) else error
        entry["outcome"] = f"failed: {type(failure).__name__}: {failure}"
        ranks.publish_failure(failure)
        if failure is error:
            raise
        raise failure from None
    finally:
        entry["ended"] = provenance.now()
        entry["damaged"] = trainer.damaged() if trainer else []
        if ranks.is_first and record:
            _write_last(run, record)


def _entry(config: RunConfig, ranks: Ranks, accumulate: int) -> dict[str, Any]:
    """Create an entry of `run.json`'s attempts: process, machine and settings."""
    return {
        "started": provenance.now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "world_size": ranks.world_size,
        "device": torch.cuda.get_device_name(ranks.device) if ranks.on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "from_step": 0,
        "accumulate": accumulate,
        "precision": precision_on(ranks.device, config.train.precision),
    }


def _write_last(run: RunDir, record: dict[str, Any]) -> None:
    """Write `run.json` at an attempt's end; only warn if it fails, so that it does not hide the attempt's own error."""
    try:
        write_json(run.run_file, record)
    except OSError as error:
        last = json.dumps(record["attempts"][-1], ensure_ascii=False)
        print(f"{run.name}: warning: {run.run_file} could not be written ({error.strerror}): {last}", file=sys.stderr)
