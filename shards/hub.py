"""`python -m shards.hub PARQUET --labels LABELS --out DIR`: unpack Hugging Face's `huggan/wikiart` for `shards.pack`.

Its parquet files hold images without names, and number the classes in another way than ArtGAN. This command writes
`DIR/images/STYLE/HASH.jpg`, with the bytes of the images as they are, and `DIR/labels` with ArtGAN's class files and
lists. Of LABELS, only the class files are needed. The data set does not say which paintings are in the official val
lists, so all are listed in train: pack them with `--protocol study`.
"""

import argparse
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, command
from .filenames import FOLDER_CLASSES
from .files import atomic_write
from .labels import find_list, read_classes
from .progress import progress
from .tasks import TASKS, UNLABELLED


def unpack(parquet: Path, labels: Path, out: Path) -> dict[str, dict[str, int]]:
    """Write images and lists, and return how many paintings each class of each task has.

    Classes are matched by name. Classes that ArtGAN does not have, such as `Unknown Artist`, become unlabelled, and
    paintings without any label are left out. Images that exist are not written again, so an interrupted run can be
    continued. Raises `UserError` if the files are missing, damaged or of another form.
    """
    class_files = {task: find_list(labels, f"{task}_class") for task in TASKS}
    classes = {task: read_classes(file) for task, file in class_files.items()}
    files = sorted(parquet.rglob("*.parquet"))
    if not files:
        raise UserError(f"{parquet} has no .parquet files; give the folder of the downloaded data set")
    lists: dict[str, set[tuple[str, int]]] = {task: set() for task in TASKS}
    with progress("unpacking paintings", sum(_open(file).metadata.num_rows for file in files)) as advance:
        for file in files:
            for image, own in _paintings(file, classes):
                advance()
                if set(own.values()) == {UNLABELLED}:
                    continue
                style = classes["style"][own["style"]] if own["style"] != UNLABELLED else "Unknown_Style"
                path = f"{style}/{hashlib.sha256(image).hexdigest()[:32]}.jpg"
                if not (out / "images" / path).exists():
                    atomic_write(out / "images" / path, image)
                for task, label in own.items():
                    if label != UNLABELLED:
                        lists[task].add((path, label))
    for task in TASKS:
        atomic_write(out / "labels" / f"{task}_class.txt", class_files[task].read_bytes())
        atomic_write(
            out / "labels" / f"{task}_train.csv", "".join(f"{path},{label}\n" for path, label in sorted(lists[task]))
        )
        atomic_write(out / "labels" / f"{task}_val.csv", "")
    counts = {task: Counter(label for _, label in rows) for task, rows in lists.items()}
    return {task: {name: counts[task][label] for label, name in enumerate(classes[task])} for task in TASKS}


def _paintings(file: Path, classes: dict[str, list[str]]) -> Iterator[tuple[bytes, dict[str, int]]]:
    """Yield the image bytes of each row of a parquet file, and ArtGAN's class index for each task."""
    try:
        source = _open(file)
        features = json.loads(source.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        names = {
            task: [normalized_name(FOLDER_CLASSES.get(name, name)) for name in features[task]["names"]]
            for task in TASKS
        }
        ours = {task: {normalized_name(name): label for label, name in enumerate(classes[task])} for task in TASKS}
        for batch in source.iter_batches(batch_size=64, columns=["image", *TASKS]):
            for row in batch.to_pylist():
                own = {}
                for task in TASKS:
                    known = row[task] is not None and row[task] >= 0
                    own[task] = ours[task].get(names[task][row[task]], UNLABELLED) if known else UNLABELLED
                yield bytes(row["image"]["bytes"]), own
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{file} does not have the columns of huggan/wikiart, image bytes and named classes of artist, genre and "
            f"style ({type(error).__name__}: {error}); download it again"
        ) from None


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} is not a complete parquet file ({error}); download it again") from None


def normalized_name(name: str) -> str:
    """Return a class name without what the two data sets spell differently: capitals, accents, `_`, `-`, spaces."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return " ".join(letters.replace("_", " ").replace("-", " ").split())


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shards.hub", description="Unpack the parquet files of huggan/wikiart for shards.pack."
    )
    parser.add_argument("parquet", type=Path, metavar="PARQUET", help="folder of the downloaded parquet files")
    parser.add_argument("--labels", type=Path, required=True, help="folder of ArtGAN's class files")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for images and label lists")
    args = parser.parse_args(argv)
    counts = unpack(args.parquet, args.labels, args.out)
    for task, count in counts.items():
        missing = [name for name, paintings in count.items() if not paintings]
        print(f"  {task:9}{sum(count.values()):,} paintings" + (f"; none of {', '.join(missing)}" if missing else ""))
    print(f"pack them: python -m shards.pack --images {args.out}/images --labels {args.out}/labels --protocol study")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
