"""`python -m artnet.outliers SWEEP|RUN`: list the paintings whose label is worth a look, the most doubtful first.

They are those of val and test, which the networks were not trained on: of a run, or of the seeds of a sweep's best
model. With `--folds 5` it writes a grid that trains the same network five times, and asked for the folder of that
sweep, it lists all labelled paintings. Leaves `outliers-TASK.csv` and a contact sheet, `outliers-TASK.png`, in the
folder. A painting that is listed is not therefore misattributed: somebody has to look at it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shards.errors import UserError, command
from shards.files import atomic_write, is_url
from shards.index import Index, read_index
from shards.numbers import whole
from shards.remote import local_folder

from . import predictions as stored
from .analysis.outliers.confidence import check_installed
from .analysis.outliers.evidence import Evidence, Source, pool
from .analysis.outliers.folds import fold_grid, grid_name
from .analysis.outliers.models import Model, models
from .analysis.outliers.neighbours import neighbours
from .analysis.outliers.ranking import rank
from .analysis.outliers.sheet import contact_sheet
from .analysis.outliers.table import outliers_csv
from .heartbeat import shown

if TYPE_CHECKING:
    from .distributed.ranks import Ranks


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.outliers", description=said)
    parser.add_argument("folder", type=Path, metavar="SWEEP|RUN", help="folder of a sweep or of a complete run")
    parser.add_argument("--folds", type=whole, metavar="N", help="write a grid of N trainings instead, 2 to 100")
    parser.add_argument("--shards", help="folder or URL of its shards (default: those of the run's configuration)")
    args = parser.parse_args(argv)
    if args.folds is not None:
        _write_folds(args.folder, args.folds)
        return 0
    check_installed()
    for model in models(args.folder):
        _list(args.folder, model, args.shards)
    return 0


def _write_folds(folder: Path, folds: int) -> None:
    """Write the grid of the folds of the folder's run, or its sweep's best model, and print how to run it."""
    if not 2 <= folds <= 100:
        raise UserError(f"--folds {folds} must be 2 to 100")
    found = models(folder)
    if len({model.runs[0].path for model in found}) > 1:
        each = ", ".join(f"{model.runs[0].path} for {model.task}" for model in found)
        raise UserError(f"the best models of {folder} are different runs ({each}); give one of these")
    file, name = folder / "folds.yaml", folder.resolve().name
    atomic_write(file, fold_grid(found[0].configs[0], name, folds))
    print(f"{file} trains {found[0].runs[0].name} {folds} times, each time without another fold; run it by one of")
    for door in ("slurm", "local", "tune"):
        print(f"    python launch/{door}.py --grid {file}")
    print(f"and then `python -m artnet.outliers runs/{grid_name(name)}` lists all labelled paintings")


def _list(folder: Path, model: Model, shards: str | None) -> None:
    """Write the list and the contact sheet of one task."""
    task = model.task
    sources = [
        Source(str(run.path), part, stored.read(run.predictions_file, config.signature))
        for run, config, part in zip(model.runs, model.configs, model.parts, strict=True)
    ]
    evidence = pool(task, sources)
    index = _index(model, evidence, shards)
    embedding = _embedding(model, evidence, index) if index else None
    # Only folds have networks, and so embeddings, of their own.
    parts = evidence.parts if any(model.parts) else np.zeros(len(evidence))
    found = neighbours(embedding, parts, evidence.labels, evidence.rivals) if embedding is not None else None
    ranking = rank(evidence, found)
    table, sheet = folder / f"outliers-{task}.csv", folder / f"outliers-{task}.png"
    atomic_write(table, outliers_csv(ranking))
    print(f"{task}: {table} lists {_asked(model, evidence, index)}, those that are worth a look first")
    print(f"{task}: confident learning doubts {int(ranking.doubted.sum()):,} labels; a doubt is no proof")
    if index:
        atomic_write(sheet, contact_sheet(ranking, index))
        print(f"{task}: {sheet} shows the first, with the nearest paintings of their given and rival class")
    if model.left_out:
        print(f"{task}: {model.left_out} models were left out, as not all of their runs are complete")


def _asked(model: Model, evidence: Evidence, index: Index | None) -> str:
    labelled = f" of {(index.table[model.task].to_numpy() >= 0).sum():,} labelled" if index else ""
    return f"{len(evidence):,}{labelled} paintings, by {len(model.runs)} {'run' if len(model.runs) == 1 else 'runs'}"


def _index(model: Model, evidence: Evidence, shards: str | None) -> Index | None:
    """The index of the shards, None if they are not there. Raises `UserError` if they are others than the runs'."""
    where = shards or model.configs[0].data.shards
    if not where or (not shards and not is_url(where) and not Path(where).exists()):
        print(f"{model.task}: by probabilities alone and without pictures, as {where or 'no shards'} cannot be found; "
              "give --shards SHARDS")  # fmt: skip
        return None
    index = read_index(local_folder(where))
    run = model.runs[0].path
    if index.classes.get(model.task) != evidence.classes:
        raise UserError(f"{index.folder} has other classes of {model.task} than {run}; give its own as --shards")
    if index.fingerprint != evidence.data:
        raise UserError(f"{index.folder} holds other paintings than {run} was trained on; give its own as --shards")
    return index


def _embedding(model: Model, evidence: Evidence, index: Index) -> np.ndarray | None:
    """The features of each painting, those of the seeds side by side, each of length 1: float32 (n, channels x seeds).

    None, with a sentence, if a run has no weights.
    """
    with shown("loading torch"):
        from .distributed.group import process_group
    try:
        with process_group() as ranks:
            by_part: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
            for run, part in zip(range(len(model.runs)), model.parts, strict=True):
                by_part.setdefault(part, []).append(_features(model, run, index, ranks))
    except UserError as error:
        print(f"{model.task}: by probabilities alone, without the embedding: {error}", file=sys.stderr)
        return None
    width = by_part[model.parts[0]][0][1].shape[1]
    embedding = np.zeros((len(evidence), width * max(map(len, by_part.values()))), np.float32)
    for seeds in by_part.values():
        for seed, (keys, features) in enumerate(seeds):
            rows = np.searchsorted(evidence.keys, keys).clip(max=len(evidence) - 1)
            own = evidence.keys[rows] == keys  # damaged paintings and those of other tasks are not in the evidence
            unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
            embedding[rows[own], seed * width : (seed + 1) * width] = unit[own]
    return embedding


def _features(model: Model, run: int, index: Index, ranks: "Ranks") -> tuple[np.ndarray, np.ndarray]:
    """The keys and features of the paintings that a run is asked for."""
    from .data.dataset import all_splits
    from .inference.embeddings import features_of_split
    from .inference.trained import TrainedRun

    directory = model.runs[run]
    with shown(f"looking at paintings with {directory.name}"):
        trained = TrainedRun(directory, ranks.device)
        data = all_splits(trained.config, index)
        asked = [data[split] for split in (("test",) if model.parts[run] else ("val", "test"))]
        keys = index.table["key"].to_numpy(zero_copy_only=False).astype(str)
        return np.concatenate([keys[split.rows] for split in asked]), np.concatenate(
            [features_of_split(trained, split, ranks) for split in asked]
        )


if __name__ == "__main__":
    sys.exit(main())
