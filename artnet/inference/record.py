"""Write a run's `predictions.parquet` from the predictions of its best epoch."""

from collections.abc import Mapping

import numpy as np
import torch

from shards.duplicates import duplicate_groups
from shards.index import Index
from shards.settings import jpeg_settings

from .. import predictions as stored
from ..config import RunConfig, Task
from ..data.dataset import SplitData
from ..errors import SavingError
from ..predictions import Origin, Predicted, Protocol, RunPredictions
from ..rundir import RunDir
from .forward import precision_on
from .predict import Predictions
from .temperature import fit_temperature


def as_stored(
    config: RunConfig,
    index: Index,
    data: Mapping[str, SplitData],
    predictions: Mapping[str, Mapping[Task, Predictions]],
    log_priors: Mapping[Task, torch.Tensor],
    epoch: int,
    device: torch.device,
) -> RunPredictions:
    """The predictions of an `epoch` by split, as they are stored; those of val set the temperature of each task.

    `data` holds the splits; `log_priors` are those of `predict`, which has run on `device`.
    """
    evaluation = config.eval
    origin = Origin(
        signature=config.signature,
        data=index.fingerprint,
        epoch=epoch,
        protocol=Protocol(
            size=config.eval_size,
            flip=evaluation.flip,
            logit_adjustment=evaluation.logit_adjustment,
            precision=precision_on(device, config.train.precision),
        ),
        classes={task: index.classes[task] for task in config.task},
        log_priors={task: log_priors[task].tolist() for task in config.task},
        temperatures={
            task: fit_temperature(answers.logits.cpu().numpy(), answers.labels.cpu().numpy())
            for task, answers in predictions["val"].items()
        },
        **jpeg_settings(index.folder),
    )
    splits = {
        split: {task: _predicted(index, data[split], answers) for task, answers in tasks.items()}
        for split, tasks in predictions.items()
    }
    return RunPredictions(origin, splits)


def _predicted(index: Index, data: SplitData, answers: Predictions) -> Predicted:
    rows = data.rows[answers.samples.cpu().numpy()]
    hashes = index.table["phash"].to_numpy()[rows]
    return Predicted(
        keys=index.table["key"].to_numpy(zero_copy_only=False)[rows].astype(str),
        groups=np.unique(duplicate_groups(hashes), return_inverse=True)[1],
        labels=answers.labels.cpu().numpy(),
        logits=answers.logits.cpu().numpy(),
    )


def write_predictions(run: RunDir, predictions: RunPredictions) -> None:
    """Write `predictions.parquet`. Raises `SavingError` if it cannot be written."""
    try:
        stored.write(run.predictions_file, predictions)
    except OSError as error:
        raise SavingError(
            f"{run.predictions_file} could not be written ({error.strerror}); free some space and start the run again: "
            "only the test is repeated"
        ) from None
