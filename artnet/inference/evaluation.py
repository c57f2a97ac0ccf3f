"""Evaluate a complete run on val and test again: on its own shards, or on others with the same classes."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import torch

from shards.errors import UserError
from shards.index import Index
from shards.tasks import UNLABELLED

from ..config import Task
from ..data.dataset import SplitData, all_splits
from ..distributed.ranks import Ranks
from ..errors import SavingError
from ..formats import NewerFormatError
from ..predictions import RunPredictions
from .predict import Predictions, log_priors, predict
from .record import as_stored, write_predictions
from .trained import TrainedRun

Found = Mapping[str, Mapping[Task, Predictions]]  # by split and task


def evaluate(trained: TrainedRun, index: Index, ranks: Ranks) -> tuple[Found, RunPredictions | None]:
    """Predict val and test of these shards. Must be called on all ranks.

    Returns the predictions, and as they are stored if the shards are those that the run was trained on. Raises
    `UserError` if other shards have a class that the run has not.
    """
    config, is_own = trained.config, index.fingerprint == trained.result.data
    data = all_splits(config, index)
    if is_own:
        priors = log_priors(data["train"].labels, trained.classes)
    else:
        origin = trained.predictions.origin
        priors = {task: torch.tensor(origin.log_priors[task]) for task in config.task}
        for split in data.values():
            split.labels = _renamed(split.labels, index, origin.classes, config.task)
    threads = config.data.threads or ranks.threads
    found = {split: _predict(trained, data[split], ranks, threads, priors) for split in ("val", "test")}
    if not is_own:
        return found, None
    epoch = trained.result.best_epoch
    return found, as_stored(config, index, data, found, priors, epoch, ranks.device)


def stored_or_made(trained: TrainedRun, ranks: Ranks) -> RunPredictions:
    """The run's stored predictions. A run of an earlier version has none: they are made on its own shards.

    They are then stored too, unless the run's folder cannot be written. Raises `UserError` if there are neither.
    """
    try:
        return trained.predictions
    except NewerFormatError:
        raise
    except UserError as lost:
        try:
            index = trained.own_index()
        except UserError as error:
            said = str(lost).partition("; ")[0]
            raise UserError(
                f"{said}, and it cannot be made without the run's shards ({str(error).partition('; ')[0]}); run "
                f"`python -m artnet.evaluate {trained.run.path} --shards SHARDS` with those that it was trained on"
            ) from None
    _, made = evaluate(trained, index, ranks)
    assert made  # noqa: S101 - these are its own shards
    if ranks.is_first:
        with suppress(SavingError):
            write_predictions(trained.run, made)
    return made


def _predict(
    trained: TrainedRun, data: SplitData, ranks: Ranks, threads: int, priors: Mapping[Task, torch.Tensor]
) -> Mapping[Task, Predictions]:
    found = predict(trained.network, data, ranks, threads, priors)
    data.note_damaged(ranks.union(set(data.damaged)))
    data.check_damage()
    return found


def _renamed(
    labels: np.ndarray, index: Index, classes: Mapping[Task, list[str]], tasks: tuple[Task, ...]
) -> np.ndarray:
    """Labels, int64 (n, tasks), as numbers of the run's classes instead of those of the same name in the index."""
    columns = []
    for column, task in enumerate(tasks):
        names, own = index.classes[task], {name: number for number, name in enumerate(classes[task])}
        if unknown := [name for name in names if name not in own]:
            raise UserError(
                f"{index.folder} has {len(unknown)} classes of {task} that the run was not trained on, such as "
                f"{unknown[0]}; give shards that have only its classes"
            )
        numbers = np.array([*(own[name] for name in names), UNLABELLED])  # the last is that of -1
        columns.append(numbers[labels[:, column]])
    return np.stack(columns, 1)
