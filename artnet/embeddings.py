"""`embeddings.parquet`: the features that a run's best epoch computes of each painting, the input of its heads.

    key         of the painting, as in the index of the shards; rows are in its order
    TASK        for each task of the run, such as style: class index, -1 = unlabelled
    split_TASK  for each of them: train, val or test, empty if unlabelled
    features    float32, averaged over positions and, if `flip`, over the painting and its mirror image

Its metadata, JSON under the key `artnet`, says of which run and data it is. Light to import (no torch).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from shards.files import atomic_open
from shards.tasks import UNLABELLED

from .config import Task
from .parquet import RunOrigin, read_of_run

MAX_BYTES = 16_000_000_000  # of the columns, uncompressed


class Origin(RunOrigin):
    """What embeddings are of: the run and epoch, the data, and how the paintings were evaluated.

    `size` in pixels and `flip` are those of `artnet.predictions.Protocol`; `precision` is that of the forward pass, as
    in `train.precision`. `classes` are the class names of each task.
    """

    size: int = Field(ge=1)
    flip: bool
    precision: str
    classes: dict[Task, list[str]]


@dataclass(frozen=True)
class Embeddings:
    """The features of n paintings, float32 (n, channels), in the order of the index.

    `keys` str (n,). For each task, `labels` int64 (n,), -1 = unlabelled, and `splits` str (n,), train, val or test, or
    empty where unlabelled.
    """

    origin: Origin
    keys: np.ndarray
    features: np.ndarray
    labels: Mapping[Task, np.ndarray]
    splits: Mapping[Task, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    def similarities(self, query: np.ndarray) -> np.ndarray:
        """The cosine of the angle between `query`, (channels,), and the features of each painting, float64 (n,).

        The distance is 1 minus that. It is 0 where all features are zero.
        """
        exact = query.astype(np.float64)
        lengths = np.sqrt(np.einsum("nc,nc->n", self.features, self.features, dtype=np.float64))
        scale = lengths * np.linalg.norm(exact)
        return np.asarray(np.divide(self.features @ exact, scale, out=np.zeros(len(self)), where=scale > 0))


def write(file: Path, embeddings: Embeddings) -> None:
    """Write the file atomically. Raises `OSError` if it cannot be written."""
    features = np.ascontiguousarray(embeddings.features, np.float32)
    columns: dict[str, pa.Array] = {"key": pa.array(embeddings.keys, pa.string())}
    for task in embeddings.origin.classes:
        columns[task] = pa.array(embeddings.labels[task], pa.int32())
        columns[f"split_{task}"] = pa.array(embeddings.splits[task], pa.string())
    columns["features"] = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    table = pa.table(columns).replace_schema_metadata({"artnet": embeddings.origin.model_dump_json()})
    with atomic_open(file) as opened:
        # Bytes of floats hardly repeat, and their dictionary would be as large as they are.
        pq.write_table(table, opened, compression="zstd", use_dictionary=False, row_group_size=10_000)


def read(file: Path, signature: str | None = None) -> Embeddings:
    """Read the file. Raises `UserError` if it is missing, broken, of a newer artnet, or of a run of another signature.

    The message says how to make it.
    """
    remedy = f"`python -m artnet.embed {file.parent}` makes it"
    return read_of_run(file, MAX_BYTES, Origin, _embeddings, signature, remedy)


def _embeddings(table: pa.Table, origin: Origin) -> Embeddings:
    """The columns. Raises `ValueError` if a value cannot be."""
    if any(column.null_count for column in table.columns):
        raise ValueError("it has empty values")
    lists = table["features"].cast(pa.list_(pa.float32(), table.schema.field("features").type.list_size))
    features = lists.combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    if not np.isfinite(features).all():
        raise ValueError("it has features that are not finite")
    labels = {task: table[task].to_numpy().astype(np.int64) for task in origin.classes}
    if any((of < UNLABELLED).any() or (of >= len(origin.classes[task])).any() for task, of in labels.items()):
        raise ValueError("it has a label that is no class")
    keys, *splits = (
        table[name].to_numpy(zero_copy_only=False).astype(str)
        for name in ("key", *(f"split_{task}" for task in origin.classes))
    )
    if len(np.unique(keys)) < len(keys):
        raise ValueError("it has a painting twice")
    return Embeddings(origin, keys, features, labels, dict(zip(origin.classes, splits, strict=True)))
