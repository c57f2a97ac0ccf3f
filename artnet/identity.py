"""Which run a folder holds, and when another run may have it. Light to import (no torch)."""

from shards.errors import UserError

from .config import RunConfig, fields, flatten, signature
from .rundir import RunDir
from .weights import as_held

SHOWN = 5  # differing keys that are named


def check_free(config: RunConfig, run: RunDir) -> RunConfig:
    """The run `config` with the identity under which its folder holds it.

    Raises `UserError` if the folder holds another run. One that has left nothing to resume from, because it was refused
    or failed early, gives its folder to the next.
    """
    if not run.config_file.exists():
        return config
    held = run.config()
    config = as_held(config, held)
    if config.signature != held.signature and run.has_begun:
        raise UserError(f"{run.path} holds another run: {_differences(config, held)}; choose another --run-dir")
    return config


def take(config: RunConfig, run: RunDir) -> None:
    """Write the run's `config.yaml`. What an earlier run noted that began nothing is removed.

    Raises `UserError` if the folder holds another run. The caller must hold the folder's lock.
    """
    config = check_free(config, run)
    if run.config_file.exists() and run.config().signature != config.signature:
        for file in (run.run_file, run.metrics_file, run.bad_batch_file):
            file.unlink(missing_ok=True)
        run.remove_events()
    run.write_config(config)


def _differences(config: RunConfig, held: RunConfig) -> str:
    """The keys by which two runs differ, with both values: `optim.lr is 0.1 there and 0.2 here`."""
    known, there, here = fields(), flatten(held), flatten(config)
    differing = [
        f"{key} is {_shown(there[key])} there and {_shown(here[key])} here"
        for key in dict.fromkeys([*known, *there, *here])
        if signature({key: there[key]}, known) != signature({key: here[key]}, known)
    ]
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return ", ".join(differing[:SHOWN]) + more


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
