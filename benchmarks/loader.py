"""How fast are paintings decoded, cropped and batched, compared with other data loaders?

    python benchmarks/loader.py --images IMAGES --labels LABELS

Every pipeline makes shuffled uint8 batches of 64 crops of 224 x 224 pixels (RandomResizedCrop and a flip), with two
workers or threads (`--workers`), from the same encoded paintings: as they are, and enlarged to a short side of 512.
Passes are interleaved, so that other load on the machine affects all pipelines. The table has the median of each
pipeline in images/s, and its ratio to torchvision's ImageFolder in the same run. The last rows add TrivialAugment. The
line under the table is the PSNR between the crops of artnet and those of Pillow for the same boxes. `peers.py` says how
to install the other loaders; those that are not installed are left out.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from peers import BATCH, CROP_SCALE, SIZE, Pipeline, Setting, image_folder, installed
from PIL import Image
from torchvision.transforms import v2

from artnet.config import build, unflatten
from artnet.data.dataset import SplitData
from artnet.data.decode import decode, resized_crop
from artnet.data.epoch import random_boxes
from artnet.data.loader import load
from artnet.data.sampler import train_batches
from shards.index import read_index
from shards.pack import pack
from shards.reader import Reader


def artnet(setting: Setting, policy: str) -> Pipeline:
    """artnet's loader, on all paintings of all splits."""
    values = {"task": "style", "augment.policy": policy, "augment.crop_scale": CROP_SCALE, "data.size": SIZE}
    index = read_index(setting.shards)
    data = SplitData(build(unflatten(values)), "train", index, Reader(index))
    data.rows = np.arange(len(index.table))
    data.labels = np.zeros((len(index.table), 1), np.int64)
    batches = train_batches(len(data), BATCH, rank=0, world_size=1)
    return lambda: (batch.images for batch in load(data, data.plan(epoch=0), batches, setting.workers))


def crop_psnr(shards: Path) -> list[float]:
    """Return the PSNR in dB of artnet's random crops of 500 paintings, compared with Pillow's antialiased ones."""
    index, rng, found = read_index(shards), np.random.default_rng(0), []
    reader, got = Reader(index), np.empty((SIZE, SIZE, 3), np.uint8)
    for row in rng.permutation(len(index.table))[:500].tolist():
        with Image.open(io.BytesIO(reader[row])) as image:
            (box,) = random_boxes(np.array([image.size]), CROP_SCALE, rng)
            wanted = np.asarray(image.convert("RGB").crop(tuple(box)).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        resized_crop(decode(reader[row]), box, False, got)
        error = ((got.astype(float) - wanted) ** 2).mean()
        found.append(float(10 * np.log10(255**2 / max(1e-9, error))))
    return found


def images_per_second(pipeline: Pipeline) -> float:
    """Measure one epoch after its first batch, without the start of the workers."""
    torch.set_num_threads(1)  # in each pass, as FFCV's loader sets it for the whole process
    seen, started = 0, 0.0
    for batch in pipeline():
        images = batch[0] if isinstance(batch, list | tuple) else batch
        if not started:
            started = time.perf_counter()
            continue
        seen += len(images)
    return seen / (time.perf_counter() - started)


def enlarge(images: Path, out: Path) -> None:
    """Write the same paintings with a short side of 512 pixels, quality 90, 4:2:0."""
    for file in images.rglob("*.jpg"):
        with Image.open(file) as image:
            scale = 512 / min(image.size)
            large = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        target = out / file.relative_to(images)
        target.parent.mkdir(parents=True, exist_ok=True)
        large.save(target, "JPEG", quality=90, subsampling="4:2:0")


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    peers = installed()
    with tempfile.TemporaryDirectory() as scratch:
        large = Path(scratch) / "large"
        enlarge(args.images, large)
        for name, images in (("as they are", args.images), ("short side 512", large)):
            setting = Setting(images, Path(scratch) / f"{name} packed", Path(scratch) / f"{name} others", args.workers)
            setting.scratch.mkdir()
            pack(images, args.labels, setting.shards, short_side=512, allow_missing=True)
            pipelines = {
                **{peer: make(setting) for peer, make in peers.items()},
                "artnet": artnet(setting, "none"),
                "torchvision ImageFolder, PIL, TrivialAugment": image_folder(setting, v2.TrivialAugmentWide()),
                "artnet, TrivialAugment": artnet(setting, "trivial"),
            }
            rates: dict[str, list[float]] = {pipeline: [] for pipeline in pipelines}
            for _ in range(args.passes):
                for pipeline, start in pipelines.items():
                    rates[pipeline].append(images_per_second(start))
            medians = {pipeline: statistics.median(found) for pipeline, found in rates.items()}
            base = next(iter(medians.values()))
            print(f"\n| paintings {name}, {args.workers} workers or threads | images/s | ratio |\n| --- | --: | --: |")
            for pipeline, rate in medians.items():
                print(f"| {pipeline} | {rate:,.0f} | {rate / base:.1f} |", flush=True)
            psnr = crop_psnr(setting.shards)
            median = statistics.median(psnr)
            print(f"\nartnet's crops compared with Pillow's: median PSNR {median:.1f} dB, minimum {min(psnr):.1f} dB")


if __name__ == "__main__":
    main()
