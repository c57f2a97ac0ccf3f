"""Whether the shards are there, and the runs of a grid fit them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from shards.errors import UserError
from shards.files import is_url
from shards.index import Index, read_index
from shards.remote import local_folder
from shards.urls import check_url

from ..grid import Run
from .backend import Backend
from .folder import SweepDir

Result = TypeVar("Result")


def check_data(
    sweep: SweepDir,
    runs: Sequence[Run],
    starting: Sequence[Run],
    where: Callable[[str], str],
    engine: Backend,
    dry_run: bool,
) -> tuple[list[str], dict[str, int]]:
    """Check that the shards are there, are those that the `runs` so far were trained on, and suit those `starting`.

    `where` says where a key is given, `FILE:LINE`. Shards that only the machines of the engine's jobs may see are not
    looked at. Returns warnings about them, and how many training paintings each run to start has, by its name,
    where that is known. Raises `UserError` for what is wrong.
    """
    for run in starting:
        _check_ranks(run, engine.ranks(run), where)
    found: dict[str, Index | None] = {}
    elsewhere, warnings = engine.elsewhere, []
    for run in runs:
        shards = run.config.data.shards
        if not shards:
            raise UserError("the grid names no data.shards; add it under fixed, or give --data SHARDS")
        if shards not in found:
            found[shards] = None
            if is_url(shards):
                _at(where, check_url, shards)
            hidden = is_url(shards) if elsewhere or dry_run else False
            if hidden or (elsewhere and not Path(shards).exists()):
                if elsewhere:
                    fate = "is read by the jobs" if hidden else "cannot be seen on this machine"
                    warnings.append(f"{where('data.shards')}: {shards} {fate}; whether the runs fit it is not checked")
            else:
                found[shards] = _at(where, lambda shards: read_index(local_folder(shards)), shards)
        index = found[shards]
        data = sweep.run(run).run().get("data")
        if index and isinstance(data, dict) and data.get("fingerprint") != index.fingerprint:
            raise UserError(
                f"{sweep.run(run).path} was trained on other data than {shards} holds now; "
                "give another --runs, or delete that run"
            )
    return warnings, _check_batches(starting, found, where)


def _check_ranks(run: Run, ranks: int, where: Callable[[str], str]) -> None:
    try:
        run.config.check_divides(ranks)
    except UserError as error:
        raise UserError(f"{where('train.batch_size')}: {error}") from None


def _at(where: Callable[[str], str], check: Callable[..., Result], *arguments: object) -> Result:
    try:
        return check(*arguments)
    except UserError as error:
        raise UserError(f"{where('data.shards')}: {error}") from None


def _check_batches(runs: Sequence[Run], found: dict[str, Index | None], where: Callable[[str], str]) -> dict[str, int]:
    paintings: dict[tuple[object, ...], int] = {}
    of_runs: dict[str, int] = {}
    for run in runs:
        config = run.config
        index = found.get(config.data.shards or "")
        if index is None:
            continue
        try:
            index.check_tasks(config.task)
        except UserError as error:
            raise UserError(f"{where('task')}: {error}") from None
        wanted = config.data
        key = (wanted.shards, config.task, wanted.labelled, wanted.folds, wanted.fold)
        if key not in paintings:
            rows, _ = index.select("train", config.task, wanted.labelled, wanted.folds, wanted.fold)
            paintings[key] = len(rows)
        of_runs[config.name] = paintings[key]
        if config.train.batch_size > paintings[key]:
            raise UserError(
                f"{where('train.batch_size')}: train.batch_size {config.train.batch_size} is more than the "
                f"{paintings[key]} training paintings in {index.folder}; make it smaller"
            )
    return of_runs
