"""`index.parquet`: one row per painting, with its place in the shards, its labels and its splits.

key           name of the sample in its tar, unique, without dots
path          path of the painting in the label lists, STYLE/NAME.jpg
shard         file name of its tar
offset length position and size of its encoded image in that tar, bytes
width height  pixels
sha256        of the encoded image, hex
phash         64 bits that are nearly the same for near-duplicates (shards/duplicates.py)
TASK          for each task, such as artist, style and genre: class index, -1 = unlabelled
split_TASK    for each task, and for `combined` if there are several: train, val, test or empty
"""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError
from .files import atomic_write
from .parquet import read_bounded_table
from .streams import harmless
from .tasks import TASKS, UNLABELLED, is_task, splits_of

INDEX_NAME = "index.parquet"
VERSION = 4
OF_ARTGAN = 3  # the version of an index with the tasks artist, style and genre, which earlier artnets read too
MAX_SIDE = 65_500  # pixels: libjpeg's limit
MAX_PIXELS = 250_000_000  # of an image; packing refuses larger ones too
MAX_BYTES = 8_000_000_000  # of the columns of an index, uncompressed


def schema(tasks: Iterable[str]) -> pa.Schema:
    """The columns of an index with these tasks."""
    tasks = tuple(tasks)
    return pa.schema(
        [
            ("key", pa.string()),
            ("path", pa.string()),
            ("shard", pa.string()),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("sha256", pa.string()),
            ("phash", pa.uint64()),
            *((task, pa.int16()) for task in tasks),
            *((f"split_{name}", pa.string()) for name in splits_of(tasks)),
        ]
    )


