"""`python -m shards.hub PARQUET --labels LABELS --out DIR`: unpack Hugging Face's `huggan/wikiart` for `shards.pack`.

Its parquet files hold images without names, and number the classes in another way than ArtGAN. This command writes
`DIR/images/STYLE/HASH.jpg`, with the bytes of the images as they are, and `DIR/labels` with ArtGAN's class files and
lists. Of LABELS, only the class files are needed. The data set does not say which paintings are in the official val
lists, so all are listed in train: pack them with `--protocol study`.
"""

import argparse
import hashlib
import json
import sys
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

IMAGES = ("image", "img", "jpg", "picture")  # what the column of images is called
REPORT_NAME = "report.json"
MAX_NAMED = 10  # rows that are named on the terminal


class _RowError(Exception):
    """A row that cannot be unpacked. The message is the reason."""


def unpack(parquet: Path, labels: Path, out: Path) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Write images and lists. Returns how many paintings each class of each task has, and why rows were left out.

    Classes are matched by name. Classes that ArtGAN does not have, such as `Unknown Artist`, become unlabelled, and
    paintings without any label are left out. Rows without an image, or with a class that has no name, are left out and
    named in `report.json`. Images that exist are not written again, so an interrupted run can be continued. Raises
    `UserError` if the files are missing, damaged or of another form, or no row can be unpacked.
    """
    class_files = {task: find_list(labels, f"{task}_class") for task in TASKS}
    classes = {task: read_classes(file) for task, file in class_files.items()}
    files = [parquet] if parquet.is_file() else sorted(parquet.rglob("*.parquet"))
    if not files:
        raise UserError(f"{parquet} has no .parquet files; give the folder of the downloaded data set")
    lists: dict[str, set[tuple[str, int]]] = {task: set() for task in TASKS}
    left_out: dict[str, str] = {}
    rows = sum(_open(file).metadata.num_rows for file in files)
    with progress("unpacking paintings", rows) as advance:
        for place, image, own in (row for file in files for row in _rows(file, classes)):
            advance()
            if isinstance(image, _RowError):
                left_out[place] = str(image)
            elif set(own.values()) != {UNLABELLED}:
                path = _write_image(out, image, own["style"], classes["style"])
                for task in TASKS:
                    lists[task] |= {(path, own[task])} if own[task] != UNLABELLED else set()
    if len(left_out) == rows:
        first = next((f"{place}: {reason}" for place, reason in left_out.items()), "they are empty")
        raise UserError(f"no row of {parquet} can be unpacked ({first}); download the data set with its images")
    for task in TASKS:
        atomic_write(out / "labels" / f"{task}_class.txt", class_files[task].read_bytes())
        atomic_write(
            out / "labels" / f"{task}_train.csv", "".join(f"{path},{label}\n" for path, label in sorted(lists[task]))
        )
        atomic_write(out / "labels" / f"{task}_val.csv", "")
    atomic_write(out / REPORT_NAME, json.dumps({"left_out": left_out}, indent=2) + "\n")
    counts = {task: Counter(label for _, label in found) for task, found in lists.items()}
    named = {task: {name: counts[task][label] for label, name in enumerate(classes[task])} for task in TASKS}
    return named, left_out


def _write_image(out: Path, image: bytes, label: int, styles: list[str]) -> str:
    """Write an image unless it is there. Returns its path in the lists."""
    style = styles[label] if label != UNLABELLED else "Unknown_Style"
    path = f"{style}/{hashlib.sha256(image).hexdigest()[:32]}.jpg"
    if not (out / "images" / path).exists():
        atomic_write(out / "images" / path, image)
    return path


def _rows(file: Path, classes: dict[str, list[str]]) -> Iterator[tuple[str, bytes | _RowError, dict[str, int]]]:
    """Yield the place of each row of a parquet file, its image or what is wrong, and ArtGAN's class of each task."""
    try:
        source = _open(file)
        columns = source.schema_arrow.names
        image = next((name for name in IMAGES if name in columns), None)
        tasks = [task for task in TASKS if task in columns]
        if image is None or not tasks:
            raise LookupError(f"its columns are {', '.join(columns)}")
        names = {task: _names(source.schema_arrow, task) for task in tasks}
        ours = {task: {normalized_name(name): label for label, name in enumerate(classes[task])} for task in TASKS}
        number = 0
        for batch in source.iter_batches(batch_size=64, columns=[image, *tasks]):
            for row in batch.to_pylist():
                number += 1
                own = dict.fromkeys(TASKS, UNLABELLED)
                try:
                    for task in tasks:
                        own[task] = ours[task].get(_name(task, row[task], names[task]), UNLABELLED)
                    data: bytes | _RowError = _bytes(row[image])
                except _RowError as error:
                    data = error
                yield f"{file}, row {number:,}", data, own
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{file} does not have the columns of huggan/wikiart, images and named classes of artist, genre or style "
            f"({type(error).__name__}: {error}); download it again"
        ) from None


def _names(schema: pa.Schema, task: str) -> list[str] | None:
    """The names of the classes that a column has numbers of; None where it has names."""
    kind = schema.field(task).type
    of = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(of) or pa.types.is_large_string(of):
        return None
    features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    return list(map(str, features[task]["names"]))


def _name(task: str, label: object, names: list[str] | None) -> str:
    """The name of a class as ArtGAN spells it, normalized; empty if there is none."""
    if isinstance(label, int) and names is not None:
        if label >= len(names):
            raise _RowError(f"{task} {label} is not one of {len(names)} classes")
        label = names[label] if label >= 0 else None
    if label is None:
        return ""
    return normalized_name(FOLDER_CLASSES.get(str(label), str(label)))


def _bytes(image: object) -> bytes:
    data = image.get("bytes") if isinstance(image, dict) else image
    if isinstance(data, bytes) and data:
        return data
    elsewhere = image.get("path") if isinstance(image, dict) else None
    raise _RowError("no image" + (f", only its path {elsewhere}" if elsewhere else ""))


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
    counts, left_out = unpack(args.parquet, args.labels, args.out)
    for place, reason in list(left_out.items())[:MAX_NAMED]:
        print(f"left out: {place}: {reason}", file=sys.stderr)
    for task, count in counts.items():
        missing = [name for name, paintings in count.items() if not paintings]
        print(f"  {task:9}{sum(count.values()):,} paintings" + (f"; none of {', '.join(missing)}" if missing else ""))
    if left_out:
        print(f"  {len(left_out):,} rows left out; see {args.out / REPORT_NAME}")
    print(f"pack them: python -m shards.pack --images {args.out}/images --labels {args.out}/labels --protocol study")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
