"""One split of the shards: its paintings, their labels, and which paintings are damaged."""

import sys
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from shards.errors import UserError
from shards.index import Index
from shards.reader import DamagedError, Reader
from shards.streams import harmless
from shards.tasks import UNLABELLED

from ..config import RunConfig, Task
from . import sampler
from .decode import decode
from .epoch import EpochPlan, eval_plan, train_plan, train_size

MAX_DAMAGED_SHARE = 0.001  # of a split's paintings; the run stops if more are damaged


class SplitData:
    """The paintings of one split that a run uses. `labels` is int64 (n, tasks), -1 = unlabelled.

    `damaged` holds the keys of the paintings that any rank has failed to read so far.
    """

    def __init__(self, config: RunConfig, split: str, index: Index, reader: Reader) -> None:
        """Select a split of the index for a run. Raises `UserError` if a task has no labelled painting there."""
        self.config, self.split, self.index = config, split, index
        wanted = config.data
        self.rows, self.labels = index.select(split, config.task, wanted.labelled, wanted.folds, wanted.fold)
        for column, task in enumerate(config.task):
            if not (self.labels[:, column] >= 0).any():
                raise UserError(
                    f"{index.folder} holds no painting labelled for {task} in {split}; pack more or drop the task"
                )
        self.damaged: set[str] = set()
        self._reader = reader
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_train(self) -> bool:
        """Whether this is the training split, which is shuffled and augmented."""
        return self.split == "train"

    @cached_property
    def sizes(self) -> np.ndarray:
        """Width and height of each packed painting, int64 (n, 2), pixels."""
        columns = [self.index.table[name].to_numpy() for name in ("width", "height")]
        sizes: np.ndarray = np.stack(columns, 1)[self.rows].astype(np.int64)
        return sizes

    @cached_property
    def most_pixels(self) -> int:
        """Number of pixels of the largest painting."""
        return int(self.sizes.prod(1).max())

    def plan(self, epoch: int) -> EpochPlan:
        """The plan of an epoch, counted from 0. On val and test, every sample once, in a fixed order."""
        if not self.is_train:
            return eval_plan(self.sizes, self.config.eval_size)
        seed, wanted = self.config.seed, self.config.data
        if wanted.sampler == "class_balanced":
            order = sampler.class_balanced(self.labels[:, 0], seed, epoch)
        else:
            order = sampler.shuffled(len(self), seed, epoch)
        size = train_size(epoch, self.config.train.epochs, wanted.start_size or wanted.size, wanted.size)
        return train_plan(order, self.sizes[order], self.config.augment, seed, epoch, size)

    def pixels(self, sample: int, scratch: np.ndarray) -> np.ndarray | None:
        """Decode a painting to uint8 (height, width, 3) in `scratch`. Records it and returns None if it is damaged."""
        row = int(self.rows[sample])
        width, height = self.sizes[sample].tolist()
        try:
            return decode(self._reader[row], scratch, (width, height))
        except (DamagedError, ValueError) as error:
            self.note_damaged([str(self.index.table["key"][row])], str(error))
            return None

    def note_damaged(self, keys: Iterable[str], reason: str = "") -> None:
        """Record damaged paintings. With a `reason`, warn once for each, until there are too many."""
        with self._lock:
            new = [] if self.has_too_much_damage else sorted(set(keys) - self.damaged)
            self.damaged.update(keys)
        for key in new if reason else []:
            said = f"{self.index.folder}: {key} of {self.split} is damaged and left out: {reason}"
            print(harmless(said), file=sys.stderr)

    @property
    def has_too_much_damage(self) -> bool:
        """Whether too many paintings are damaged for the run to continue."""
        return len(self.damaged) > MAX_DAMAGED_SHARE * len(self)

    def check_damage(self) -> None:
        """Raise `UserError` if too many paintings are damaged. Must be called on all ranks."""
        if self.has_too_much_damage:
            raise UserError(
                f"{len(self.damaged):,} of the {len(self):,} paintings of {self.split} in {self.index.folder} are "
                f"damaged, more than {100 * MAX_DAMAGED_SHARE:g} %; `python -m shards.verify` lists them, pack them "
                "again"
            )

    def majority(self, task: Task) -> tuple[str, float]:
        """The most common class among the paintings labelled for `task`, and its share: the top-1 of guessing it."""
        labels = self.labels[:, self.config.task.index(task)]
        counts = np.bincount(labels[labels >= 0])
        return self.index.classes[task][int(counts.argmax())], float(counts.max() / counts.sum())


class EveryPainting(SplitData):
    """The paintings of all splits of a run, each once, in the order of the index; views are those of an evaluation.

    `splits` is str (n, tasks): the split that a painting is in for each task, empty if none.
    """

    def __init__(self, splits: Mapping[str, SplitData]) -> None:
        first, self.split = next(iter(splits.values())), "all splits"
        self.config, self.index, self._reader = first.config, first.index, first._reader
        self.damaged, self._lock = set(), threading.Lock()
        self.rows = np.unique(np.concatenate([data.rows for data in splits.values()]))
        self.labels = np.full((len(self.rows), len(self.config.task)), UNLABELLED)
        self.splits = np.full(self.labels.shape, "", "<U5")
        for name, data in splits.items():
            sample, column = np.nonzero(data.labels != UNLABELLED)
            here = np.searchsorted(self.rows, data.rows)[sample], column
            self.labels[here], self.splits[here] = data.labels[sample, column], name


def all_splits(config: RunConfig, index: Index) -> dict[str, SplitData]:
    """Train, val and test of a run. Raises `UserError` as `SplitData` and `Reader` do."""
    reader = Reader(index)
    return {split: SplitData(config, split, index, reader) for split in ("train", "val", "test")}
