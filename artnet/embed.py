"""`python -m artnet.embed RUN`: compute the features of a run's paintings and write them as Parquet.

They are the input of the heads, for each painting that is in train, val or test of the run's tasks. A second call reads
the file instead. See `artnet/embeddings.py` for its columns.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shards.errors import UserError, command
from shards.files import atomic_write
from shards.index import Index
from shards.numbers import whole
from shards.reader import DamagedError, Reader
from shards.streams import harmless
from shards.tasks import UNLABELLED

from .embeddings import Embeddings
from .heartbeat import shown
from .rundir import RunDir

WIDTH = 250  # characters
CAUTION = "distances in two dimensions are no evidence, those of --near are of all features"

if TYPE_CHECKING:
    from .distributed.ranks import Ranks
    from .inference.trained import TrainedRun


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.embed", description=said)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a complete run")
    parser.add_argument("--shards", help="folder or URL of the run's shards (default: that of its configuration)")
    parser.add_argument("--out", type=Path, help="file to write (default: RUN/embeddings.parquet)")
    parser.add_argument("--near", type=Path, metavar="PICTURE", help="list the paintings nearest to a picture")
    parser.add_argument("--neighbours", type=whole, default=12, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--map", type=Path, metavar="FILE.png", help="draw the paintings in two dimensions")
    parser.add_argument("--task", help="whose classes the map shows as colours (default: the run's first task)")
    parser.add_argument("--umap", action="store_true", help="map by UMAP instead of principal components")
    args = parser.parse_args(argv)
    if (args.umap or args.task) and not args.map:
        raise UserError("--umap and --task are options of --map FILE.png; give that too, or leave them out")
    if args.neighbours < 1:
        raise UserError("--neighbours must be at least 1")
    with shown("loading torch", sys.stderr):
        from .distributed.group import process_group
        from .inference.embeddings import saved_or_computed
        from .inference.trained import TrainedRun

    with process_group() as ranks:
        run = RunDir(args.run.resolve())
        file = args.out or run.embeddings_file
        with shown(f"computing the features of {run.name}", sys.stderr):
            trained = TrainedRun(run, ranks.device)
            if args.task and args.task not in trained.config.task:
                raise UserError(f"{run.path} has no task {args.task}; --task {' or '.join(trained.config.task)}")
            index = trained.own_index(args.shards)
            found = saved_or_computed(trained, index, ranks, file)
        if not ranks.is_first:
            return 0
        print(f"{file}: {found.features.shape[1]:,} features of {len(found):,} paintings")
        if args.near:
            _show_near(found, _features(trained, args.near, ranks), args.neighbours, str(args.near))
        if args.map:
            with shown(f"drawing {args.map}", sys.stderr):
                _write_map(args.map, found, index, args.task or trained.config.task[0], args.umap, run.name)
            print(f"{args.map} is written; {CAUTION}")
    return 0


def _features(trained: "TrainedRun", picture: Path, ranks: "Ranks") -> np.ndarray:
    """The features of a picture, (channels,), with the view of the run. Raises `UserError` if it cannot be read."""
    from .inference.embeddings import features_of
    from .inference.pictures import View, load_pictures

    (batch,) = load_pictures([picture], [View.of(trained.predictions.origin)], 1, 1)
    if batch.failures:
        raise UserError(f"{picture} cannot be read ({batch.failures[0].reason}); give a picture as --near")
    features: np.ndarray = features_of(trained, batch.images[0], ranks)[0]
    return features


def _show_near(found: Embeddings, query: np.ndarray, most: int, name: str) -> None:
    similarities = found.similarities(query)
    table = Table(title=f"nearest to {escape(harmless(name))}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("key", *(of for task in found.labels for of in (task, "split")), "similarity"):
        table.add_column(column, justify="right" if column == "similarity" else "left", overflow="fold")
    for row in np.argsort(-similarities, kind="stable")[:most].tolist():
        cells = [harmless(str(found.keys[row]))]
        for task, labels in found.labels.items():
            label = labels[row]
            cells += [found.origin.classes[task][label] if label != UNLABELLED else "", str(found.splits[task][row])]
        table.add_row(*map(escape, cells), f"{similarities[row]:.4f}")
    # Into a file or pipe, a line for each painting.
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _write_map(file: Path, found: Embeddings, index: Index, task: str, by_umap: bool, name: str) -> None:
    from PIL import Image

    from .analysis.feature_map import draw_map
    from .analysis.projection import pca, umap

    projection = umap(found.features) if by_umap else pca(found.features)
    rows = {key: row for row, key in enumerate(index.table["key"].to_pylist())}
    reader = Reader(index)

    def thumbnail(sample: int) -> Image.Image:
        key = found.keys[sample]
        try:
            return Image.open(io.BytesIO(reader[rows[key]])).convert("RGB")
        except DamagedError as error:
            raise UserError(f"{index.folder}: {harmless(str(key))} is damaged ({error}); pack it again") from None

    labels, names = found.labels[task], found.origin.classes[task]
    atomic_write(file, draw_map(projection, labels, names, f"{name}: {task}", thumbnail))


if __name__ == "__main__":
    sys.exit(main())
