"""How fast are large scans packed, and how near are they to what the slow way makes?

    python benchmarks/packing.py --images IMAGES --labels LABELS

The scans are JPEGs of 1,568 x 1,568 pixels, quality 92: 49 real paintings of 224 x 224 side by side, so that there is
detail in every pixel, as enlarging them would not make. They are packed at a short side of 256, beside one process
that decodes them wholly with Pillow, reduces them with Lanczos and saves them. Times are of all that packing does:
starting workers, index, report and summary too. Images per CPU second, of all processes together, do not depend on
what else the machine does; images/s do. PSNR is that of the reduced pictures, before they are encoded,
against the same by full decode and Lanczos: the mean and the worst.
"""

import argparse
import io
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from shards.filenames import match_files
from shards.images import to_picture
from shards.labels import find_images, read_labels
from shards.pack import pack

TILE, TILES, QUALITY = 224, 7, 92
SHORT_SIDE = 256
COMPARED = 100  # scans of which the PSNR is taken


def make_scans(images: Path, labels: Path, out: Path, count: int) -> list[Path]:
    """Write scans under names that the lists know."""
    names = sorted(match_files(find_images(images), read_labels(labels).paintings)[0].items())
    rng = random.Random(0)
    files = []
    for _, name in rng.sample(names, count):
        scan = Image.new("RGB", (TILE * TILES, TILE * TILES))
        for place, (file, _) in enumerate(rng.choices(names, k=TILES * TILES)):
            with Image.open(images / file) as tile:
                scan.paste(tile.resize((TILE, TILE)), (place % TILES * TILE, place // TILES * TILE))
        files.append(out / name)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        scan.save(files[-1], "JPEG", quality=QUALITY)
    return files


def slow_way(data: bytes) -> Image.Image:
    """Full decode and Lanczos."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").resize((SHORT_SIDE, SHORT_SIDE), Image.Resampling.LANCZOS)


def psnr(data: bytes) -> float:
    """Of our picture of a scan against the slow way's, dB."""
    with Image.open(io.BytesIO(data)) as image:
        ours = np.asarray(to_picture(image, data, SHORT_SIDE), np.float64)
    return float(10 * np.log10(255**2 / np.mean((ours - np.asarray(slow_way(data))) ** 2)))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """How long `work` takes, and how much processor time of this process and its children."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    start, before = time.perf_counter(), used()
    work()
    return time.perf_counter() - start, used() - before


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--scans", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scans = Path(scratch) / "scans"
        files = make_scans(args.images, args.labels, scans, args.scans)

        def peer() -> None:
            for number, file in enumerate(files):
                picture = slow_way(file.read_bytes())
                picture.save(Path(scratch) / f"{number}.jpg", quality=90, subsampling="4:2:0")

        def ours(workers: int) -> Callable[[], object]:
            out = Path(scratch) / f"packed by {workers}"
            return lambda: pack(scans, args.labels, out, SHORT_SIDE, allow_missing=True, workers=workers)

        pipelines = {
            "Pillow: full decode, Lanczos, save": peer,
            "artnet, --workers 1": ours(1),
            "artnet, --workers 2": ours(2),
        }
        took = {name: seconds(pipeline) for name, pipeline in pipelines.items()}
        base = next(iter(took.values()))[0]
        print(f"\n| {len(files):,} scans to {SHORT_SIDE} pixels | images/s | ratio | images per CPU second |")
        print("| --- | --: | --: | --: |")
        for name, (wall, cpu) in took.items():
            print(f"| {name} | {len(files) / wall:,.1f} | {base / wall:.1f} | {len(files) / cpu:,.1f} |")
        print(f"\nTwo workers to one: {took['artnet, --workers 1'][0] / took['artnet, --workers 2'][0]:.2f}")
        found = [psnr(file.read_bytes()) for file in files[:COMPARED]]
        print(f"PSNR of {len(found)} pictures: mean {np.mean(found):.1f} dB, worst {min(found):.1f} dB")


if __name__ == "__main__":
    main()