@dataclass(frozen=True)
class Index:
    """The index of a folder of shards.

    `table` has the columns above. `classes` maps each task to its class names, in the order of their indices.
    `fingerprint` is a SHA-256, in hex, of everything that a training can read. `checksums` maps the file name of each
    shard to the SHA-256 of the file, in hex.
    """

    folder: Path
    table: pa.Table
    classes: dict[str, list[str]]
    fingerprint: str
    checksums: dict[str, str]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the paintings are labelled for."""
        return tuple(self.classes)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, int16 of shape (paintings, tasks) in the order of `tasks`; -1 = unlabelled."""
        return np.stack([self.table[task].to_numpy() for task in self.tasks], axis=1)

    def check_tasks(self, tasks: Iterable[str]) -> None:
        """Raise `UserError`, with the tasks that there are, unless these are among them."""
        for task in tasks:
            if task not in self.tasks:
                have = f"task {self.tasks[0]}" if len(self.tasks) == 1 else f"tasks {', '.join(self.tasks)}"
                raise UserError(f"there is no task {task} in the shards in {self.folder}; they have the {have}")

    @cached_property
    def groups(self) -> list[str]:
        """The name of the group of near-duplicates that each painting belongs to."""
        from .duplicates import duplicate_groups  # here, as is `folds`: launchers read an index for its size alone

        return duplicate_groups(self.table["phash"].to_numpy())

    def select(
        self, split: str, tasks: tuple[str, ...], labelled: str = "any", folds: int = 0, fold: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Select the paintings that are in `split` of any of `tasks`, or of all of them if `labelled` is "all".

        With `folds`, the splits are not those of the index, but of cross-validation: `fold_splits` of all paintings
        that are labelled for any of `tasks`.

        Returns their row numbers, int64 (n,), and their labels, int64 (n, len(tasks)). A painting that is not in
        `split` of a task is unlabelled (-1) in this task. Raises `UserError` for a task that the shards do not have.
        """
        self.check_tasks(tasks)
        labels = self.labels[:, [self.tasks.index(task) for task in tasks]].astype(np.int64)
        if folds:
            splits = self._fold_splits(tasks, labels, folds, fold)
            member = (labels != UNLABELLED) & (splits == split)[:, None]
        else:
            member = np.stack(
                [self.table[f"split_{task}"].to_numpy(zero_copy_only=False) == split for task in tasks], 1
            )
        rows = np.flatnonzero(member.all(1) if labelled == "all" else member.any(1))
        return rows, np.where(member[rows], labels[rows], UNLABELLED)

    def _fold_splits(self, tasks: tuple[str, ...], labels: np.ndarray, folds: int, fold: int) -> np.ndarray:
        from .folds import fold_splits
        from .labels import Painting

        paintings = [
            Painting(path, {task: label for task, label in zip(tasks, own, strict=True) if label != UNLABELLED})
            for path, own in zip(self.table["path"].to_pylist(), labels.tolist(), strict=True)
        ]
        return fold_splits(paintings, self.groups, folds, fold)


def write_index(
    folder: Path, rows: list[dict[str, object]], classes: dict[str, list[str]], checksums: dict[str, str], origin: dict
) -> None:
    """Write the index of `folder`.

    `rows` have the columns above, `checksums` are those of the shards, and `origin` is stored with them and says how
    the splits were made. The fingerprint is a SHA-256 of everything that a training can read: images, labels, splits
    and class names.
    """
    table = pa.Table.from_pylist(rows, schema=schema(classes))
    version = OF_ARTGAN if tuple(classes) == TASKS else VERSION
    about = {
        "version": version,
        "classes": classes,
        "fingerprint": _fingerprint(version, table, classes),
        "checksums": checksums,
        **origin,
    }
    table = table.replace_schema_metadata({"artnet": json.dumps(about)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    atomic_write(folder / INDEX_NAME, buffer.getvalue())


def _fingerprint(version: int, table: pa.Table, classes: dict[str, list[str]]) -> str:
    digest = hashlib.sha256(json.dumps([version, classes]).encode())
    for name in table.column_names:
        digest.update("\n".join(map(str, table[name].to_pylist())).encode())
    return digest.hexdigest()


def read_index(folder: Path) -> Index:
    """Read the index of a folder of shards.

    Raises `UserError` if it is missing, broken or of another version, or if any label or split in it has changed.
    """
    file = folder / INDEX_NAME
    if not file.is_file():
        raise UserError(f"{folder} holds no {INDEX_NAME}; give a folder made by `python -m shards.pack`")
    try:
        table = read_bounded_table(file, MAX_BYTES)
        about = json.loads(table.schema.metadata[b"artnet"])
        if about["version"] > VERSION:
            raise UserError(
                f"{file} was made by a newer artnet (format {about['version']}; this one reads up to {VERSION}); "
                "update artnet"
            )
        if about["version"] < OF_ARTGAN:
            raise UserError(f"{file} is of version {about['version']}, not {VERSION}; pack the shards again")
        tasks = TASKS if about["version"] == OF_ARTGAN else about["classes"]
        classes = {task: about["classes"][task] for task in tasks}
        if not classes or not all(map(is_task, classes)):
            raise ValueError("its tasks have no proper names")
        columns = schema(classes)
        table = table.select(columns.names).cast(columns)
        # Parquet reads a flipped bit as another label.
        if _fingerprint(about["version"], table, classes) != about["fingerprint"]:
            raise ValueError("it has changed since it was written")
        _check_rows(table, classes)
        return Index(folder, table, classes, about["fingerprint"], dict(about["checksums"]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file} is broken ({error}); pack the shards again") from None


def _check_rows(table: pa.Table, classes: dict[str, list[str]]) -> None:
    """Raise `ValueError` unless each row has values that memory can be reserved for and a file can be read at."""
    for name in table.column_names:
        _refuse(table, table[name].is_null().to_numpy(), f"no {name}")
    limits = {"offset": (0, 2**62), "length": (0, 2**31 - 1), "width": (1, MAX_SIDE), "height": (1, MAX_SIDE)}
    limits |= {task: (UNLABELLED, len(names) - 1) for task, names in classes.items()}
    for name, (least, most) in limits.items():
        values = table[name].to_numpy()
        _refuse(table, (values < least) | (values > most), f"a {name} that is not {least} to {most}")
    pixels = table["width"].to_numpy().astype(np.int64) * table["height"].to_numpy()
    _refuse(table, pixels > MAX_PIXELS, f"more than {MAX_PIXELS:,} pixels")
    shards = table["shard"].to_numpy(zero_copy_only=False)
    foreign = [name for name in set(shards) if name == ".." or Path(name).name != name]
    _refuse(table, np.isin(shards, foreign), "a shard outside its folder")


def _refuse(table: pa.Table, wrong: np.ndarray, what: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        key = harmless(str(table["key"][int(rows[0])]))
        raise ValueError(f"row {rows[0]} ({key}) has {what}")
