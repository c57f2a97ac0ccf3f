"""How fast are paintings decoded, cropped and batched, beside what others do the same with?

    python benchmarks/loader.py --images IMAGES --labels LABELS

Every pipeline makes uint8 batches of 64 crops of 224 x 224 pixels (RandomResizedCrop and a flip), with two workers or
threads, of the same paintings: as they are, and enlarged to a short side of 512. Passes are interleaved, so that what
else the machine does falls on all; the table has each pipeline's median in images/s and its ratio to torchvision's
ImageFolder in the same run. The last rows have TrivialAugment besides.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from artnet.config import build, unflatten
from artnet.data.dataset import SplitData
from artnet.data.loader import load
from artnet.data.sampler import train_batches
from shards.index import read_index
from shards.pack import pack
from shards.reader import Reader

BATCH, SIZE, WORKERS = 64, 224, 2
CROP_SCALE = 0.08  # RandomResizedCrop's own

Pipeline = Callable[[], Iterable]


def peers(images: Path, shards: Path) -> dict[str, Pipeline]:
    """What is measured; each call starts an epoch of batches."""
    geometry = [v2.RandomResizedCrop(SIZE, (CROP_SCALE, 1)), v2.RandomHorizontalFlip()]
    urls = sorted(map(str, shards.glob("*.tar")))

    def image_folder(*more: torch.nn.Module) -> Pipeline:
        data = ImageFolder(str(images), v2.Compose([*geometry, *more, v2.PILToTensor()]))
        return lambda: DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS)

    def stream(decode: Callable, *transforms: torch.nn.Module) -> Pipeline:
        transform = v2.Compose(transforms)
        data = (
            webdataset.WebDataset(urls, shardshuffle=len(urls), nodesplitter=None, empty_check=False, seed=0)
            .shuffle(200)
            .decode(decode)
            .to_tuple("jpg")
            .map_tuple(transform)
            .batched(BATCH)
        )
        return lambda: webdataset.WebLoader(data, batch_size=None, num_workers=WORKERS)

    def ours(policy: str) -> Pipeline:
        config = build(
            unflatten({"task": "style", "augment.policy": policy, "augment.crop_scale": CROP_SCALE, "data.size": SIZE})
        )
        index = read_index(shards)
        data = SplitData(config, "train", index, Reader(index))
        batches = train_batches(len(data), BATCH, rank=0, world_size=1)
        return lambda: (batch.images for batch in load(data, data.plan(epoch=0), batches, WORKERS))

    return {
        "torchvision ImageFolder, PIL": image_folder(),
        "webdataset, PIL": stream(webdataset.imagehandler("pil"), *geometry, v2.PILToTensor()),
        "webdataset, torchvision": stream(_tensor, *geometry),
        "artnet": ours("none"),
        "torchvision ImageFolder, PIL, TrivialAugment": image_folder(v2.TrivialAugmentWide()),
        "artnet, TrivialAugment": ours("trivial"),
    }


def _tensor(key: str, data: bytes) -> torch.Tensor | None:
    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8)) if key.endswith("jpg") else None


def images_per_second(pipeline: Pipeline) -> float:
    """One epoch, from the first batch on: starting workers is not reading."""
    seen, started = 0, 0.0
    for batch in pipeline():
        images = batch[0] if isinstance(batch, list | tuple) else batch
        if not started:
            started = time.perf_counter()
            continue
        seen += len(images)
    return seen / (time.perf_counter() - started)


def enlarge(images: Path, out: Path) -> None:
    """The same paintings with a short side of 512 pixels, quality 90, 4:2:0."""
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
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        large = Path(scratch) / "large"
        enlarge(args.images, large)
        for name, images in (("as they are", args.images), ("short side 512", large)):
            shards = Path(scratch) / f"{name} packed"
            pack(images, args.labels, shards, short_side=512, allow_missing=True)
            pipelines = peers(images, shards)
            rates: dict[str, list[float]] = {pipeline: [] for pipeline in pipelines}
            for _ in range(args.passes):
                for pipeline, start in pipelines.items():
                    rates[pipeline].append(images_per_second(start))
            medians = {pipeline: statistics.median(found) for pipeline, found in rates.items()}
            base = next(iter(medians.values()))
            print(f"\n| paintings {name}, {WORKERS} workers or threads | images/s | ratio |\n| --- | --: | --: |")
            for pipeline, rate in medians.items():
                print(f"| {pipeline} | {rate:,.0f} | {rate / base:.1f} |", flush=True)


if __name__ == "__main__":
    main()
