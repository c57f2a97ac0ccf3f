"""Compute a run's embeddings: the features that its network computes of each painting."""

from pathlib import Path

import numpy as np
import torch

from shards.errors import UserError
from shards.index import Index
from shards.tasks import UNLABELLED

from .. import embeddings as stored
from ..data.dataset import EveryPainting, SplitData, all_splits
from ..distributed.ranks import Ranks
from ..embeddings import Embeddings, Origin
from ..formats import NewerFormatError
from .forward import PixelNetwork, forward, precision_on
from .predict import outputs
from .trained import TrainedRun


class PixelFeatures(PixelNetwork):
    """A `PixelNetwork` that ends before its heads: `forward` returns {"features": (n, channels)}."""

    @property
    def channels(self) -> int:
        """The number of features."""
        head = next(iter(self.network.heads.values()))  # type: ignore[operator]
        return int(head.in_features)

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"features": self.network.features(self.normalised(pixels))}  # type: ignore[operator]


def saved_or_computed(trained: TrainedRun, index: Index, ranks: Ranks, file: Path | None = None) -> Embeddings:
    """The embeddings in the run's `embeddings.parquet`, or in another `file`.

    If it is missing, broken, or of another epoch or other data, they are computed and the file is written. `index` is
    that of the run's own shards. Must be called on all ranks. Raises as `embed`; `OSError` if the file cannot be
    written; `UserError` if a newer artnet has written it.
    """
    file = file or trained.run.embeddings_file
    found = saved(trained, index, file)
    if found is None:
        found = embed(trained, index, ranks)
        if ranks.is_first:
            stored.write(file, found)
    return found


def saved(trained: TrainedRun, index: Index, file: Path) -> Embeddings | None:
    """The embeddings in a file if it is one of this run. Raises `UserError` if a newer artnet has written it."""
    try:
        found = stored.read(file)
    except NewerFormatError:
        raise
    except UserError:
        return None
    return found if found.origin == _origin(trained, index, found.origin.precision) else None


def embed(trained: TrainedRun, index: Index, ranks: Ranks) -> Embeddings:
    """Compute the features of all paintings that are in a split of the run's tasks. Must be called on all ranks.

    A painting that cannot be read is named on stderr and left out. Raises `UserError` if there are too many of them.
    """
    data = EveryPainting(all_splits(trained.config, index))
    rows, labels = _features(trained, data, ranks)
    data.note_damaged(ranks.union(set(data.damaged)))
    data.check_damage()
    good = (labels != UNLABELLED).any(1).cpu().numpy()
    keys = index.table["key"].to_numpy(zero_copy_only=False)[data.rows].astype(str)
    tasks = trained.config.task
    return Embeddings(
        origin=_origin(trained, index, precision_on(ranks.device, trained.config.train.precision)),
        keys=keys[good],
        features=rows.cpu().numpy()[good],
        labels={task: data.labels[good, column] for column, task in enumerate(tasks)},
        splits={task: data.splits[good, column] for column, task in enumerate(tasks)},
    )


def features_of_split(trained: TrainedRun, data: SplitData, ranks: Ranks) -> np.ndarray:
    """The features of a split's paintings in its order, float32 (n, channels). Must be called on all ranks."""
    return np.asarray(_features(trained, data, ranks)[0].cpu().numpy())


def _features(trained: TrainedRun, data: SplitData, ranks: Ranks) -> tuple[torch.Tensor, torch.Tensor]:
    network = PixelFeatures(trained.network.network)
    threads = trained.config.data.threads or ranks.threads
    rows, labels, _ = outputs(network, data, ranks, threads, network.channels)
    return rows, labels


@torch.inference_mode()
def features_of(trained: TrainedRun, images: torch.Tensor, ranks: Ranks) -> np.ndarray:
    """The features of images, uint8 (n, size, size, 3), as those of paintings are: float32 (n, channels)."""
    network = PixelFeatures(trained.network.network).eval()
    views = [images.to(ranks.device)]
    if trained.config.eval.flip:
        views.append(views[0].flip(2))
    precision = trained.config.train.precision
    rows = [forward(network, view, precision)["features"].float() for view in views]
    return np.asarray(torch.stack(rows).mean(0).cpu().numpy())


def _origin(trained: TrainedRun, index: Index, precision: str) -> Origin:
    config = trained.config
    return Origin(
        signature=config.signature,
        data=index.fingerprint,
        epoch=trained.result.best_epoch,
        size=config.eval_size,
        flip=config.eval.flip,
        precision=precision,
        classes={task: index.classes[task] for task in config.task},
    )
