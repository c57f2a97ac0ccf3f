"""Compare an exported network with the run's own evaluation, on paintings of test."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from shards.errors import UserError
from shards.index import Index

from ..data.dataset import all_splits
from ..data.loader import load
from ..data.sampler import eval_batches
from ..distributed.ranks import Ranks
from .exported import INPUT
from .predict import outputs
from .trained import TrainedRun

PAINTINGS = 256
TOLERANCE = 1e-3  # of a logit
BATCH = 32

Function = Callable[[np.ndarray], list[np.ndarray]]  # images uint8 (n, size, size, 3) to logits (n, classes) by task


@dataclass(frozen=True)
class Reference:
    """Paintings of test, uint8 (n, size, size, 3), with the run's own logits of each task, float32 (n, classes)."""

    images: np.ndarray
    logits: list[np.ndarray]

    @classmethod
    def of(cls, trained: TrainedRun, index: Index, ranks: Ranks, most: int = PAINTINGS) -> Self:
        """Evaluate `most` paintings, or all if there are fewer, evenly spaced over the test split, in float32."""
        data = all_splits(trained.config, index)["test"]
        chosen = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(np.int64))
        data.rows, data.labels = data.rows[chosen], data.labels[chosen]
        widths = list(trained.classes.values())
        threads = trained.config.data.threads or ranks.threads
        rows, _, _ = outputs(trained.network, data, ranks, threads, sum(widths))
        origin, tau = trained.predictions.origin, trained.config.eval.logit_adjustment
        logits = [
            (of - tau * torch.tensor(origin.log_priors[task])).numpy()
            for task, of in zip(trained.config.task, rows.split(widths, 1), strict=True)
        ]
        batches = eval_batches(len(data), BATCH, 0, 1)
        images = np.concatenate([batch.images.numpy() for batch in load(data, data.plan(0), batches, threads)])
        data.check_damage()
        return cls(images, logits)

    def largest_difference(self, what: str, function: Function) -> float:
        """The largest absolute difference of a logit. Raises `UserError` if it, or any top-1, is not the run's."""
        parts = [function(self.images[start : start + BATCH]) for start in range(0, len(self.images), BATCH)]
        found = [np.concatenate(of) for of in zip(*parts, strict=True)]
        pairs = list(zip(found, self.logits, strict=True))
        largest = max(float(np.abs(ours - own).max()) for ours, own in pairs)
        other = sum(int((ours.argmax(1) != own.argmax(1)).sum()) for ours, own in pairs)
        if other or not largest <= TOLERANCE:
            raise UserError(
                f"{what} would not be the run's own network: of {len(self.images)} paintings of test its logits differ "
                f"by up to {largest:.2g} (at most {TOLERANCE:g} is allowed) and {other} have another top-1; nothing is "
                "written; use another version of torch or onnx"
            )
        return largest


def onnx_function(content: bytes) -> Function:
    """An ONNX file as `onnxruntime` runs it on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})


def program_function(content: bytes) -> Function:
    """A `.pt2` file as torch runs it on the CPU."""
    module = torch.export.load(io.BytesIO(content)).module()

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [of.numpy() for of in module(torch.from_numpy(images))]

    return run
