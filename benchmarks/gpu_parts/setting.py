"""What all parts share: the device, small configurations, learners and batches."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the parts that compile or use DDP are forked from a process that has imported it

from artnet.config import RunConfig, build, unflatten
from artnet.data.batch import Batch
from artnet.distributed.ranks import Ranks
from artnet.training.learner import Learner
from artnet.training.losses import Objective

from .report import NotMeasuredError

CLASSES = 10
PAINTINGS, REHEARSED_PAINTINGS = 1000, 60
SHORT_SIDE = 256  # pixels, that of packed paintings
PINNED = 8 * 2**30  # bytes of page-locked memory for batches


@dataclass(frozen=True)
class Setting:
    """What a part is given: whether it is only rehearsed on a CPU, a folder, and a checkout of the published code."""

    rehearse: bool
    folder: Path
    reference: Path | None = None

    @property
    def device(self) -> torch.device:
        """The device to measure."""
        return torch.device("cpu" if self.rehearse else "cuda")

    @property
    def backbone(self) -> str:
        """A large backbone, or the smallest in a rehearsal."""
        return "resnet18" if self.rehearse else "resnet50"

    @property
    def pinned(self) -> int:
        """How many bytes of batches may be in page-locked memory; none without a GPU."""
        return 0 if self.rehearse else PINNED

    def needs_gpu(self) -> None:
        """End a rehearsal before what only a GPU can do."""
        if self.rehearse:
            raise NotMeasuredError("needs a GPU")

    def config(self, size: int, batch_size: int, **changes: Any) -> RunConfig:
        """A configuration with `__` for the dots of its keys, for images of `size` pixels; 33 in a rehearsal."""
        values: dict[str, Any] = {
            "task": "style",
            "model.backbone": self.backbone,
            "data.size": 33 if self.rehearse else size,
            "train.batch_size": batch_size,
            "train.epochs": 10,
        }
        return build(unflatten(values | {key.replace("__", "."): value for key, value in changes.items()}))

    def shards(self) -> Path:
        """Demo paintings, packed: 33 MB of JPEGs as large as those of real paintings; a few small ones in a rehearsal.

        They are made by the first part that needs them, while others wait.
        """
        from shards.demo import dataset as demo
        from shards.locks import locked_patiently
        from shards.pack import pack

        packed, painted = self.folder / "shards", self.folder / "demo"
        with locked_patiently(self.folder / ".data", "another part is painting"):
            if not (packed / "index.parquet").exists():
                demo.write(painted, REHEARSED_PAINTINGS if self.rehearse else PAINTINGS, seed=0)
                if not self.rehearse:
                    with ThreadPoolExecutor() as pool:
                        list(pool.map(enlarge, (painted / "images").rglob("*.jpg")))
                pack(painted / "images", painted / "labels", packed, short_side=SHORT_SIDE)
        return packed


def enlarge(file: Path) -> None:
    """Enlarge a painting to a short side of `SHORT_SIDE` pixels."""
    from PIL import Image

    with Image.open(file) as small:
        factor = SHORT_SIDE / min(small.size)
        large = small.resize([round(factor * side) for side in small.size])
    large.save(file, "JPEG", quality=95, subsampling="4:2:0")


def alone(device: torch.device) -> Ranks:
    """The only rank of a run on a device."""
    return Ranks(rank=0, world_size=1, local_world_size=1, device=device)


def learner(config: RunConfig, device: torch.device, steps_per_epoch: int = 10) -> Learner:
    """A learner of a run with a head of `CLASSES` classes."""
    ranks = alone(device)
    prior = torch.full((CLASSES,), 1 / CLASSES).log()
    objective = Objective(config.loss, {"style": prior}, ranks)
    made = Learner(config, {"style": CLASSES}, ranks, config.train.epochs * steps_per_epoch, steps_per_epoch, objective)
    made.share_gradients()
    return made


def batches(config: RunConfig, count: int, device: torch.device, pinned: bool = False) -> list[Batch]:
    """Random batches on a device; with `pinned`, in page-locked memory if the machine has a GPU."""
    generator = torch.Generator().manual_seed(0)
    n, size, made = config.train.batch_size, config.data.size, []
    for _ in range(count):
        images = torch.randint(256, (n, size, size, 3), dtype=torch.uint8, generator=generator)
        labels = torch.randint(CLASSES, (n, 1), generator=generator)
        if pinned and torch.cuda.is_available():
            images = images.pin_memory()
        made.append(Batch(images.to(device), labels.to(device)))
    return made


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    return replace(batch, images=batch.images.to(device), labels=batch.labels.to(device))


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def deterministic() -> None:
    """Use deterministic kernels, and warn about operations that have none. Call it before the GPU is used.

    A `Learner` has cuDNN search for the fastest kernels: call `no_search` after it is made.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True, warn_only=True)


def no_search() -> None:
    """Keep cuDNN from searching for the fastest kernels, which takes long and depends on the time."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def is_finite(model: torch.nn.Module) -> bool:
    """Whether all weights and statistics are finite."""
    values = [value for value in model.state_dict().values() if value.is_floating_point()]
    return bool(torch.stack([value.isfinite().all() for value in values]).all())


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all weights and statistics, on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
