"""The attempts of a run: each trains the remaining steps, and is recorded in `run.json`."""

import json
import os
import socket
import sys
import threading
from typing import Any

import torch

from shards.errors import UserError
from shards.index import Index

from .. import provenance, sources
from ..config import RunConfig
from ..distributed.ranks import Ranks
from ..errors import OutOfMemoryError, PeerLostError, StoppedOnRequest, is_out_of_memory
from ..formats import FORMAT
from ..heartbeat import shown
from ..inference.forward import precision_on
from ..result import Result
from ..rundir import RunDir, write_json
from ..stop import StopRequest
from . import oom
from .trainer import Trainer

SAVING_S = 60.0  # how long a process that must end waits for a checkpoint that is being written


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
            if not auto_accumulate or ranks.world_size > 1 or more is None or not oom.can_retry(ranks.device):
                raise
            print(f"{run.name}: {error}", file=sys.stderr)
            print(f"{run.name}: starting again with train.accumulate {more}", file=sys.stderr, flush=True)


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

    def end(error: PeerLostError) -> None:
        """Record and report a failure that the main thread has not noticed."""
        if trainer:
            saving = threading.Thread(target=trainer.checkpoints.close, daemon=True)
            saving.start()
            saving.join(SAVING_S)
            if ranks.is_first:
                entry.update(outcome=_failed(error), ended=provenance.now(), damaged=trainer.damaged())
                _write_last(run, record)
        print(f"error: {run.name}: {error}", file=sys.stderr, flush=True)

    try:
        with ranks.detect_lost_peers(end):
            if any(ranks.any(bool(stop))):
                raise StoppedOnRequest(f"stopped by {stop.name or 'a signal'} before the training began")
            with stop.waiting(), shown("building the network and loading its weights"):
                trainer = Trainer(config, index, run, ranks, stop, accumulate)
            entry["from_step"] = trainer.progress.step
            if ranks.is_first:
                run.check_exists()
                write_json(run.run_file, record)
            result = trainer.fit()
        entry["outcome"] = "complete"
        return result
    except StoppedOnRequest:
        entry["outcome"] = "stopped"
        raise
    except Exception as error:
        failure = oom.explain(error, config, ranks, accumulate) if is_out_of_memory(error) else error
        ranks.publish_failure(failure)
        if trainer is None and isinstance(error, UserError):
            record = {}  # nothing has started, and the folder may belong to another run
            raise
        entry["outcome"] = _failed(failure)
        if failure is error:
            raise
        raise failure from None
    finally:
        entry["ended"] = provenance.now()
        entry["damaged"] = trainer.damaged() if trainer else []
        if ranks.is_first and record:
            _write_last(run, record)


def _failed(error: Exception) -> str:
    return f"failed: {type(error).__name__}: {error}"


def _entry(config: RunConfig, ranks: Ranks, accumulate: int) -> dict[str, Any]:
    """Create an entry of `run.json`'s attempts: process, machine and settings."""
    return {
        "started": provenance.now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": provenance.process_start(os.getpid()),
        "world_size": ranks.world_size,
        "device": torch.cuda.get_device_name(ranks.device) if ranks.on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "from_step": 0,
        "accumulate": accumulate,
        "precision": precision_on(ranks.device, config.train.precision),
        "sources": sources.digests() if ranks.is_first else {},
    }


def _write_last(run: RunDir, record: dict[str, Any]) -> None:
    """Write `run.json` at an attempt's end; only warn if it fails, so that it does not hide the attempt's own error."""
    try:
        if run.config_file.exists():
            write_json(run.run_file, record)
    except OSError as error:
        last = json.dumps(record["attempts"][-1], ensure_ascii=False)
        print(f"{run.name}: warning: {run.run_file} could not be written ({error.strerror}): {last}", file=sys.stderr)
