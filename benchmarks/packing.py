"""How fast are large scans packed, and how close are they to full decoding and Lanczos?

    python benchmarks/packing.py --images IMAGES --labels LABELS

The scans are JPEGs of 1,568 x 1,568 pixels, quality 92. Each is a mosaic of 49 real paintings of 224 x 224 pixels, so
that every pixel has detail, which enlarged paintings would not have. They are packed at a short side of 256, compared
with one process that decodes them completely with Pillow, reduces them with Lanczos and saves them. Times include all
of packing: the start of the workers, index, report and summary. Images per CPU second count all processes and, unlike
images/s, do not depend on other load on the machine. The PSNR compares the reduced pictures, before encoding, with full
decoding and Lanczos: mean and minimum.
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
from shards.labels import read_labels
from shards.pack import pack
from shards.pictures import find_images

TILE, TILES, QUALITY = 224, 7, 92
SHORT_SIDE = 256
COMPARED = 100  # scans for the PSNR


def make_scans(images: Path, labels: Path, out: Path, count: int) -> list[Path]:
    """Write scans under names from the label lists."""
    names = sorted(match_files(find_images(images), read_labels(labels).paintings)[0].items())
    rng = random.Random(0)
    files = []
    for _, name in rng.sample(names, count):
        scan = Image.new("RGB", (TILE * TILES, TILE * TILES))
        for position, (file, _) in enumerate(rng.choices(names, k=TILES * TILES)):
            with Image.open(images / file) as tile:
                scan.paste(tile.resize((TILE, TILE)), (position % TILES * TILE, position // TILES * TILE))
        files.append(out / name)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        scan.save(files[-1], "JPEG", quality=QUALITY)
    return files


def full_decode(data: bytes) -> Image.Image:
    """Return a scan after full decoding and Lanczos."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").resize((SHORT_SIDE, SHORT_SIDE), Image.Resampling.LANCZOS)


def psnr(data: bytes) -> float:
    """Return the PSNR in dB of our picture of a scan, compared with `full_decode`."""
    with Image.open(io.BytesIO(data)) as image:
        ours = np.asarray(to_picture(image, data, SHORT_SIDE), np.float64)
    return float(10 * np.log10(255**2 / np.mean((ours - np.asarray(full_decode(data))) ** 2)))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return how long `work` takes, and the CPU time of this process and its children, in seconds."""

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
                picture = full_decode(file.read_bytes())
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
        speedup = took["artnet, --workers 1"][0] / took["artnet, --workers 2"][0]
        print(f"\nSpeedup of two workers over one: {speedup:.2f}")
        found = [psnr(file.read_bytes()) for file in files[:COMPARED]]
        print(f"PSNR of {len(found)} pictures: mean {np.mean(found):.1f} dB, minimum {min(found):.1f} dB")


if __name__ == "__main__":
    main()
