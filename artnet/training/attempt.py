"""One attempt at a run: it trains what is left, and `run.json` keeps how it went."""

from shards.index import Index

from ..config import RunConfig
from ..rundir import Result, RunDir, write_json
from . import provenance
from .inputs import precision_on
from .loop import StoppedOnRequest, Training
from .ranks import Ranks
from .stop import StopRequest


def train(config: RunConfig, index: Index, run: RunDir, ranks: Ranks, stop: StopRequest) -> Result:
    """Train a run, or what is left of it, and keep its `run.json`. Raises as `Training.fit` does."""
    training = Training(config, index, run, ranks, stop)
    record = run.run()
    entry = provenance.attempt(ranks, training.progress.step)
    entry["precision"] = precision_on(ranks.device, config.train.precision)
    attempts = [*record.get("attempts", []), entry]
    record = {
        "name": run.name,
        "signature": config.signature,
        "data": {"shards": str(index.folder), "fingerprint": index.fingerprint},
        "git": provenance.git_state(),
        "versions": provenance.versions(),
        "attempts": attempts,
    }
    if ranks.is_first:
        write_json(run.run_file, record)
    try:
        result = training.fit()
        entry["outcome"] = "complete"
        return result
    except StoppedOnRequest:
        entry["outcome"] = "stopped"
        raise
    except Exception as error:
        entry["outcome"] = f"failed: {type(error).__name__}: {error}"
        raise
    finally:
        entry["ended"] = provenance.now()
        entry["damaged"] = training.damaged()
        if ranks.is_first:
            write_json(run.run_file, record)
