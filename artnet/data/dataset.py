"""One split of the shards as arrays: which paintings, with which labels, decoded how."""

import threading
from dataclasses import dataclass, field

import numpy as np

from shards.errors import UserError
from shards.index import Index
from shards.reader import Reader

from ..config import RunConfig
from .augment import eval_view, train_view
from .decode import decode


@dataclass
class SplitData:
    """The paintings of one split that a run uses. `labels` is int64 (n, tasks), -1 = unlabelled.

    `broken` collects the keys of images that could not be decoded; it is filled while the split is read.
    """

    config: RunConfig
    split: str
    index: Index
    rows: np.ndarray
    labels: np.ndarray
    reader: Reader
    broken: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.config.data.size if self.split == "train" else self.config.eval_size

    def image(self, item: int, epoch: int) -> np.ndarray | None:
        """The `item`-th painting, uint8 (size, size, 3): augmented in train, the centre elsewhere.

        Depends on the run's seed, the epoch and the painting alone. None if it cannot be decoded: then its key
        is in `broken`.
        """
        row = int(self.rows[item])
        try:
            pixels = decode(self.reader[row])
        except Exception:  # decoders raise anything at all on hostile bytes
            with self._lock:
                self.broken.add(str(self.index.table["key"][row]))
            return None
        if self.split != "train":
            return eval_view(pixels, self.size)
        rng = np.random.default_rng([self.config.seed, epoch, row])
        return train_view(pixels, self.size, self.config.augment, rng)

    def majority_share(self, task: str) -> float:
        """The share of the commonest class among the paintings labelled for `task`: what guessing it would score."""
        labels = self.labels[:, self.config.task.index(task)]
        counts = np.bincount(labels[labels >= 0])
        return float(counts.max() / counts.sum())


def load_split(config: RunConfig, index: Index, reader: Reader, split: str) -> SplitData:
    """Select a split of the index for a run. Raises `UserError` if a task has no labelled painting in it."""
    rows, labels = index.select(split, config.task, config.data.labelled)
    for column, task in enumerate(config.task):
        if not (labels[:, column] >= 0).any():
            raise UserError(
                f"{index.folder} holds no painting labelled for {task} in {split}; pack more paintings or drop the task"
            )
    return SplitData(config, split, index, rows, labels, reader)
