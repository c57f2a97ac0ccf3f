"""Other data loaders that make the same batches, each used as its documentation recommends.

    apt-get install libturbojpeg0-dev libopencv-dev pkg-config
    pip install ffcv==1.0.2 nvidia-dali-cuda130 litdata

installs those that artnet does not depend on (FFCV is compiled and needs the packages of the first line; DALI does not
need a GPU here). All get the encoded images as they are: the files of FFCV and litdata are written without encoding the
images again.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

BATCH, SIZE = 64, 224
CROP_SCALE = 0.08  # the default of RandomResizedCrop
CROP = (v2.RandomResizedCrop(SIZE, (CROP_SCALE, 1)), v2.RandomHorizontalFlip())

# Without it, FFCV's OpenCV uses every core in addition to its workers. It is read when that library is loaded.
os.environ["OPENCV_FOR_THREADS_NUM"] = "1"

Pipeline = Callable[[], Iterable]  # each call starts an epoch of batches


@dataclass(frozen=True)
class Setting:
    """The same paintings as files (`images`, STYLE/NAME.jpg) and as WebDataset `shards`.

    `scratch` is an empty folder for other formats, `workers` the number of worker processes or threads.
    """

    images: Path
    shards: Path
    scratch: Path
    workers: int


def image_folder(setting: Setting, *more: torch.nn.Module) -> Pipeline:
    """torchvision's ImageFolder, decoded by Pillow; the transforms `more` follow the crop."""
    data = ImageFolder(str(setting.images), v2.Compose([*CROP, *more, v2.PILToTensor()]))
    return lambda: DataLoader(data, BATCH, shuffle=True, num_workers=setting.workers)


def webdataset_pil(setting: Setting) -> Pipeline:
    """Shards, decoded by Pillow."""
    return _webdataset(setting, webdataset.imagehandler("pil"), *CROP, v2.PILToTensor())


def webdataset_torchvision(setting: Setting) -> Pipeline:
    """Shards, decoded by torchvision."""
    return _webdataset(setting, lambda key, data: _tensor(data) if key.endswith("jpg") else None, *CROP)


def _webdataset(setting: Setting, decode: Callable, *transforms: torch.nn.Module) -> Pipeline:
    urls = sorted(map(str, setting.shards.glob("*.tar")))
    data = (
        webdataset.WebDataset(urls, shardshuffle=len(urls), nodesplitter=None, empty_check=False, seed=0)
        .shuffle(200)
        .decode(decode)
        .to_tuple("jpg")
        .map_tuple(v2.Compose(transforms))
        .batched(BATCH)
    )
    return lambda: webdataset.WebLoader(data, batch_size=None, num_workers=setting.workers)


def _tensor(jpeg: bytes) -> torch.Tensor:
    return decode_jpeg(torch.frombuffer(bytearray(jpeg), dtype=torch.uint8))


def ffcv(setting: Setting) -> Pipeline:
    """A .beton file of JPEGs."""
    from ffcv.fields import RGBImageField
    from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder
    from ffcv.fields.rgb_image import IMAGE_MODES
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor
    from ffcv.writer import DatasetWriter

    class AsItIs(RGBImageField):
        """Store JPEG files as they are: the parent class encodes pixels, which gives other and often larger files."""

        def encode(self, destination: np.ndarray, image: Path, malloc: Callable) -> None:
            jpeg = np.fromfile(image, np.uint8)
            destination["mode"] = IMAGE_MODES["jpg"]
            with Image.open(image) as header:
                destination["width"], destination["height"] = header.size
            destination["data_ptr"], storage = malloc(jpeg.nbytes)
            storage[:] = jpeg

    beton = str(setting.scratch / "paintings.beton")
    writer = DatasetWriter(beton, {"image": AsItIs()}, num_workers=1)
    writer.from_indexed_dataset([(file,) for file in _files(setting)])
    crop = RandomResizedCropRGBImageDecoder((SIZE, SIZE), scale=(CROP_SCALE, 1.0))
    return Loader(
        beton,
        BATCH,
        setting.workers,
        order=OrderOption.RANDOM,
        pipelines={"image": [crop, RandomHorizontalFlip(), ToTensor()]},
        custom_fields={"image": RGBImageField},
    ).__iter__


def dali(setting: Setting) -> Pipeline:
    """Files in folders; the CPU decodes only the region of the crop."""
    from nvidia.dali import fn, pipeline_def
    from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

    @pipeline_def(batch_size=BATCH, num_threads=setting.workers, device_id=None)
    def crops() -> object:
        jpegs, _ = fn.readers.file(file_root=str(setting.images), random_shuffle=True, name="files")
        images = fn.decoders.image_random_crop(jpegs, random_area=[CROP_SCALE, 1], random_aspect_ratio=[3 / 4, 4 / 3])
        return fn.flip(fn.resize(images, size=(SIZE, SIZE)), horizontal=fn.random.coin_flip())

    def epoch() -> Iterable:
        batches = DALIGenericIterator(crops(), ["images"], reader_name="files", last_batch_policy=LastBatchPolicy.DROP)
        return (batch[0]["images"] for batch in batches)

    return epoch


def litdata(setting: Setting) -> Pipeline:
    """Chunks of a thousand files, decoded by torchvision."""
    from litdata import StreamingDataLoader, StreamingDataset, optimize

    chunks = str(setting.scratch / "litdata")
    files = _files(setting)
    optimize(Path.read_bytes, files, chunks, chunk_size=1000, num_workers=1, start_method="fork", verbose=False)
    crop = v2.Compose(CROP)
    data = StreamingDataset(chunks, shuffle=True, transform=lambda jpeg: crop(_tensor(jpeg)))
    return lambda: StreamingDataLoader(data, batch_size=BATCH, num_workers=setting.workers)


def _files(setting: Setting) -> list[Path]:
    return sorted(setting.images.rglob("*.jpg"))


PEERS: dict[str, tuple[str, Callable[[Setting], Pipeline]]] = {  # name: (module, function)
    "torchvision ImageFolder, PIL": ("torchvision", image_folder),
    "webdataset, PIL": ("webdataset", webdataset_pil),
    "webdataset, torchvision": ("webdataset", webdataset_torchvision),
    "litdata, torchvision": ("litdata", litdata),
    "FFCV, JPEG": ("ffcv", ffcv),
    "DALI on the CPU": ("nvidia.dali", dali),
}


def installed() -> dict[str, Callable[[Setting], Pipeline]]:
    """Return those of `PEERS` that can be imported, and print the names of the others."""
    found = {}
    for name, (module, make) in PEERS.items():
        try:
            import_module(module)
        except (ImportError, OSError) as error:  # OSError: a shared library is missing
            print(f"{name}: left out because it is not installed ({error})")
        else:
            found[name] = make
    return found
