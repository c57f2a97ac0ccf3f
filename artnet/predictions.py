"""`predictions.parquet`: the logits of a run's best epoch for every labelled painting of val and test.

    split   val or test
    task    such as artist
    key     of the painting, as in the index of the shards
    group   number of its group of near-duplicates in the shards: paintings of a group are no independent samples
    label   class index
    logits  float16, one for each class

Its metadata says of which run and data it is. Light to import (no torch): launchers and reports read hundreds of these.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from shards.files import atomic_write

from .config import Task
from .parquet import RunOrigin, read_of_run

MAX_BYTES = 8_000_000_000  # of the columns, uncompressed
_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("task", pa.string()),
        ("key", pa.string()),
        ("group", pa.int32()),
        ("label", pa.int32()),
        ("logits", pa.list_(pa.float16())),
    ]
)


class Protocol(BaseModel):
    """How the paintings were evaluated: the centre square of 87.5 % of the shorter side, resized to `size` pixels.

    `flip`: logits are the mean over a painting and its mirror image. `logit_adjustment` times the log of the class
    shares in training is subtracted from them. `precision` is that of the forward pass, as in `train.precision`.
    """

    size: int = Field(ge=1)
    flip: bool
    logit_adjustment: float
    precision: str


class Origin(RunOrigin):
    """What predictions are of: the run and epoch, the data, and what is needed to predict any other picture.

    `classes` are the class names of each task, `log_priors` the log of each class's share in training, and
    `temperatures` the T by which a task's logits are divided so that the softmax is calibrated on val (Guo et al., "On
    Calibration of Modern Neural Networks", ICML 2017). `short_side` in pixels and `quality` are those of the packed
    JPEGs; None if the shards do not say.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    protocol: Protocol
    classes: dict[Task, list[str]]
    log_priors: dict[Task, list[float]]
    temperatures: dict[Task, float]
    short_side: int | None = Field(None, ge=1)
    quality: int | None = Field(None, ge=1, le=95)


@dataclass(frozen=True)
class Predicted:
    """One head's predictions for the n labelled paintings of a split, in the order of the index.

    `keys` str (n,); `groups` int64 (n,); `labels` int64 (n,); `logits` float32 (n, classes), rounded to float16.
    """

    keys: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """Whether the class with the largest logit is the label, bool (n,); of equal logits the first counts."""
        return np.asarray(self.logits.argmax(1) == self.labels)

    def probabilities(self, temperature: float = 1.0) -> np.ndarray:
        """The softmax of the logits divided by a temperature, float64 (n, classes)."""
        scaled = self.logits.astype(np.float64) / temperature
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))


@dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run, by split ("val", "test") and task."""

    origin: Origin
    splits: Mapping[str, Mapping[str, Predicted]]


def write(file: Path, predictions: RunPredictions) -> None:
    """Write the file atomically. Raises `OSError` if it cannot be written."""
    tables = [
        pa.table(
            {
                "split": pa.repeat(split, len(one)),
                "task": pa.repeat(task, len(one)),
                "key": pa.array(one.keys, pa.string()),
                "group": pa.array(one.groups, pa.int32()),
                "label": pa.array(one.labels, pa.int32()),
                "logits": _lists(one.logits),
            },
            schema=_SCHEMA,
        )
        for split, tasks in predictions.splits.items()
        for task, one in tasks.items()
    ]
    about = {"artnet": predictions.origin.model_dump_json()}
    table = pa.concat_tables([_SCHEMA.empty_table(), *tables]).replace_schema_metadata(about)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    atomic_write(file, buffer.getvalue())


def _lists(logits: np.ndarray) -> pa.Array:
    n, classes = logits.shape
    return pa.ListArray.from_arrays(
        pa.array(np.arange(0, n * classes + 1, classes), pa.int32()),
        pa.array(logits.astype(np.float16).ravel(), pa.float16()),
    )


def read(file: Path, signature: str | None = None) -> RunPredictions:
    """Read the file. Raises `UserError` if it is missing, broken, of a newer artnet, or of a run of another signature.

    The message says how to make it.
    """
    remedy = f"`python -m artnet.evaluate {file.parent}` makes it"
    return read_of_run(file, MAX_BYTES, Origin, _predictions, signature, remedy)


def _predictions(table: pa.Table, origin: Origin) -> RunPredictions:
    return RunPredictions(origin, _splits(table.select(_SCHEMA.names).cast(_SCHEMA), origin))


def _splits(table: pa.Table, origin: Origin) -> dict[str, dict[str, Predicted]]:
    """The columns by split and task. Raises `ValueError` if a value cannot be."""
    if any(column.null_count for column in table.columns):
        raise ValueError("it has empty values")
    names = [table[name].to_numpy(zero_copy_only=False).astype(str) for name in ("split", "task")]
    splits: dict[str, dict[str, Predicted]] = {}
    for split in dict.fromkeys(names[0].tolist()):
        for task in dict.fromkeys(names[1][names[0] == split].tolist()):
            rows = table.filter(pa.array((names[0] == split) & (names[1] == task)))
            splits.setdefault(split, {})[task] = _predicted(rows, len(origin.classes[task]))
    return splits


def _predicted(table: pa.Table, classes: int) -> Predicted:
    lists = table["logits"].combine_chunks()
    logits = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float32)
    if (np.asarray(lists.value_lengths()) != classes).any() or not np.isfinite(logits).all():
        raise ValueError("it has rows without a finite logit for each class")
    labels = table["label"].to_numpy().astype(np.int64)
    if (labels < 0).any() or (labels >= classes).any():
        raise ValueError("it has a label that is no class")
    keys = table["key"].to_numpy(zero_copy_only=False).astype(str)
    if len(np.unique(keys)) < len(keys):
        raise ValueError("it has a painting twice")
    return Predicted(keys, table["group"].to_numpy().astype(np.int64), labels, logits.reshape(len(labels), classes))
