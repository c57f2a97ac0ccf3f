"""Several sweeps as one, so that their models stand in one table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shards.errors import UserError

from .. import config as run_config
from .. import search_log
from .results import Manifest, Run, Sweep

_SHARDS = "data.shards"  # a path, which changes no result unless other paintings are there


def merged(sweeps: Sequence[Sweep]) -> Sweep:
    """The runs of all sweeps. Its folder, beside the first one, is named after all of them.

    Rows show every key that varies in a sweep or has other values in another one. Raises `UserError` for a search, and
    if runs were tested on different data while no row says so.
    """
    for sweep in sweeps:
        if (sweep.folder / search_log.NAME).exists():
            raise UserError(f"{sweep.folder} is a search, whose runs are ranked on val; report it alone")
    unique = {run.name: run for sweep in reversed(sweeps) for run in reversed(sweep.runs)}
    runs = list(unique.values())[::-1]
    data = {run.result.data for run in runs if run.result}
    keys = _keys(sweeps, runs, shards=len(data) > 1)
    if len(data) > 1 and not any(key.startswith("data.") for key in keys):
        names = " and ".join(str(sweep.folder) for sweep in sweeps)
        raise UserError(
            f"the runs of {names} were tested on different data ({' and '.join(sorted(of[:16] for of in data))}), "
            "and no row would say so; report the sweeps one by one"
        )
    runs = [replace(run, values={key: run.config[key] for key in keys if key in run.config}) for run in runs]
    return Sweep(_folder(sweeps), _manifest(sweeps, runs), runs)


def _keys(sweeps: Sequence[Sweep], runs: Sequence[Run], shards: bool) -> list[str]:
    """The keys that rows show, in the order of the sweeps: those that vary, and those that differ between sweeps."""
    found = dict.fromkeys(key for sweep in sweeps for key in sweep.varied)
    configs = [run.config for run in runs if run.config]
    for key in dict.fromkeys(key for config in configs for key in config):
        counts = _counts(key) or (key == _SHARDS and shards)
        if counts and any(config.get(key) != configs[0].get(key) for config in configs):
            found[key] = None
    return list(found)


def _counts(key: str) -> bool:
    """Whether a key changes results."""
    field = run_config.fields().get(key)
    extra = field.json_schema_extra if field else None
    return not (isinstance(extra, dict) and extra.get("affects_result") is False)


def _folder(sweeps: Sequence[Sweep]) -> Path:
    names = "+".join(sweep.folder.resolve().name for sweep in sweeps)
    return sweeps[0].folder.resolve().parent / names[:200]


def _manifest(sweeps: Sequence[Sweep], runs: Sequence[Run]) -> Manifest:
    manifests = [sweep.manifest for sweep in sweeps]
    planned = {run.name: run for manifest in manifests for run in manifest.runs}
    return manifests[0].model_copy(
        update={
            "name": " + ".join(manifest.name for manifest in manifests),
            "grid": ", ".join(manifest.grid for manifest in manifests if manifest.grid),
            "arithmetic": "; ".join(manifest.arithmetic for manifest in manifests if manifest.arithmetic),
            "reference": list({str(one): one for manifest in manifests for one in manifest.reference}.values()),
            "baseline": next((manifest.baseline for manifest in manifests if manifest.baseline), {}),
            "runs": [planned[run.name].model_copy(update={"values": run.values}) for run in runs],
        }
    )
